//! Reading of a file, and the description of its picture.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use tallow_datasets::Picture;

use crate::error::{Error, Result};

/// Bytes of a file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    if path.is_dir() {
        return Err(Error::Image(format!(
            "is a folder; name the images in it, as in {}/*.png",
            path.display()
        )));
    }
    fs::read(path).map_err(|error| {
        Error::Image(match error.kind() {
            ErrorKind::NotFound => "there is no such file".to_string(),
            _ => format!("cannot be read: {error}"),
        })
    })
}

/// Format, size and changes in words.
pub(super) fn describe(picture: &Picture) -> Vec<String> {
    let kind = match picture.colour {
        true => format!("{} in colour", picture.format),
        false => format!("grey {}", picture.format),
    };
    let mut steps = vec![format!("{kind}, {}x{}", picture.width, picture.height)];
    steps.extend(picture.notes.iter().map(ToString::to_string));
    steps
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::{DynamicImage, GrayImage, ImageFormat, Luma, Rgba, RgbaImage};
    use tallow_datasets::{Alpha, PictureError, PictureOptions, decode_picture};

    use crate::predictor::fit::grey;

    use super::*;

    fn file(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Vec::new();
        image
            .write_to(&mut Cursor::new(&mut bytes), format)
            .unwrap();
        bytes
    }

    /// As drawings are decoded.
    fn decode(bytes: &[u8]) -> std::result::Result<Picture, PictureError> {
        let options = PictureOptions {
            alpha: Alpha::Blend,
            ..PictureOptions::default()
        };
        decode_picture(bytes, &options)
    }

    #[test]
    fn every_kind_is_read_and_what_is_cut_off_is_not() {
        let image = GrayImage::from_fn(40, 30, |x, y| Luma([(x * 5 + y) as u8]));
        let image = DynamicImage::ImageLuma8(image);
        let colour = DynamicImage::ImageRgb8(image.to_rgb8());
        for (format, stored) in [
            (ImageFormat::Png, &image),
            (ImageFormat::Png, &colour),
            (ImageFormat::Jpeg, &image),
            (ImageFormat::Jpeg, &colour),
            (ImageFormat::WebP, &colour),
            (ImageFormat::Bmp, &colour),
        ] {
            let bytes = file(stored, format);
            let picture = decode(&bytes).unwrap();
            assert_eq!((picture.height, picture.width), (30, 40));
            assert_eq!(picture.planes.len(), 3 * 30 * 40);
            let far = |(a, b): (&u8, &u8)| a.abs_diff(*b) > 12;
            assert!(
                !grey(&picture)
                    .iter()
                    .zip(image.to_luma8().as_raw())
                    .any(far),
                "{format:?}"
            );
            let steps = describe(&picture);
            assert!(steps[0].contains("40x30"), "{steps:?}");
            for share in [0.2, 0.5, 0.9] {
                let part = &bytes[..(bytes.len() as f64 * share) as usize];
                let error = decode(part).err().map(|error| error.to_string());
                let error = error.unwrap_or_else(|| panic!("{format:?} cut to {share} is taken"));
                assert!(error.contains("get the file again"), "{error}");
            }
        }
        for (bytes, words) in [
            (&b"<html>"[..], "is no image but an HTML page"),
            (b"\0\0\x01\0-and-more", "not read here"),
            (b"", "is no image"),
        ] {
            let error = decode(bytes).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
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
            let picture = decode(&file(&image, ImageFormat::Png)).unwrap();
            assert_eq!(grey(&picture), [ink, ground, ground, ground]);
            let steps = describe(&picture);
            assert!(steps[1].contains("transparent"), "{steps:?}");
        }
        let opaque = RgbaImage::from_pixel(2, 2, Rgba([9, 9, 9, 255]));
        let opaque = DynamicImage::ImageRgba8(opaque);
        let picture = decode(&file(&opaque, ImageFormat::Png)).unwrap();
        assert_eq!(describe(&picture).len(), 1);
    }
}
