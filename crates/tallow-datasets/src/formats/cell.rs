//! Decoding of an encoded image in a cell of a table.

use image::ImageFormat;

use crate::options::PictureOptions;
use crate::picture::{Opened, luma};

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
    let opened = Opened::new(bytes, &PictureOptions::default()).map_err(|e| bad(e.to_string()))?;
    let (h, w) = opened.size();
    if (h, w) != (height, width) {
        return Err(bad(format!("{h}x{w}")));
    }
    let mut planes = Vec::new();
    let decoded = opened.decode(&mut planes).map_err(|e| bad(e.to_string()))?;
    match channels {
        1 => luma(&planes, out),
        _ => out.copy_from_slice(&planes),
    }
    Ok(decoded.format)
}
