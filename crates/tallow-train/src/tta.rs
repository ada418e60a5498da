//! Test-time augmentation.

use candle_core::{Result, Tensor};
use candle_nn::ModuleT;
use serde::{Deserialize, Serialize};

/// Test-time augmentation: the logits are a mean over several views of each image.
///
/// In TOML: `tta = "flip"` or `tta = "six-view"`. Not for images whose meaning a reflection changes, such as digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Tta {
    /// The image and its horizontal reflection.
    Flip,
    /// The image, it moved by one pixel up and left, it moved by one pixel down and right, and the reflections of the three, as
    /// `infer_mirror_translate` of airbench (Jordan 2024, arXiv 2404.00498). Edges are padded by reflection. The two views that are
    /// not moved have half of the weight. Images of one pixel a side are not moved.
    SixView,
}

/// Model with test-time augmentation: in evaluation it gives the weighted mean of the logits `(N, K)` of the views of its images
/// `(N, C, H, W)`. In training it is the model itself.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use candle_nn::ModuleT;
/// use tallow_train::{Tta, WithTta};
///
/// /// The pixel at the left.
/// struct Left;
/// impl ModuleT for Left {
///     fn forward_t(&self, x: &Tensor, _: bool) -> candle_core::Result<Tensor> {
///         x.narrow(3, 0, 1)?.flatten_from(1)
///     }
/// }
/// let image = Tensor::new(&[[[[1f32, 2.0, 5.0]]]], &Device::Cpu)?;
/// let model = WithTta::new(&Left, Some(Tta::Flip));
/// assert_eq!(model.forward_t(&image, false)?.to_vec2::<f32>()?, [[3.0]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub struct WithTta<'a> {
    model: &'a dyn ModuleT,
    tta: Option<Tta>,
}

impl<'a> WithTta<'a> {
    /// `model` with these views, or as it is.
    pub fn new(model: &'a dyn ModuleT, tta: Option<Tta>) -> Self {
        Self { model, tta }
    }

    /// Mean of the logits of the images and of their reflections.
    fn mirrored(&self, images: &Tensor) -> Result<Tensor> {
        let plain = self.model.forward_t(images, false)?;
        let reflected = self.model.forward_t(&reflect(images)?, false)?;
        (plain + reflected)? * 0.5
    }
}

impl ModuleT for WithTta<'_> {
    fn forward_t(&self, images: &Tensor, train: bool) -> Result<Tensor> {
        match self.tta {
            Some(_) if train => self.model.forward_t(images, true),
            None => self.model.forward_t(images, train),
            Some(Tta::Flip) => self.mirrored(images),
            Some(Tta::SixView) => {
                let still = self.mirrored(images)?;
                // Pixel `i` of the padded image, and pixel `i + 2`.
                let first = self.mirrored(&moved(images, -1)?)?;
                let second = self.mirrored(&moved(images, 1)?)?;
                let moved = ((first + second)? * 0.5)?;
                (still * 0.5)? + (moved * 0.5)?
            }
        }
    }
}

fn reflect(images: &Tensor) -> Result<Tensor> {
    let width = images.dim(3)? as u32;
    let columns = Tensor::from_iter((0..width).rev(), images.device())?;
    images.contiguous()?.index_select(&columns, 3)
}

/// Pixel `(y, x)` is pixel `(y + by, x + by)` of the images; edges by reflection without the edge itself.
fn moved(images: &Tensor, by: i64) -> Result<Tensor> {
    let mut moved = images.contiguous()?;
    for axis in [2, 3] {
        let size = moved.dim(axis)? as i64;
        let inside = |at: i64| match at {
            at if size == 1 => at.clamp(0, 0),
            at if at < 0 => -at,
            at if at >= size => 2 * (size - 1) - at,
            at => at,
        };
        let at = Tensor::from_iter((0..size).map(|i| inside(i + by) as u32), moved.device())?;
        moved = moved.index_select(&at, axis)?;
    }
    Ok(moved)
}
