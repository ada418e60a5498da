use crate::error::{Error, Result};

/// Image of bytes, grayscale or RGB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    width: usize,
    height: usize,
    channels: usize,
    pixels: Vec<u8>,
}

impl Image {
    /// Image of `height` rows from the top, `width` pixels each, with the `channels` bytes of a pixel next to each other: `(H, W, C)`.
    ///
    /// # Errors
    /// [`Error::ImageSize`] unless `channels` is 1 (grayscale) or 3 (RGB), `pixels` has `width * height * channels` bytes, and width
    /// and height are at least 1.
    pub fn new(width: usize, height: usize, channels: usize, pixels: Vec<u8>) -> Result<Self> {
        let size = 1..1 << 31;
        let fits = size.contains(&width)
            && size.contains(&height)
            && matches!(channels, 1 | 3)
            && width.checked_mul(height * channels) == Some(pixels.len());
        if !fits {
            let bytes = pixels.len();
            return Err(Error::ImageSize {
                width,
                height,
                channels,
                bytes,
            });
        }
        Ok(Self {
            width,
            height,
            channels,
            pixels,
        })
    }

    /// Width in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Channels of a pixel: 1 (grayscale) or 3 (RGB).
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Bytes of the pixels, `(H, W, C)`.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// Content of a PNG file of this image.
    ///
    /// # Errors
    /// [`Error::Png`] when the encoder fails.
    pub fn png(&self) -> Result<Vec<u8>> {
        let mut file = Vec::new();
        // Both were checked to be below 2^31.
        let mut encoder = png::Encoder::new(&mut file, self.width as u32, self.height as u32);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_color(match self.channels {
            1 => png::ColorType::Grayscale,
            _ => png::ColorType::Rgb,
        });
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.pixels)?;
        writer.finish()?;
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_png_holds_the_pixels() {
        for (channels, color) in [(1, png::ColorType::Grayscale), (3, png::ColorType::Rgb)] {
            let pixels: Vec<u8> = (0..6 * channels).map(|i| (41 * i) as u8).collect();
            let image = Image::new(3, 2, channels, pixels.clone()).unwrap();
            let file = std::io::Cursor::new(image.png().unwrap());
            let mut reader = png::Decoder::new(file).read_info().unwrap();
            let mut read = vec![0; reader.output_buffer_size().unwrap()];
            let info = reader.next_frame(&mut read).unwrap();
            assert_eq!((info.width, info.height, info.color_type), (3, 2, color));
            assert_eq!(read, pixels);
        }
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused() {
        for (width, height, channels, bytes) in [
            (2, 2, 1, 3),
            (2, 2, 2, 8),
            (2, 2, 4, 16),
            (0, 2, 1, 0),
            (2, 0, 1, 0),
            (1 << 31, 1, 1, 0),
            (usize::MAX, 2, 1, 0),
        ] {
            let error = Image::new(width, height, channels, vec![0; bytes]).unwrap_err();
            assert!(
                error.to_string().contains(&format!("found {bytes} bytes")),
                "{error}"
            );
        }
    }
}
