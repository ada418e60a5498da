//! Published weights by name, for fine-tuning: where they are, and how their images are prepared.

use crate::nearest::nearest;

/// Interpolation of the resized images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResizeFilter {
    /// Bilinear.
    Bilinear,
    /// Bicubic.
    Bicubic,
}

/// Published weights of a built-in model, trained on ImageNet-1k with 1,000 classes: a file on the Hugging Face hub and the preparation
/// of its images in evaluation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pretrained {
    /// Name, which is that of the model too.
    pub name: &'static str,
    /// Repository on the hub, `owner/name`.
    pub repository: &'static str,
    /// File in it.
    pub file: &'static str,
    /// SHA-256 of the file in hexadecimal, where it is known beforehand.
    pub sha256: Option<&'static str>,
    /// Shorter side that an image is resized to, in pixels.
    pub resize: usize,
    /// Interpolation of the resizing.
    pub filter: ResizeFilter,
    /// Side of the square cut from the middle, in pixels.
    pub crop: usize,
    /// Mean of each channel, subtracted from an image in `[0, 1]`.
    pub mean: [f32; 3],
    /// Standard deviation of each channel, by which the difference is divided.
    pub std: [f32; 3],
    /// Licence, as its publisher states it.
    pub licence: &'static str,
}

/// Weights with ImageNet's usual preparation: shorter side 256, square of 224.
const fn imagenet(
    name: &'static str,
    repository: &'static str,
    filter: ResizeFilter,
    licence: &'static str,
) -> Pretrained {
    Pretrained {
        name,
        repository,
        file: "model.safetensors",
        sha256: None,
        resize: 256,
        filter,
        crop: 224,
        mean: [0.485, 0.456, 0.406],
        std: [0.229, 0.224, 0.225],
        licence,
    }
}

use ResizeFilter::{Bicubic, Bilinear};

/// torchvision's weights (`IMAGENET1K_V1`) in timm's repositories; for networks that timm has no copy of, timm's or the authors'.
const PRETRAINED: &[Pretrained] = &[
    imagenet(
        "resnet18",
        "timm/resnet18.tv_in1k",
        Bilinear,
        "BSD-3-Clause",
    ),
    imagenet(
        "resnet34",
        "timm/resnet34.tv_in1k",
        Bilinear,
        "BSD-3-Clause",
    ),
    imagenet(
        "resnet50",
        "timm/resnet50.tv_in1k",
        Bilinear,
        "BSD-3-Clause",
    ),
    imagenet("vgg16", "timm/vgg16.tv_in1k", Bilinear, "BSD-3-Clause"),
    imagenet(
        "vgg16-bn",
        "timm/vgg16_bn.tv_in1k",
        Bilinear,
        "BSD-3-Clause",
    ),
    imagenet(
        "mobilenet-v3-small",
        "timm/mobilenetv3_small_100.lamb_in1k",
        Bicubic,
        "Apache-2.0",
    ),
    imagenet(
        "mobilenet-v3-large",
        "timm/mobilenetv3_large_100.ra_in1k",
        Bicubic,
        "Apache-2.0",
    ),
    imagenet(
        "efficientnet-b0",
        "timm/efficientnet_b0.ra_in1k",
        Bicubic,
        "Apache-2.0",
    ),
    imagenet(
        "convnext-tiny",
        "timm/convnext_tiny.fb_in1k",
        Bicubic,
        "Apache-2.0",
    ),
];

/// All published weights that can be named.
pub fn pretrained() -> &'static [Pretrained] {
    PRETRAINED
}

impl Pretrained {
    /// Published weights of this name.
    ///
    /// # Errors
    /// A sentence with the nearest name and all of them.
    pub fn find(name: &str) -> Result<&'static Self, String> {
        if let Some(found) = PRETRAINED.iter().find(|known| known.name == name) {
            return Ok(found);
        }
        let names: Vec<&str> = PRETRAINED.iter().map(|known| known.name).collect();
        let near = nearest(name, names.iter().copied());
        let suggestion = near.map(|near| format!(" (did you mean `{near}`?)"));
        Err(format!(
            "there are no pretrained weights `{name}`{}; there are {}",
            suggestion.unwrap_or_default(),
            names.join(", ")
        ))
    }
}
