//! Decoding of an encoded image in a cell of a table.

use std::io::Cursor;

use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader};

use crate::decode::deinterleave;
use crate::source::kind_of;

/// Error of an encoded image, without its place.
pub(crate) struct Bad {
    pub expected: String,
    pub found: String,
}

/// Decodes an image of a known shape into `out` (C x H x W). The header is checked before any pixel is
/// decoded, so that a small file cannot expand to a large image.
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
    if format == ImageFormat::Jpeg && channels == 3 && tallow_jpeg::decode_into(bytes, out).is_ok()
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
