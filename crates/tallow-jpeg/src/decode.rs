//! From the bytes of a file to RGB planes.

use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::upsample::{repeat, rgb, upsample_across, upsample_both};

/// Decoded image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
    /// Red, green and blue planes, `(3, height, width)`, row by row. A grey file gives three equal planes.
    pub planes: Vec<u8>,
}

/// Height and width of a file, from its headers.
///
/// # Errors
/// As [`decode`], for what the headers show.
pub fn dimensions(bytes: &[u8]) -> Result<(usize, usize)> {
    let frame = Frame::read(bytes)?;
    Ok((frame.height, frame.width))
}

/// Decodes a file to RGB planes. `max_pixels` limits `height * width`: a header of a few bytes may promise 4 billion pixels.
///
/// # Errors
/// [`Error::Unsupported`] for what is not baseline (see the [crate] documentation), [`Error::Damaged`] for a truncated or
/// corrupted file, [`Error::TooLarge`] beyond the limit, [`Error::NotJpeg`] for something else.
pub fn decode(bytes: &[u8], max_pixels: usize) -> Result<Image> {
    let frame = Frame::read(bytes)?;
    let (height, width) = (frame.height, frame.width);
    // Each is below 65,536: the product fits where `usize` has 32 bits.
    if height * width > max_pixels.min(usize::MAX / 3) {
        return Err(Error::TooLarge {
            height,
            width,
            limit: max_pixels,
        });
    }
    let mut planes = vec![0; 3 * height * width];
    fill(frame, &mut planes)?;
    Ok(Image {
        height,
        width,
        planes,
    })
}

/// Decodes a file into a buffer of `3 * height * width` bytes, `(3, height, width)`. See [`dimensions`] for the size.
/// After an error the buffer may hold anything.
///
/// # Errors
/// As [`decode`]; [`Error::Buffer`] when the buffer has another size.
pub fn decode_into(bytes: &[u8], planes: &mut [u8]) -> Result<()> {
    let frame = Frame::read(bytes)?;
    let expected = (frame.height * frame.width).saturating_mul(3);
    if planes.len() != expected {
        return Err(Error::Buffer {
            expected,
            found: planes.len(),
        });
    }
    fill(frame, planes)
}

/// Decodes the image data of `frame` into `out`, `(3, height, width)`.
fn fill(mut frame: Frame, out: &mut [u8]) -> Result<()> {
    frame.scan()?;
    let (height, width) = (frame.height, frame.width);
    let size = height * width;
    let [luma, blue, red] = &frame.components[..] else {
        let grey = &frame.components[0];
        for y in 0..height {
            let row = &grey.samples[y * grey.stride..][..width];
            for plane in 0..3 {
                out[plane * size + y * width..][..width].copy_from_slice(row);
            }
        }
        return Ok(());
    };
    let (halved_x, halved_y) = (luma.h == 2, luma.v == 2);
    let chroma = (height.div_ceil(luma.v), width.div_ceil(luma.h));
    // libjpeg does not interpolate narrower planes.
    let interpolated = chroma.1 > 2;
    let mut rows = [vec![0; 2 * chroma.1], vec![0; 2 * chroma.1]];
    for y in 0..height {
        for (component, row) in [blue, red].into_iter().zip(&mut rows) {
            let line = |y: usize| &component.samples[y * component.stride..][..chroma.1];
            match (halved_x, halved_y) {
                (false, _) => row[..width].copy_from_slice(line(y)),
                (true, _) if !interpolated => repeat(line(y / luma.v), row),
                (true, false) => upsample_across(line(y), row),
                (true, true) => {
                    let near = y / 2;
                    let far = if y % 2 == 0 {
                        near.saturating_sub(1)
                    } else {
                        (near + 1).min(chroma.0 - 1)
                    };
                    upsample_both(line(near), line(far), row);
                }
            }
        }
        for x in 0..width {
            let pixel = rgb(luma.samples[y * luma.stride + x], rows[0][x], rows[1][x]);
            for (plane, value) in pixel.into_iter().enumerate() {
                out[plane * size + y * width + x] = value;
            }
        }
    }
    Ok(())
}
