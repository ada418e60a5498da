//! Maps of single values that need nothing of the image: invert, solarize, posterize.

use super::image_mut::ImageMut;
use super::lut::{Table, map, table};

/// Inversion: 255 less the value, on f32 1 less the value (torchvision's `invert`, to the bit).
pub fn invert<'a>(image: impl Into<ImageMut<'a>>) {
    match image.into() {
        ImageMut::U8(image) => map(image, &invert_table()),
        ImageMut::F32(image) => {
            for value in image.data_mut() {
                *value = 1.0 - *value;
            }
        }
    }
}

pub(crate) fn invert_table() -> Table {
    table(|byte| !byte)
}

/// Inversion of the values at or above `threshold`, in the units of the image (torchvision's `solarize`, to the bit).
pub fn solarize<'a>(image: impl Into<ImageMut<'a>>, threshold: f64) {
    match image.into() {
        ImageMut::U8(image) => map(image, &solarize_table(threshold)),
        ImageMut::F32(image) => {
            let threshold = threshold as f32;
            for value in image.data_mut() {
                if *value >= threshold {
                    *value = 1.0 - *value;
                }
            }
        }
    }
}

pub(crate) fn solarize_table(threshold: f64) -> Table {
    table(|byte| match f64::from(byte) < threshold {
        true => byte,
        false => !byte,
    })
}

/// Reduction to the `bits` highest bits of each value, 0 to 8; more are 8 (torchvision's `posterize`, to the bit).
///
/// On f32 the values are rounded down to multiples of `2^-bits` and kept in `[0, 1)`.
pub fn posterize<'a>(image: impl Into<ImageMut<'a>>, bits: u32) {
    match image.into() {
        ImageMut::U8(image) => map(image, &posterize_table(bits)),
        ImageMut::F32(image) => {
            let levels = (1_u32 << bits.min(8)) as f32;
            for value in image.data_mut() {
                *value = (*value * levels).floor().clamp(0.0, levels - 1.0) * (1.0 / levels);
            }
        }
    }
}

pub(crate) fn posterize_table(bits: u32) -> Table {
    let mask = 0xff_u8.checked_shl(8 - bits.min(8)).unwrap_or(0);
    table(|byte| byte & mask)
}
