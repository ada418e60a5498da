//! Tensors as pictures.

use candle_core::{DType, Device, Tensor};
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};

use crate::{Error, Result};

/// A picture of bytes, grey or in colour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    width: usize,
    height: usize,
    channels: usize,
    /// Row by row, the channels of a pixel together.
    pixels: Vec<u8>,
}

impl Picture {
    /// The images of a batch `(N, C, H, W)`, with C 1 or 3 and N at least 1, in rows one after the other: a grid about as wide as
    /// high, a dark line between them. `dark` and what is below it is shown as 0, `bright` and what is above as 255; a value becomes
    /// a square of `scale` pixels.
    ///
    /// Fails when the shape is another.
    pub fn grid(images: &Tensor, (dark, bright): (f32, f32), scale: usize) -> Result<Self> {
        let (count, channels, h, w) = images.dims4()?;
        if count == 0 || !matches!(channels, 1 | 3) {
            let message =
                format!("{count} images of {channels} channels; a picture takes 1 or 3 channels");
            return Err(Error::config("picture", message));
        }
        let values: Vec<f32> = (images.to_device(&Device::Cpu)?.to_dtype(DType::F32)?)
            .permute((0, 2, 3, 1))?
            .flatten_all()?
            .to_vec1()?;
        let byte = |value: f32| {
            let share = (value - dark) / (bright - dark);
            // NaN, of a range without width too, becomes 0.
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
        Ok(Self {
            width,
            height,
            channels,
            pixels,
        })
    }

    /// Width and height.
    pub fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    /// 1, grey, or 3, red, green and blue.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// As a PNG file.
    pub fn png(&self) -> Result<Vec<u8>> {
        let colour = match self.channels {
            1 => ExtendedColorType::L8,
            _ => ExtendedColorType::Rgb8,
        };
        let mut file = Vec::new();
        PngEncoder::new(&mut file)
            .write_image(&self.pixels, self.width as u32, self.height as u32, colour)
            .map_err(|error| Error::config("picture", error.to_string()))?;
        Ok(file)
    }
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
        let picture = Picture::grid(&images, (0.0, 1.0), 1).unwrap();
        assert_eq!((picture.size(), picture.channels()), ((5, 3), 1));
        let expected = [
            [0, 0, 0, 255, 255], //
            [0, 0, 0, 0, 0],
            [128, 0, 0, 0, 0],
        ];
        assert_eq!(picture.pixels, expected.concat());
        let wide = Picture::grid(&images, (0.0, 1.0), 3).unwrap();
        assert_eq!(wide.size(), (13, 7));
        assert_eq!(wide.pixels[7..13], [255; 6]);
    }

    #[test]
    fn a_png_holds_the_pixels() {
        let values: Vec<f32> = (0..12).map(|i| i as f32).collect();
        let images = Tensor::from_vec(values, (1, 3, 2, 2), &Device::Cpu).unwrap();
        let picture = Picture::grid(&images, (0.0, 255.0), 1).unwrap();
        let read = image::load_from_memory(&picture.png().unwrap()).unwrap();
        let read = read.as_rgb8().unwrap();
        assert_eq!(read.dimensions(), (2, 2));
        assert_eq!(read.as_raw(), &[0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]);
    }

    #[test]
    fn other_shapes_are_refused() {
        for shape in [(0, 1, 2, 2), (1, 2, 2, 2), (1, 4, 2, 2)] {
            let images = Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
            assert!(Picture::grid(&images, (0.0, 1.0), 1).is_err(), "{shape:?}");
        }
    }
}
