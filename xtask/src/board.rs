//! What TensorBoard shows of a run besides its figures: the images as the network saw them.

use anyhow::{Context, Result};
use candle_core::{Device, Tensor};
use tallow_datasets::DataLoader;
use tallow_train::Picture;
use tallow_transforms::Transform;

use crate::data::first_batch;

/// Images in the picture.
const IMAGES: usize = 25;
/// They are enlarged to about so many pixels.
const SIZE: usize = 64;

/// The first images of the first epoch after all transforms but normalisation, which is undone.
pub fn samples(train: &DataLoader, transforms: &[Transform]) -> Result<Picture> {
    let batch = first_batch(train, IMAGES)?.context("there are no training images")?;
    let images = as_before(&batch.images.to_device(&Device::Cpu)?, transforms)?;
    let scale = SIZE.div_ceil(images.dim(3)?.max(1));
    Ok(Picture::grid(&images, (0.0, 1.0), scale)?)
}

/// `images (N, C, H, W)` with each channel as it was before it was normalised.
fn as_before(images: &Tensor, transforms: &[Transform]) -> Result<Tensor> {
    let mut images = images.clone();
    for transform in transforms.iter().rev() {
        if let Transform::Normalize { mean, std } = transform {
            let channels =
                |values: &[f32]| Tensor::new(values, &Device::Cpu)?.reshape((1, (), 1, 1));
            images = images
                .broadcast_mul(&channels(std)?)?
                .broadcast_add(&channels(mean)?)?;
        }
    }
    Ok(images)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalisation_is_undone_channel_by_channel() {
        let seen = Tensor::new(&[0f32, 1.0, -1.0, 0.0, 2.0, 0.5], &Device::Cpu).unwrap();
        let seen = seen.reshape((1, 3, 1, 2)).unwrap();
        let transforms = [
            Transform::ToTensor,
            Transform::normalize([0.5], [0.25]),
            Transform::normalize([0.0, 1.0, 2.0], [1.0, 2.0, 4.0]),
        ];
        let before = as_before(&seen, &transforms).unwrap();
        let values: Vec<f32> = before.flatten_all().unwrap().to_vec1().unwrap();
        assert_eq!(values, [0.5, 0.75, 0.25, 0.75, 3.0, 1.5]);
    }
}
