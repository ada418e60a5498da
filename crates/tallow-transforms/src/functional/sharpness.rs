use super::color::{blend_f32, blend_u8};
use super::image_mut::ImageMut;
use crate::image::Image;

/// Distance from a smoothed image: 0 is smoothed, 1 the image, 2 sharpened (torchvision's `adjust_sharpness`).
///
/// The smoothing weighs the 3 x 3 neighbours by 1 and the pixel by 5; border pixels, and images with a side below 3, are
/// kept. To the bit on PIL images, within 1e-6 on float tensors.
pub fn adjust_sharpness<'a>(image: impl Into<ImageMut<'a>>, factor: f64) {
    match image.into() {
        ImageMut::U8(image) => sharpen(
            image,
            |around, value| {
                let sum: u32 = around.iter().map(|&value| u32::from(value)).sum();
                // Rounded to nearest; 13 is odd, so that no value is halfway.
                let smooth = (2 * (sum + 4 * u32::from(value)) + 13) / 26;
                blend_u8(smooth as u8, value, factor as f32)
            },
            |value| value,
        ),
        ImageMut::F32(image) => sharpen(
            image,
            |around, value| {
                let smooth = (around.iter().sum::<f32>() + 4.0 * value) / 13.0;
                blend_f32(smooth, value, factor)
            },
            |value| value.clamp(0.0, 1.0),
        ),
    }
}

fn sharpen<T: Copy + Default>(
    image: &mut Image<T>,
    inner: impl Fn([T; 9], T) -> T,
    border: impl Fn(T) -> T,
) {
    let shape @ (_, height, width) = image.shape();
    if height < 3 || width < 3 {
        return;
    }
    image.replace(shape, |old, new| {
        let planes = old.chunks_exact(height * width);
        for (old, new) in planes.zip(new.chunks_exact_mut(height * width)) {
            for (y, new) in new.chunks_exact_mut(width).enumerate() {
                let row = &old[y * width..][..width];
                if y == 0 || y == height - 1 {
                    for (new, &old) in new.iter_mut().zip(row) {
                        *new = border(old);
                    }
                    continue;
                }
                let above = &old[(y - 1) * width..][..width];
                let below = &old[(y + 1) * width..][..width];
                new[0] = border(row[0]);
                new[width - 1] = border(row[width - 1]);
                let windows = above.windows(3).zip(row.windows(3)).zip(below.windows(3));
                for (new, ((a, r), b)) in new[1..].iter_mut().zip(windows) {
                    let around = [a[0], a[1], a[2], r[0], r[1], r[2], b[0], b[1], b[2]];
                    *new = inner(around, r[1]);
                }
            }
        }
    });
}
