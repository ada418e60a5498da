//! Fitting of any image to the size and colour of a dataset's images.

use tallow_transforms::{Compose, ImageRef, SampleRng, Size, TransformConfig};

use super::drawing;
use crate::error::Result;
use tallow_datasets::Picture;

/// Image in the shape of a dataset's.
pub(super) struct Fitted {
    /// Channels, one plane after the other.
    pub bytes: Vec<u8>,
    /// Shape `(C, H, W)`.
    pub shape: (usize, usize, usize),
    /// Changes in words.
    pub notes: Vec<String>,
}

/// Drawing style of a dataset whose images are of this shape.
pub(super) fn drawn(shape: Option<(usize, usize, usize)>, dataset: &str) -> Option<drawing::Style> {
    match shape {
        Some((1, 28, 28)) => drawing::style(dataset),
        _ => None,
    }
}

/// One plane of luma as by [`tallow_transforms::Grayscale`].
pub(super) fn grey(picture: &Picture) -> Vec<u8> {
    let size = picture.height * picture.width;
    let plane = |i: usize| picture.planes[i * size..].iter().map(|&v| u32::from(v));
    let luma = |((r, g), b)| ((19_595 * r + 38_470 * g + 7_471 * b + 32_768) >> 16) as u8;
    let pixels = plane(0).zip(plane(1)).zip(plane(2)).take(size);
    pixels.map(luma).collect()
}

/// Brings a picture to `shape`, the `(C, H, W)` of the images of `dataset`; without it, the transforms take images of any size.
pub(super) fn fit(
    picture: &Picture,
    shape: Option<(usize, usize, usize)>,
    dataset: &str,
) -> Result<Fitted> {
    let Some((c, h, w)) = shape else {
        return Ok(Fitted {
            bytes: picture.planes.clone(),
            shape: (3, picture.height, picture.width),
            notes: Vec::new(),
        });
    };
    let size = (picture.height, picture.width);
    if let Some(style) = drawn(shape, dataset) {
        let (bytes, notes) = drawing::prepare(&grey(picture), size, &style)?;
        return Ok(Fitted {
            bytes,
            shape: (c, h, w),
            notes,
        });
    }
    let (c, bytes) = match c {
        1 => (1, grey(picture)),
        _ => (3, picture.planes.clone()),
    };
    let (bytes, notes) = if size == (h, w) {
        (bytes, vec![format!("{w}x{h} is the dataset's own size")])
    } else {
        cover(&bytes, (c, size.0, size.1), (h, w))?
    };
    Ok(Fitted {
        bytes,
        shape: (c, h, w),
        notes,
    })
}

/// Scales the image to the least size that covers `h` x `w`, and crops its centre.
fn cover(
    bytes: &[u8],
    (c, height, width): (usize, usize, usize),
    (h, w): (usize, usize),
) -> Result<(Vec<u8>, Vec<String>)> {
    // The shorter side relative to the target gets the target length; the other keeps the aspect ratio.
    let scaled = if height * w <= width * h {
        (h, (width * h / height).max(w))
    } else {
        ((height * w / width).max(h), w)
    };
    let mut steps = vec![TransformConfig::resize(Size::from(scaled))];
    let mut notes = vec![format!("scaled to {}x{}", scaled.1, scaled.0)];
    if scaled != (h, w) {
        steps.push(TransformConfig::center_crop(Size::from((h, w))));
        notes.push(format!("{w}x{h} cut out of the middle"));
    }
    steps.push(TransformConfig::to_tensor());
    let mut out = vec![0f32; c * h * w];
    let image = ImageRef::new(bytes, c, height, width)?;
    Compose::new(steps)?.apply(image, &mut SampleRng::new(0, 0, 0), &mut out)?;
    let bytes = out.into_iter().map(|v| (v * 255.0).round() as u8).collect();
    Ok((bytes, notes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn covers_what_is_wanted_and_no_more() {
        for (from, to, scaled, cut) in [
            ((40, 80), (32, 32), "64x32", true),
            ((90, 30), (32, 32), "32x96", true),
            ((64, 64), (32, 32), "32x32", false),
            ((10, 20), (40, 20), "80x40", true),
            ((7, 5), (32, 32), "32x44", true),
        ] {
            let bytes = vec![77; 3 * from.0 * from.1];
            let (out, notes) = cover(&bytes, (3, from.0, from.1), to).unwrap();
            assert_eq!(out, vec![77; 3 * to.0 * to.1]);
            assert_eq!(notes[0], format!("scaled to {scaled}"));
            assert_eq!(notes.len() == 2, cut, "{notes:?}");
        }
        // The middle third of the columns.
        let bytes: Vec<u8> = (0..30 * 90)
            .map(|i| if (30..60).contains(&(i % 90)) { 200 } else { 0 })
            .collect();
        let (out, _) = cover(&bytes, (1, 30, 90), (30, 30)).unwrap();
        assert_eq!(out, [200; 900]);
    }
}
