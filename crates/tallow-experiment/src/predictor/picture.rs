//! Decoding of image files of any size and colour, with orientation and transparency.

use std::fs;
use std::io::{Cursor, ErrorKind};
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, RgbaImage};

use crate::error::{Context, Error, Result};

/// Longest side in pixels, as in `tallow_transforms`.
const LONGEST: u32 = tallow_transforms::MAX_SIDE as u32;

/// Largest size of a decoded image in bytes.
const LARGEST: u64 = 512 << 20;

/// Decoded image.
pub(super) struct Picture {
    /// Red, green and blue plane, one after the other.
    pub planes: Vec<u8>,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Format, size and changes in words.
    pub notes: Vec<String>,
}

impl Picture {
    /// Reads a PNG, JPEG, WebP or BMP file; its content tells which.
    pub fn read(path: &Path) -> Result<Self> {
        read(path).context(|| path.display().to_string())
    }

    /// One plane of luma as by [`tallow_transforms::Grayscale`].
    pub fn grey(&self) -> Vec<u8> {
        let size = self.height * self.width;
        let plane = |i: usize| self.planes[i * size..].iter().map(|&v| u32::from(v));
        let luma = |((r, g), b)| ((19_595 * r + 38_470 * g + 7_471 * b + 32_768) >> 16) as u8;
        let pixels = plane(0).zip(plane(1)).zip(plane(2)).take(size);
        pixels.map(luma).collect()
    }
}

fn refuse<T>(message: impl Into<String>) -> Result<T> {
    Err(Error::Image(message.into()))
}

fn read(path: &Path) -> Result<Picture> {
    if path.is_dir() {
        return refuse(format!(
            "is a folder; name the images in it, as in {}/*.png",
            path.display()
        ));
    }
    let bytes = fs::read(path).map_err(|error| {
        Error::Image(match error.kind() {
            ErrorKind::NotFound => "there is no such file".to_string(),
            _ => format!("cannot be read: {error}"),
        })
    })?;
    Picture::decode(&bytes)
}

/// Whether no end of image follows the last scan. A byte of 255 in the scan itself is always followed by something else.
fn is_cut_off(jpeg: &[u8]) -> bool {
    let last = |marker: u8| jpeg.windows(2).rposition(|pair| pair == [0xff, marker]);
    last(0xd9) < last(0xda)
}

fn broken(error: image::ImageError) -> Error {
    Error::Image(format!(
        "is damaged or cut off ({error}); get the file again"
    ))
}

impl Picture {
    /// Decodes the bytes of a PNG, JPEG, WebP or BMP file.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let kinds = "give a PNG, JPEG, WebP or BMP image";
        let Ok(format) = image::guess_format(bytes) else {
            return refuse(format!("is no image; {kinds}"));
        };
        if !format.reading_enabled() {
            return refuse(format!(
                "is an image of a kind that is not read here; {kinds}"
            ));
        }
        // The decoder fills what is missing at the end with grey.
        if format == ImageFormat::Jpeg && is_cut_off(bytes) {
            return refuse("is cut off before its end; get the file again");
        }
        let mut decoder = ImageReader::with_format(Cursor::new(bytes), format)
            .into_decoder()
            .map_err(broken)?;
        let (width, height) = decoder.dimensions();
        if width.max(height) > LONGEST || decoder.total_bytes() > LARGEST {
            return refuse(format!(
                "is too large, {width}x{height} pixels; scale it down first"
            ));
        }
        if width.min(height) == 0 {
            return refuse("has no pixels");
        }
        let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        let mut image = DynamicImage::from_decoder(decoder).map_err(broken)?;
        let mut notes = Vec::new();
        if orientation != Orientation::NoTransforms {
            image.apply_orientation(orientation);
            notes.push("turned upright as the camera noted".to_string());
        }
        let colour = image.color();
        let kind = match (colour.has_color(), format) {
            (true, format) => format!("{format:?} in colour"),
            (false, format) => format!("grey {format:?}"),
        };
        notes.insert(0, format!("{kind}, {}x{}", image.width(), image.height()));
        let mut image = image.into_rgba8();
        if colour.has_alpha()
            && let Some(ground) = fill_transparent(&mut image)
        {
            notes.push(format!("its transparent parts made {ground}"));
        }
        let (width, height) = (image.width() as usize, image.height() as usize);
        let plane = |channel: usize| image.as_raw().iter().skip(channel).step_by(4);
        Ok(Picture {
            planes: (0..3).flat_map(plane).copied().collect(),
            height,
            width,
            notes,
        })
    }
}

/// Blends the image with white, or with black if its opaque parts are light. Returns the colour, or `None` if nothing is transparent.
fn fill_transparent(image: &mut RgbaImage) -> Option<&'static str> {
    let (mut light, mut cover, mut whole) = (0.0, 0.0, 0.0);
    for pixel in image.pixels() {
        let [r, g, b, a] = pixel.0.map(f64::from);
        light += (0.299 * r + 0.587 * g + 0.114 * b) * a;
        cover += a;
        whole += 255.0;
    }
    if cover == whole {
        return None;
    }
    let (ground, name) = if light / cover.max(1.0) > 127.5 && cover > 0.0 {
        (0, "black, since what is drawn is light")
    } else {
        (255, "white")
    };
    for pixel in image.pixels_mut() {
        let alpha = u32::from(pixel.0[3]);
        for value in &mut pixel.0[..3] {
            *value = ((u32::from(*value) * alpha + ground * (255 - alpha) + 127) / 255) as u8;
        }
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{GrayImage, Luma, Rgba};

    fn file(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Vec::new();
        image
            .write_to(&mut Cursor::new(&mut bytes), format)
            .unwrap();
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Picture> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image.png");
        fs::write(&path, bytes).unwrap();
        Picture::read(&path)
    }

    #[test]
    fn every_kind_is_read_and_what_is_cut_off_is_not() {
        let grey = GrayImage::from_fn(40, 30, |x, y| Luma([(x * 5 + y) as u8]));
        let grey = DynamicImage::ImageLuma8(grey);
        let colour = DynamicImage::ImageRgb8(grey.to_rgb8());
        for (format, image) in [
            (ImageFormat::Png, &grey),
            (ImageFormat::Png, &colour),
            (ImageFormat::Jpeg, &grey),
            (ImageFormat::Jpeg, &colour),
            (ImageFormat::WebP, &colour),
            (ImageFormat::Bmp, &colour),
        ] {
            let bytes = file(image, format);
            let picture = read(&bytes).unwrap();
            assert_eq!((picture.height, picture.width), (30, 40));
            assert_eq!(picture.planes.len(), 3 * 30 * 40);
            let far = |(a, b): (&u8, &u8)| a.abs_diff(*b) > 12;
            assert!(
                !picture.grey().iter().zip(grey.to_luma8().as_raw()).any(far),
                "{format:?}"
            );
            assert!(picture.notes[0].contains("40x30"), "{:?}", picture.notes);
            for share in [0.2, 0.5, 0.9] {
                let part = &bytes[..(bytes.len() as f64 * share) as usize];
                let error = read(part).err().map(|error| error.message());
                let error = error.unwrap_or_else(|| panic!("{format:?} cut to {share} is taken"));
                assert!(error.contains("get the file again"), "{error}");
            }
        }
        for (bytes, words) in [
            (&b"<html>"[..], "is no image; give a PNG"),
            (b"GIF89a-and-more", "not read here"),
            (b"", "is no image"),
        ] {
            let error = read(bytes).err().unwrap().message();
            assert!(
                error.contains(words) && error.contains("image.png"),
                "{error}"
            );
        }
    }

    #[test]
    fn transparent_parts_contrast_with_what_is_drawn() {
        for (ink, ground) in [(0, 255), (255, 0)] {
            let image = RgbaImage::from_fn(4, 1, |x, _| match x {
                0 => Rgba([ink, ink, ink, 255]),
                _ => Rgba([ink, ink, ink, 0]),
            });
            let image = DynamicImage::ImageRgba8(image);
            let picture = read(&file(&image, ImageFormat::Png)).unwrap();
            assert_eq!(picture.grey(), [ink, ground, ground, ground]);
            assert!(
                picture.notes[1].contains("transparent"),
                "{:?}",
                picture.notes
            );
        }
        let opaque = RgbaImage::from_pixel(2, 2, Rgba([9, 9, 9, 255]));
        let opaque = DynamicImage::ImageRgba8(opaque);
        assert_eq!(
            read(&file(&opaque, ImageFormat::Png)).unwrap().notes.len(),
            1
        );
    }
}
