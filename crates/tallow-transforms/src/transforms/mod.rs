//! The built-in transforms, one file each, and the list of them.

mod center_crop;
mod grayscale;
mod normalize;
mod pad;
mod permute_pixels;
mod random_crop;
mod random_horizontal_flip;
mod resize;
mod to_tensor;

use std::any::Any;

use serde::{Deserialize, Serialize};

use crate::options::{Padding, Size};
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
        #[serde(tag = "name", rename_all = "kebab-case")]
        #[non_exhaustive]
        pub enum TransformConfig {
            $(
                #[doc = concat!("[`", stringify!($type), "`].")]
                $type($type),
            )*
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
