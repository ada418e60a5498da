//! Makes of any image one of the size and colour that a dataset has.

use anyhow::Result;
use tallow_transforms::{Compose, ImageRef, SampleRng, TransformConfig};

use super::drawing;
use super::picture::Picture;
use super::trained::Trained;

/// An image as the dataset has them.
pub struct Fitted {
    /// One plane after the other.
    pub bytes: Vec<u8>,
    /// `(C, H, W)`.
    pub shape: (usize, usize, usize),
    /// What was done to it.
    pub notes: Vec<String>,
}

/// The image in the shape of the dataset's.
pub fn fit(picture: &Picture, trained: &Trained) -> Result<Fitted> {
    let Some(shape) = trained.shape else {
        // The transforms bring images of any size to one.
        return Ok(Fitted {
            bytes: picture.planes.clone(),
            shape: (3, picture.height, picture.width),
            notes: Vec::new(),
        });
    };
    let size = (picture.height, picture.width);
    if shape == (1, 28, 28)
        && let Some(style) = drawing::style(&trained.dataset)
    {
        let (bytes, notes) = drawing::prepare(&picture.grey(), size, &style)?;
        return Ok(Fitted {
            bytes,
            shape,
            notes,
        });
    }
    let (c, h, w) = shape;
    let bytes = match c {
        1 => picture.grey(),
        _ => picture.planes.clone(),
    };
    let c = if c == 1 { 1 } else { 3 };
    if size == (h, w) {
        let notes = vec![format!("{w}x{h} is the dataset's own size")];
        return Ok(Fitted {
            bytes,
            shape: (c, h, w),
            notes,
        });
    }
    let (bytes, notes) = cover(&bytes, (c, size.0, size.1), (h, w))?;
    Ok(Fitted {
        bytes,
        shape: (c, h, w),
        notes,
    })
}

/// Scales the image so that it covers `h` x `w` and no more, and cuts the middle out.
fn cover(
    bytes: &[u8],
    (c, height, width): (usize, usize, usize),
    (h, w): (usize, usize),
) -> Result<(Vec<u8>, Vec<String>)> {
    // The side that is shorter, measured by what is wanted, gets its length; the other keeps the shape.
    let scaled = if height * w <= width * h {
        (h, (width * h / height).max(w))
    } else {
        ((height * w / width).max(h), w)
    };
    let mut steps = vec![TransformConfig::resize(scaled)];
    let mut notes = vec![format!("scaled to {}x{}", scaled.1, scaled.0)];
    if scaled != (h, w) {
        steps.push(TransformConfig::center_crop((h, w)));
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
