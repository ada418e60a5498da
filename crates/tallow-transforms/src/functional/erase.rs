use super::image_mut::ImageMut;
use crate::error::Problem;
use crate::image::Image;
use crate::rng::SampleRng;

/// Values that [`erase`] writes.
#[derive(Debug)]
pub enum Fill<'a> {
    /// One value for all channels, or one per channel, in the units of the image.
    Values(&'a [f32]),
    /// Normally distributed values with mean 0 and variance 1, on f32 alone. Drawn row by row, channel by channel.
    Normal(&'a mut SampleRng),
}

/// Replacement of a rectangle by a fill (torchvision's `erase`, to the bit). What lies outside the image is left out.
///
/// # Errors
/// [`Problem::Lengths`] unless there is one value, or one per channel; [`Problem::NormalU8`] for [`Fill::Normal`] on u8.
pub fn erase<'a>(
    image: impl Into<ImageMut<'a>>,
    (top, left): (usize, usize),
    (height, width): (usize, usize),
    fill: Fill<'_>,
) -> Result<(), Problem> {
    let image = image.into();
    let channels = match &image {
        ImageMut::U8(image) => image.channels(),
        ImageMut::F32(image) => image.channels(),
    };
    match &fill {
        Fill::Values(values) if values.len() != 1 && values.len() != channels => {
            return Err(Problem::ValuesPerChannel {
                key: "value",
                expected: channels,
                found: values.len(),
            });
        }
        _ => {}
    }
    match (image, fill) {
        (ImageMut::U8(image), Fill::Values(values)) => {
            fill_rectangle(image, (top, left), (height, width), |channel| {
                values[channel % values.len()] as u8
            });
            Ok(())
        }
        (ImageMut::F32(image), Fill::Values(values)) => {
            fill_rectangle(image, (top, left), (height, width), |channel| {
                values[channel % values.len()]
            });
            Ok(())
        }
        (ImageMut::F32(image), Fill::Normal(rng)) => {
            fill_rectangle(image, (top, left), (height, width), |_| rng.normal() as f32);
            Ok(())
        }
        (ImageMut::U8(_), Fill::Normal(_)) => Err(Problem::NormalU8),
    }
}

fn fill_rectangle<T: Copy + Default>(
    image: &mut Image<T>,
    (top, left): (usize, usize),
    (height, width): (usize, usize),
    mut value: impl FnMut(usize) -> T,
) {
    let (rows, columns) = image.size();
    let right = left.saturating_add(width).min(columns);
    if left >= right {
        return;
    }
    for (channel, plane) in image.planes_mut().enumerate() {
        let bottom = top.saturating_add(height).min(rows);
        for row in plane.chunks_exact_mut(columns).take(bottom).skip(top) {
            for pixel in &mut row[left..right] {
                *pixel = value(channel);
            }
        }
    }
}
