//! Decoding of images (PNG, JPEG, WebP, BMP) to planar bytes.

use std::fs;
use std::io::{BufRead, Cursor, Seek};
use std::path::Path;

use image::{ImageError, ImageReader};

use crate::error::{Error, Result};

/// Largest number of pixels decoded by tallow-jpeg; `image` has a limit of its own.
const LARGEST: usize = 1 << 26;

/// Decodes an image file of any size to RGB planes in `out`. Returns height and width.
pub(crate) fn rgb_file(path: &Path, out: &mut Vec<u8>) -> Result<(usize, usize)> {
    let bytes = fs::read(path).map_err(|e| Error::io(path, e))?;
    if let Ok((height, width)) = tallow_jpeg::dimensions(&bytes)
        && height * width <= LARGEST
    {
        out.resize(3 * height * width, 0);
        if tallow_jpeg::decode_into(&bytes, out).is_ok() {
            return Ok((height, width));
        }
    }
    let image = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|e| Error::io(path, e))?
        .decode()
        .map_err(|e| broken(path, e))?
        .into_rgb8();
    let (width, height) = (image.width() as usize, image.height() as usize);
    out.resize(3 * height * width, 0);
    deinterleave(image.as_raw(), out);
    Ok((height, width))
}

/// Height and width of an image file, from its header.
pub(crate) fn dimensions(path: &Path) -> Result<(usize, usize)> {
    let (width, height) = reader(path)?
        .into_dimensions()
        .map_err(|e| broken(path, e))?;
    Ok((height as usize, width as usize))
}

fn reader(path: &Path) -> Result<ImageReader<impl BufRead + Seek>> {
    ImageReader::open(path)
        .and_then(ImageReader::with_guessed_format)
        .map_err(|e| Error::io(path, e))
}

fn broken(path: &Path, error: ImageError) -> Error {
    match error {
        ImageError::IoError(e) if e.kind() != std::io::ErrorKind::UnexpectedEof => {
            Error::io(path, e)
        }
        e => Error::invalid(path, "a PNG, JPEG, WebP or BMP image", e.to_string()),
    }
}

/// Converts `(H, W, 3)` to `(3, H, W)`.
pub(crate) fn deinterleave(pixels: &[u8], planes: &mut [u8]) {
    let size = planes.len() / 3;
    let (red, rest) = planes.split_at_mut(size);
    let (green, blue) = rest.split_at_mut(size);
    for (i, pixel) in pixels.chunks_exact(3).enumerate() {
        (red[i], green[i], blue[i]) = (pixel[0], pixel[1], pixel[2]);
    }
}
