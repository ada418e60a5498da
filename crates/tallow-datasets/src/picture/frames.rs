//! Number of frames of an image file, as far as it matters: one or several.

use image::ImageFormat;

/// Whether a file has more than one frame or page.
pub(super) fn several(bytes: &[u8], format: ImageFormat) -> bool {
    match format {
        ImageFormat::Gif => gif(bytes).is_some_and(|frames| frames > 1),
        // The chunk VP8X with the flag of an animation.
        ImageFormat::WebP => {
            bytes.get(12..16) == Some(b"VP8X") && bytes.get(20).is_some_and(|flags| flags & 2 != 0)
        }
        ImageFormat::Png => png(bytes).is_some_and(|frames| frames > 1),
        ImageFormat::Tiff => tiff(bytes).unwrap_or(false),
        _ => false,
    }
}

/// Frames of a GIF, counted up to two.
fn gif(bytes: &[u8]) -> Option<usize> {
    let table = |flags: u8| match flags & 0x80 {
        0 => 0,
        _ => 3 << ((flags & 7) + 1),
    };
    let mut rest = bytes.get(13 + table(*bytes.get(10)?)..)?;
    let mut frames = 0;
    while frames < 2 {
        let (block, after) = rest.split_first()?;
        match block {
            0x21 => rest = after.get(1..)?,
            0x2c => {
                frames += 1;
                rest = after.get(10 + table(*after.get(8)?)..)?;
            }
            _ => break,
        }
        // Sub-blocks, each behind its length, up to one of length 0.
        loop {
            let (length, after) = rest.split_first()?;
            rest = after.get(usize::from(*length)..)?;
            if *length == 0 {
                break;
            }
        }
    }
    Some(frames)
}

/// Frames that the chunk acTL of a PNG gives.
fn png(bytes: &[u8]) -> Option<u32> {
    let mut rest = bytes.get(8..)?;
    loop {
        let length = u32::from_be_bytes(*rest.first_chunk()?) as usize;
        match rest.get(4..8)? {
            b"acTL" => return Some(u32::from_be_bytes(*rest.get(8..)?.first_chunk()?)),
            b"IDAT" => return None,
            _ => rest = rest.get(12..)?.get(length..)?,
        }
    }
}

/// Whether another directory follows the first of a TIFF.
fn tiff(bytes: &[u8]) -> Option<bool> {
    let little = bytes.first()? == &b'I';
    let number = |at: usize| {
        let bytes = *bytes.get(at..)?.first_chunk::<4>()?;
        let number = match little {
            true => u32::from_le_bytes(bytes),
            false => u32::from_be_bytes(bytes),
        };
        usize::try_from(number).ok()
    };
    let first = number(4)?;
    let count = match (little, bytes.get(first..)?.first_chunk::<2>()?) {
        (true, count) => u16::from_le_bytes(*count),
        (false, count) => u16::from_be_bytes(*count),
    };
    Some(number(first + 2 + 12 * usize::from(count))? != 0)
}
