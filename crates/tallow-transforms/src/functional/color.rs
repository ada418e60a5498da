//! Brightness, contrast and saturation: blends of the image with a degenerate one (Pillow's `ImageEnhance`).

use super::image_mut::ImageMut;
use super::lut::{Table, histogram, map, table};
use crate::error::Problem;
use crate::image::Image;

/// Blend of two values as Pillow's `Image.blend`: in f32, kept in `0..=255`, the fraction dropped.
pub(super) fn blend_u8(degenerate: u8, value: u8, factor: f32) -> u8 {
    let (from, to) = (f32::from(degenerate), f32::from(value));
    // `as` drops the fraction and keeps the range.
    (from + factor * (to - from)) as u8
}

/// Blend of two values as torchvision's on float tensors, kept in `[0, 1]`.
pub(super) fn blend_f32(degenerate: f32, value: f32, factor: f64) -> f32 {
    (value * factor as f32 + degenerate * (1.0 - factor) as f32).clamp(0.0, 1.0)
}

/// Luma of ITU-R 601-2 as PIL computes it.
pub(crate) fn luma_u8(r: u8, g: u8, b: u8) -> u8 {
    let [r, g, b] = [r, g, b].map(u32::from);
    ((19_595 * r + 38_470 * g + 7_471 * b + 32_768) >> 16) as u8
}

/// Luma of ITU-R 601-2 as torchvision computes it on float tensors.
pub(super) fn luma_f32(r: f32, g: f32, b: f32) -> f32 {
    0.2989 * r + 0.587 * g + 0.114 * b
}

/// The three planes of an RGB image; none for a grey one.
///
/// # Errors
/// [`Problem::Channels`] for other numbers of channels.
pub(super) fn rgb<T: Copy + Default>(
    image: &mut Image<T>,
) -> Result<Option<[&mut [T]; 3]>, Problem> {
    let channels = image.channels();
    let mut planes = image.planes_mut();
    match (channels, planes.next(), planes.next(), planes.next()) {
        (1, ..) => Ok(None),
        (3, Some(r), Some(g), Some(b)) => Ok(Some([r, g, b])),
        _ => Err(Problem::Channels {
            expected: 3,
            found: channels,
        }),
    }
}

/// Grey values of an RGB image in all of its channels; a grey image is kept (torchvision's `rgb_to_grayscale`).
///
/// To the bit on PIL images, within 1e-6 on float tensors: see [`Grayscale`](crate::Grayscale).
///
/// # Errors
/// [`Problem::Channels`] unless the image has 1 or 3 channels.
pub fn rgb_to_grayscale<'a>(image: impl Into<ImageMut<'a>>) -> Result<(), Problem> {
    match image.into() {
        ImageMut::U8(image) => gray_out(image, luma_u8),
        ImageMut::F32(image) => gray_out(image, luma_f32),
    }
}

fn gray_out<T: Copy + Default>(
    image: &mut Image<T>,
    luma: impl Fn(T, T, T) -> T,
) -> Result<(), Problem> {
    if let Some([r, g, b]) = rgb(image)? {
        for ((r, g), b) in r.iter_mut().zip(g).zip(b) {
            let grey = luma(*r, *g, *b);
            (*r, *g, *b) = (grey, grey, grey);
        }
    }
    Ok(())
}

/// Scaling of the brightness: 0 is black, 1 the image, 2 twice as bright (torchvision's `adjust_brightness`).
///
/// To the bit on PIL images and on float tensors, whose values are kept in `[0, 1]`.
pub fn adjust_brightness<'a>(image: impl Into<ImageMut<'a>>, factor: f64) {
    match image.into() {
        ImageMut::U8(image) => map(image, &contrast_table(0, factor)),
        ImageMut::F32(image) => {
            let factor = factor as f32;
            for value in image.data_mut() {
                *value = (*value * factor).clamp(0.0, 1.0);
            }
        }
    }
}

/// Blend of each byte with one grey value: contrast, and brightness with black.
pub(crate) fn contrast_table(grey: u8, factor: f64) -> Table {
    table(|byte| blend_u8(grey, byte, factor as f32))
}

/// Distance from the mean luma: 0 is uniform grey, 1 the image (torchvision's `adjust_contrast`).
///
/// To the bit on PIL images, whose mean is rounded to a grey value; within 1e-6 on float tensors.
///
/// # Errors
/// [`Problem::Channels`] unless the image has 1 or 3 channels.
pub fn adjust_contrast<'a>(image: impl Into<ImageMut<'a>>, factor: f64) -> Result<(), Problem> {
    match image.into() {
        ImageMut::U8(image) => {
            let mean = match rgb(image)? {
                Some([r, g, b]) => {
                    let luma = r.iter().zip(&*g).zip(&*b);
                    let sum = luma.map(|((&r, &g), &b)| u64::from(luma_u8(r, g, b))).sum();
                    rounded_mean(sum, r.len())
                }
                None => {
                    let counts = histogram(image.data());
                    let sum = (0_u64..).zip(counts).map(|(value, n)| value * u64::from(n));
                    rounded_mean(sum.sum(), image.data().len())
                }
            };
            map(image, &contrast_table(mean, factor));
        }
        ImageMut::F32(image) => {
            let sum: f64 = match rgb(image)? {
                Some([r, g, b]) => {
                    let luma = r.iter().zip(&*g).zip(&*b);
                    luma.map(|((&r, &g), &b)| f64::from(luma_f32(r, g, b)))
                        .sum()
                }
                None => image.data().iter().copied().map(f64::from).sum(),
            };
            let (height, width) = image.size();
            let mean = (sum / (height * width).max(1) as f64) as f32;
            for value in image.data_mut() {
                *value = blend_f32(mean, *value, factor);
            }
        }
    }
    Ok(())
}

/// Mean of `count` values with this sum, rounded to nearest.
pub(crate) fn rounded_mean(sum: u64, count: usize) -> u8 {
    (sum as f64 / count.max(1) as f64 + 0.5) as u8
}

/// Distance from the grey image: 0 is grey, 1 the image, 2 twice as colourful (torchvision's `adjust_saturation`). A
/// grey image is kept.
///
/// To the bit on PIL images, within 1e-6 on float tensors.
///
/// # Errors
/// [`Problem::Channels`] unless the image has 1 or 3 channels.
pub fn adjust_saturation<'a>(image: impl Into<ImageMut<'a>>, factor: f64) -> Result<(), Problem> {
    match image.into() {
        ImageMut::U8(image) => {
            if let Some([r, g, b]) = rgb(image)? {
                let factor = factor as f32;
                for ((r, g), b) in r.iter_mut().zip(g).zip(b) {
                    let grey = luma_u8(*r, *g, *b);
                    for value in [r, g, b] {
                        *value = blend_u8(grey, *value, factor);
                    }
                }
            }
        }
        ImageMut::F32(image) => {
            if let Some([r, g, b]) = rgb(image)? {
                for ((r, g), b) in r.iter_mut().zip(g).zip(b) {
                    let grey = luma_f32(*r, *g, *b);
                    for value in [r, g, b] {
                        *value = blend_f32(grey, *value, factor);
                    }
                }
            }
        }
    }
    Ok(())
}
