//! Encoded images (PNG, JPEG, WebP, BMP) to planar bytes.

use std::fs;
use std::io::{BufRead, Cursor, Seek};
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader};

use crate::baseline_jpeg;
use crate::error::{Error, Result};
use crate::source::kind_of;

/// What was wrong with an encoded image.
pub(crate) struct Bad {
    pub expected: String,
    pub found: String,
}

/// Decodes an image of a known shape into `out` (C x H x W). The header is checked before any pixel is
/// decoded, so that a small file cannot unfold to a large image.
pub(crate) fn into_planes(
    bytes: &[u8],
    (channels, height, width): (usize, usize, usize),
    out: &mut [u8],
) -> std::result::Result<ImageFormat, Bad> {
    let bad = |found: String| Bad {
        expected: format!("an image of {height}x{width}"),
        found,
    };
    let format = image::guess_format(bytes).map_err(|_| bad(kind_of(bytes)))?;
    let decoder = ImageReader::with_format(Cursor::new(bytes), format)
        .into_decoder()
        .map_err(|e| bad(e.to_string()))?;
    let (w, h) = decoder.dimensions();
    if (h as usize, w as usize) != (height, width) {
        return Err(bad(format!("{h}x{w}")));
    }
    if format == ImageFormat::Jpeg
        && channels == 3
        && baseline_jpeg::decode(bytes, (height, width), out).is_some()
    {
        return Ok(format);
    }
    let image = DynamicImage::from_decoder(decoder).map_err(|e| bad(e.to_string()))?;
    match channels {
        1 => out.copy_from_slice(image.into_luma8().as_raw()),
        _ => deinterleave(image.into_rgb8().as_raw(), out),
    }
    Ok(format)
}

/// Pixels; larger images are left to `image`, which has a limit of its own.
const LARGEST: usize = 1 << 26;

/// Decodes an image file of any size to RGB planes in `out`: its height and width.
pub(crate) fn rgb_file(path: &Path, out: &mut Vec<u8>) -> Result<(usize, usize)> {
    let bytes = fs::read(path).map_err(|e| Error::io(path, e))?;
    if let Some((height, width)) = baseline_jpeg::size(&bytes)
        && height * width <= LARGEST
    {
        out.resize(3 * height * width, 0);
        if baseline_jpeg::decode(&bytes, (height, width), out).is_some() {
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

/// H x W x 3 to 3 x H x W.
fn deinterleave(pixels: &[u8], planes: &mut [u8]) {
    let size = planes.len() / 3;
    let (red, rest) = planes.split_at_mut(size);
    let (green, blue) = rest.split_at_mut(size);
    for (i, pixel) in pixels.chunks_exact(3).enumerate() {
        (red[i], green[i], blue[i]) = (pixel[0], pixel[1], pixel[2]);
    }
}
