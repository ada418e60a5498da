//! Whitening of image patches: the fixed first layer of a network, from the covariance of patches of the training images.

use candle_core::{DType, Device, Tensor, Var};

use crate::eigen::symmetric_eigen;
use crate::error::{Error, Result};
use crate::model::Model;

/// Name of the layer that [`Model::whiten`] sets.
pub(crate) const WHITENED: &str = "whiten";

/// Constant added to the eigenvalues, against directions in which patches hardly vary.
const EPS: f64 = 5e-4;

impl Model {
    /// Whether the model begins with a whitening layer, whose weights [`Model::whiten`] sets.
    pub fn has_whitening(&self) -> bool {
        self.whitening().is_some()
    }

    /// Sets the weights of the whitening layer from `images` `(N, C, H, W)`, as [`whitening_filters`]. Training does not change them.
    ///
    /// # Errors
    /// [`Error::Config`] when the model has no whitening layer, or when the images have other channels than the model's or no patch.
    pub fn whiten(&self, images: &Tensor) -> Result<()> {
        let Some((name, weight)) = self.whitening() else {
            let message = "has no whitening layer".into();
            return Err(Error::Config { message }.of_model(self.name()));
        };
        let filters = whitening_filters(images, weight.dim(2)?)?;
        if filters.dims() != weight.dims() {
            let message = format!(
                "expected images with {} channels to whiten with, found {:?}",
                weight.dim(1)?,
                images.dims()
            );
            return Err(Error::Config { message }.of_model(self.name()));
        }
        self.store().load_state_dict(&[(name, filters)], false)?;
        Ok(())
    }

    /// Name and weights of the whitening layer.
    fn whitening(&self) -> Option<(String, Var)> {
        let name = format!("{WHITENED}.weight");
        let mut buffers = self.store().buffers().into_iter();
        buffers.find(|(known, _)| *known == name)
    }
}

/// Filters `(2 * C * K * K, C, K, K)`, `f64`, that whiten patches of `K` by `K` pixels, as in airbench and hlb-CIFAR10: the
/// eigenvectors of the patches' second moments about 0, largest eigenvalue first, each divided by `sqrt(eigenvalue + 5e-4)`, followed by
/// the same with the other sign.
///
/// Convolution of normalised images with them gives outputs without correlation and with a variance of about 1. In each eigenvector of the
/// first half the entry of largest magnitude is positive. The result depends on the images alone, not on the number of threads.
///
/// # Errors
/// [`Error::Config`] when `images` are not `(N, C, H, W)` with at least one patch, or not finite.
pub fn whitening_filters(images: &Tensor, patch: usize) -> Result<Tensor> {
    let refuse = |found: String| {
        Err(Error::Config {
            message: format!(
                "whitening takes finite images (N, C, H, W) of at least one patch of {patch} x {patch} pixels, found {found}"
            ),
        })
    };
    let (n, c, h, w) = match *images.dims() {
        [n, c, h, w] if n * c > 0 && patch > 0 && h >= patch && w >= patch => (n, c, h, w),
        ref dims => return refuse(format!("{dims:?}")),
    };
    let size = c * patch * patch;
    let images = images.to_device(&Device::Cpu)?.to_dtype(DType::F32)?;
    let mut sums = vec![0f64; size * size];
    let mut values = vec![0f64; size];
    for index in 0..n {
        let image = images.get(index)?.flatten_all()?.to_vec1::<f32>()?;
        for top in 0..=h - patch {
            for left in 0..=w - patch {
                let mut at = 0;
                for channel in 0..c {
                    for row in top..top + patch {
                        let start = (channel * h + row) * w + left;
                        for pixel in &image[start..start + patch] {
                            values[at] = f64::from(*pixel);
                            at += 1;
                        }
                    }
                }
                for (i, a) in values.iter().enumerate() {
                    let row = &mut sums[i * size..i * size + i + 1];
                    for (sum, b) in row.iter_mut().zip(&values) {
                        *sum += a * b;
                    }
                }
            }
        }
    }
    let patches = (n * (h - patch + 1) * (w - patch + 1)) as f64;
    let mut moments = vec![0f64; size * size];
    for i in 0..size {
        for j in 0..=i {
            let mean = sums[i * size + j] / patches;
            moments[i * size + j] = mean;
            moments[j * size + i] = mean;
        }
    }
    if moments.iter().any(|value| !value.is_finite()) {
        return refuse("a value that is not finite".into());
    }
    let eigen = symmetric_eigen(&moments, size);
    let mut filters = Vec::with_capacity(2 * size * size);
    for (value, vector) in &eigen {
        let largest = vector.iter().fold(0f64, |best, entry| {
            if entry.abs() > best.abs() {
                *entry
            } else {
                best
            }
        });
        // An eigenvalue of 0 may come out a little below it.
        let scale = largest.signum() / (value.max(0.) + EPS).sqrt();
        filters.extend(vector.iter().map(|entry| entry * scale));
    }
    let negated: Vec<f64> = filters.iter().map(|value| -value).collect();
    filters.extend(negated);
    let shape = (2 * size, c, patch, patch);
    Ok(Tensor::from_vec(filters, shape, &Device::Cpu)?)
}
