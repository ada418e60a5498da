//! The built-in transforms, one file each, and the list of them.

mod alternating_flip;
mod aug_mix;
mod auto_augment;
mod center_crop;
mod color_jitter;
mod cutout;
mod gaussian_blur;
mod grayscale;
mod normalize;
mod on_either;
mod pad;
mod permute_pixels;
mod policy_options;
mod rand_augment;
mod random_adjust_sharpness;
mod random_affine;
mod random_autocontrast;
mod random_crop;
mod random_equalize;
mod random_erasing;
mod random_grayscale;
mod random_horizontal_flip;
mod random_invert;
mod random_perspective;
mod random_posterize;
mod random_resized_crop;
mod random_rotation;
mod random_solarize;
mod random_vertical_flip;
mod resize;
mod to_tensor;
mod trivial_augment_wide;
mod window;

pub use auto_augment::AutoAugmentPolicy;
pub use random_affine::Shear;
pub use random_erasing::{ErasingValue, RandomValue};

use std::any::Any;

use serde::{Deserialize, Serialize};

use crate::options::{Interval, Padding, Size};
use crate::transform::Transform;

/// Defines [`TransformConfig`] and re-exports the transforms. A line gives the module, which is also the name of the
/// constructor, the type, and the arguments of its `new`.
macro_rules! transforms {
    ($($module:ident :: $type:ident ($($argument:ident: $of:ty),*);)*) => {
        $(pub use $module::$type;)*

        /// Built-in transform as a recipe names it.
        ///
        /// In a recipe it is a table with a `name` and the fields of the transform:
        /// `{ name = "random-crop", size = 32, padding = 4 }`. Unknown names and unknown fields are errors.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[cfg_attr(feature = "schema", schemars(transform = describe))]
        #[serde(tag = "name", rename_all = "kebab-case")]
        #[non_exhaustive]
        pub enum TransformConfig {
            $(
                #[doc = concat!("[`", stringify!($type), "`].")]
                $type($type),
            )*
        }

        /// Describes each transform in the schema by the documentation of its type, instead of the name of that.
        #[cfg(feature = "schema")]
        fn describe(schema: &mut schemars::Schema) {
            let types = [$(schemars::schema_for!($type)),*];
            let Some(variants) = schema.get_mut("oneOf").and_then(|list| list.as_array_mut()) else {
                return;
            };
            for (variant, of) in variants.iter_mut().zip(types) {
                if let (Some(variant), Some(text)) = (variant.as_object_mut(), of.get("description")) {
                    variant.insert("description".to_string(), text.clone());
                }
            }
        }

        impl TransformConfig {
            $(
                #[doc = concat!("[`", stringify!($type), "::new`].")]
                pub fn $module($($argument: $of),*) -> Self {
                    Self::$type($type::new($($argument),*))
                }
            )*

            /// Configuration of `transform` if it is a built-in one.
            pub fn of(transform: &dyn Transform) -> Option<Self> {
                let transform: &dyn Any = transform;
                $(
                    if let Some(transform) = transform.downcast_ref::<$type>() {
                        return Some(Self::$type(transform.clone()));
                    }
                )*
                None
            }

            /// The transform itself.
            pub fn as_transform(&self) -> &dyn Transform {
                match self {
                    $(Self::$type(transform) => transform,)*
                }
            }
        }

        $(
            impl From<$type> for TransformConfig {
                fn from(transform: $type) -> Self {
                    Self::$type(transform)
                }
            }
        )*

        impl From<TransformConfig> for Box<dyn Transform> {
            fn from(config: TransformConfig) -> Self {
                match config {
                    $(TransformConfig::$type(transform) => Box::new(transform),)*
                }
            }
        }
    };
}

transforms! {
    to_tensor::ToTensor();
    normalize::Normalize(mean: impl AsRef<[f32]>, std: impl AsRef<[f32]>);
    random_crop::RandomCrop(size: impl Into<Size>, padding: impl Into<Padding>);
    random_horizontal_flip::RandomHorizontalFlip(p: f64);
    center_crop::CenterCrop(size: impl Into<Size>);
    resize::Resize(size: impl Into<Size>);
    pad::Pad(padding: impl Into<Padding>);
    grayscale::Grayscale(num_output_channels: usize);
    permute_pixels::PermutePixels(seed: u64);
    random_vertical_flip::RandomVerticalFlip(p: f64);
    alternating_flip::AlternatingFlip();
    random_resized_crop::RandomResizedCrop(size: impl Into<Size>);
    random_rotation::RandomRotation(degrees: impl Into<Interval>);
    random_affine::RandomAffine(degrees: impl Into<Interval>);
    random_perspective::RandomPerspective(distortion_scale: f64, p: f64);
    color_jitter::ColorJitter(
        brightness: impl Into<Interval>,
        contrast: impl Into<Interval>,
        saturation: impl Into<Interval>,
        hue: impl Into<Interval>
    );
    random_grayscale::RandomGrayscale(p: f64);
    random_invert::RandomInvert(p: f64);
    random_posterize::RandomPosterize(bits: u32, p: f64);
    random_solarize::RandomSolarize(threshold: f64, p: f64);
    random_adjust_sharpness::RandomAdjustSharpness(sharpness_factor: f64, p: f64);
    random_autocontrast::RandomAutocontrast(p: f64);
    random_equalize::RandomEqualize(p: f64);
    gaussian_blur::GaussianBlur(kernel_size: impl Into<Size>);
    random_erasing::RandomErasing(p: f64);
    cutout::Cutout(size: usize);
    auto_augment::AutoAugment(policy: AutoAugmentPolicy);
    rand_augment::RandAugment(num_ops: usize, magnitude: usize);
    trivial_augment_wide::TrivialAugmentWide();
    aug_mix::AugMix(severity: usize);
}

impl TransformConfig {
    /// Name in a recipe.
    pub fn name(&self) -> &'static str {
        self.as_transform().name()
    }

    /// Whether the output depends on random numbers.
    pub fn is_random(&self) -> bool {
        self.as_transform().is_random()
    }
}
