use candle_core::{DType, Device, Tensor};
use tallow_tensorboard::Image;

use crate::error::{Error, Result};

/// Grid of the images of a batch, as `torchvision.utils.make_grid`.
///
/// `images` are `(N, C, H, W)` with N at least 1 and C 1 or 3. They are placed in rows of `ceil(sqrt(N))` images with a black line of
/// one pixel between them. Values from `low` to `high` become bytes from 0 to 255; values outside are clamped and NaN becomes 0. Each
/// value becomes a square of `scale` x `scale` pixels.
///
/// # Errors
/// [`Error::Config`] when the shape is another.
pub fn make_grid(images: &Tensor, (low, high): (f32, f32), scale: usize) -> Result<Image> {
    let (count, channels, h, w) = images.dims4()?;
    if count == 0 || !matches!(channels, 1 | 3) {
        let message = format!(
            "expected at least 1 image with 1 or 3 channels, found {count} images with {channels}"
        );
        return Err(Error::config("images", message));
    }
    let values: Vec<f32> = (images.to_device(&Device::Cpu)?.to_dtype(DType::F32)?)
        .permute((0, 2, 3, 1))?
        .flatten_all()?
        .to_vec1()?;
    let byte = |value: f32| {
        let share = (value - low) / (high - low);
        // NaN becomes 0; with `low == high` all values are NaN.
        (255.0 * share.clamp(0.0, 1.0)).round() as u8
    };
    let scale = scale.max(1);
    let columns = (1..=count).find(|n| n * n >= count).unwrap_or(count);
    let rows = count.div_ceil(columns);
    let (width, height) = (columns * (w * scale + 1) - 1, rows * (h * scale + 1) - 1);
    let mut pixels = vec![0; width * height * channels];
    for image in 0..count {
        let (left, top) = (
            image % columns * (w * scale + 1),
            image / columns * (h * scale + 1),
        );
        for y in 0..h * scale {
            for x in 0..w * scale {
                let from = ((image * h + y / scale) * w + x / scale) * channels;
                let to = ((top + y) * width + left + x) * channels;
                for c in 0..channels {
                    pixels[to + c] = byte(values[from + c]);
                }
            }
        }
    }
    Ok(Image::new(width, height, channels, pixels)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_stand_in_rows() {
        // Three images of 1 x 2 values, so a grid of 2 x 2 places.
        let values = [-1f32, 0.0, 1.0, 2.0, 0.5, f32::NAN];
        let images = Tensor::new(&values, &Device::Cpu).unwrap();
        let images = images.reshape((3, 1, 1, 2)).unwrap();
        let grid = make_grid(&images, (0.0, 1.0), 1).unwrap();
        assert_eq!((grid.width(), grid.height(), grid.channels()), (5, 3, 1));
        let expected = [
            [0, 0, 0, 255, 255], //
            [0, 0, 0, 0, 0],
            [128, 0, 0, 0, 0],
        ];
        assert_eq!(grid.pixels(), expected.concat());
        let wide = make_grid(&images, (0.0, 1.0), 3).unwrap();
        assert_eq!((wide.width(), wide.height()), (13, 7));
        assert_eq!(wide.pixels()[7..13], [255; 6]);
    }

    #[test]
    fn channels_become_the_bytes_of_a_pixel() {
        let values: Vec<f32> = (0..12).map(|i| i as f32).collect();
        let images = Tensor::from_vec(values, (1, 3, 2, 2), &Device::Cpu).unwrap();
        let grid = make_grid(&images, (0.0, 255.0), 1).unwrap();
        assert_eq!((grid.width(), grid.height(), grid.channels()), (2, 2, 3));
        assert_eq!(grid.pixels(), &[0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]);
    }

    #[test]
    fn other_shapes_are_refused() {
        for shape in [(0, 1, 2, 2), (1, 2, 2, 2), (1, 4, 2, 2)] {
            let images = Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
            assert!(make_grid(&images, (0.0, 1.0), 1).is_err(), "{shape:?}");
        }
    }
}
