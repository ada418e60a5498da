//! Gaussian blur as two passes of one dimension.

use std::cell::RefCell;

use super::image_mut::ImageMut;
use crate::error::Problem;
use crate::image::Image;
use crate::moves::padded_source;
use crate::options::PadMode;

/// Gaussian blur with a kernel of `kernel_size` `[width, height]`, both odd, and standard deviations `sigma` `[x, y]` in
/// pixels (torchvision's `gaussian_blur`). The border is reflected.
///
/// torchvision convolves with the kernel of two dimensions, also for PIL images. This is within 1 grey level of it on u8,
/// and within 1e-5 on f32.
///
/// # Errors
/// [`Problem::MirrorTooWide`] if half of the kernel is not smaller than the image, [`Problem::Parameter`] for a kernel
/// size that is not odd, or a sigma that is not positive.
pub fn gaussian_blur<'a>(
    image: impl Into<ImageMut<'a>>,
    kernel_size: [usize; 2],
    sigma: [f64; 2],
) -> Result<(), Problem> {
    check_kernel_size(kernel_size)?;
    for sigma in sigma {
        check_sigma(sigma)?;
    }
    match image.into() {
        ImageMut::U8(image) => blur(image, kernel_size, sigma, f32::from, |value| {
            value.round_ties_even() as u8
        }),
        ImageMut::F32(image) => blur(image, kernel_size, sigma, |value| value, |value| value),
    }
}

/// Largest kernel accepted, in pixels.
const MAX_KERNEL: usize = 1023;

pub(crate) fn check_kernel_size(kernel_size: [usize; 2]) -> Result<(), Problem> {
    match kernel_size
        .into_iter()
        .find(|size| size % 2 == 0 || *size > MAX_KERNEL)
    {
        Some(size) => Err(Problem::parameter(
            "kernel_size",
            size,
            "an odd number in 1..=1023",
        )),
        None => Ok(()),
    }
}

pub(crate) fn check_sigma(sigma: f64) -> Result<(), Problem> {
    match sigma > 0.0 && sigma.is_finite() {
        true => Ok(()),
        false => Err(Problem::parameter("sigma", sigma, "a number above 0")),
    }
}

/// Buffers that a thread keeps.
#[derive(Default)]
struct Scratch {
    weights: [Vec<f32>; 2],
    padded: Vec<f32>,
    /// The plane after the pass along rows.
    between: Vec<f32>,
    sums: Vec<f32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

fn blur<T: Copy + Default>(
    image: &mut Image<T>,
    kernel_size: [usize; 2],
    sigma: [f64; 2],
    read: impl Fn(T) -> f32,
    write: impl Fn(f32) -> T,
) -> Result<(), Problem> {
    let (height, width) = image.size();
    let halves = kernel_size.map(|size| size / 2);
    for (padding, side) in halves.into_iter().zip([width, height]) {
        PadMode::Reflect.check(padding, side)?;
    }
    SCRATCH.with_borrow_mut(|scratch| {
        let Scratch {
            weights: [across, down],
            padded,
            between,
            sums,
        } = scratch;
        gaussian(kernel_size[0], sigma[0], across);
        gaussian(kernel_size[1], sigma[1], down);
        let row_at = |y| padded_source(y, halves[1], height, PadMode::Reflect).unwrap_or(0);
        for plane in image.planes_mut() {
            between.clear();
            for row in plane.chunks_exact(width) {
                padded.clear();
                let (before, after) = (&row[1..=halves[0]], &row[width - 1 - halves[0]..width - 1]);
                padded.extend(before.iter().rev().map(|&value| read(value)));
                padded.extend(row.iter().map(|&value| read(value)));
                padded.extend(after.iter().rev().map(|&value| read(value)));
                let start = between.len();
                between.resize(start + width, 0.0);
                for (tap, &weight) in across.iter().enumerate() {
                    let shifted = &padded[tap..][..width];
                    for (sum, &value) in between[start..].iter_mut().zip(shifted) {
                        *sum += weight * value;
                    }
                }
            }
            for (y, row) in plane.chunks_exact_mut(width).enumerate() {
                sums.clear();
                sums.resize(width, 0.0);
                for (tap, &weight) in down.iter().enumerate() {
                    let from = row_at(y + tap);
                    for (sum, &value) in sums.iter_mut().zip(&between[from * width..][..width]) {
                        *sum += weight * value;
                    }
                }
                for (value, &sum) in row.iter_mut().zip(&*sums) {
                    *value = write(sum);
                }
            }
        }
    });
    Ok(())
}

/// Weights of a Gaussian at whole pixels, with sum 1.
fn gaussian(size: usize, sigma: f64, weights: &mut Vec<f32>) {
    let half = (size / 2) as f64;
    let density = |i: usize| libm::exp(-0.5 * ((i as f64 - half) / sigma).powi(2));
    let total: f64 = (0..size).map(density).sum();
    weights.clear();
    weights.extend((0..size).map(|i| (density(i) / total) as f32));
}
