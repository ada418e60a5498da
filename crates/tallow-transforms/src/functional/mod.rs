//! Image operations with explicit parameters, torchvision's `transforms.functional`.
//!
//! The transforms of a pipeline draw their parameters and call these. Each takes an image of u8 or f32 and changes it in
//! place. On u8 the definition is that of torchvision on PIL images (Pillow), on f32 that on float tensors with values in
//! `[0, 1]`; the documentation of a function says how close the results are.
//!
//! ```
//! use tallow_transforms::{Image, functional};
//!
//! let mut image = Image::new(vec![0_u8, 100, 200, 255], (1, 2, 2))?;
//! functional::solarize(&mut image, 128.0);
//! assert_eq!(image.data(), [0, 100, 55, 0]);
//! # Ok::<(), tallow_transforms::Error>(())
//! ```

mod blur;
mod color;
mod erase;
mod geometry;
mod histogram;
mod hue;
mod image_mut;
pub(crate) mod lut;
mod matrix;
mod resized_crop;
mod sharpness;
mod tones;
mod warp;

pub use blur::gaussian_blur;
pub use color::{adjust_brightness, adjust_contrast, adjust_saturation, rgb_to_grayscale};
pub use erase::{Fill, erase};
pub use geometry::{affine, perspective, rotate};
pub use histogram::{autocontrast, equalize};
pub use hue::adjust_hue;
pub use image_mut::ImageMut;
pub use matrix::{Affine, perspective_coefficients};
pub use resized_crop::resized_crop;
pub use sharpness::adjust_sharpness;
pub use tones::{invert, posterize, solarize};

pub(crate) use blur::{check_kernel_size, check_sigma};
pub(crate) use color::{contrast_table, luma_u8, rounded_mean};
pub(crate) use histogram::{autocontrast_table, equalize_table};
pub(crate) use tones::{invert_table, posterize_table, solarize_table};
