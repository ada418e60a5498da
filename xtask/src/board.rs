//! What TensorBoard shows of a run besides its figures: the images as the network saw them.

use anyhow::{Context, Result};
use candle_core::{Device, Tensor};
use tallow_datasets::DataLoader;
use tallow_train::{Image, make_grid};
use tallow_transforms::Transform;

use crate::data::first_batch;
use crate::normalisation;

/// Images in the picture.
const IMAGES: usize = 25;
/// They are enlarged to about so many pixels.
const SIZE: usize = 64;

/// The first images of the first epoch after all transforms but normalisation, which is undone.
pub fn samples(train: &DataLoader, transforms: &[Transform]) -> Result<Image> {
    let batch = first_batch(train, IMAGES)?.context("there are no training images")?;
    let (n, c, h, w) = batch.images.dims4()?;
    let values = batch.images.flatten_all()?.to_vec1::<f32>()?;
    let values = normalisation::undone(&values, (c, h, w), transforms);
    let images = Tensor::from_vec(values, (n, c, h, w), &Device::Cpu)?;
    let scale = SIZE.div_ceil(w.max(1));
    Ok(make_grid(&images, (0.0, 1.0), scale)?)
}
