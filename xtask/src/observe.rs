//! What is noted beside the accuracy: the inputs as the network sees them, and what it makes of the first test images.

use std::sync::Arc;

use anyhow::Result;
use candle_core::Tensor;
use serde::Serialize;
use tallow_datasets::{DataLoader, Dataset, LoaderConfig, take};
use tallow_models::Model;
use tallow_ops::no_grad;

/// Images whose values are counted.
const IMAGES: usize = 1000;
/// Bins of the histogram.
const BINS: usize = 60;
/// Test images whose predictions are noted.
const PREDICTIONS: usize = 8;

/// The values of training images after all transforms.
#[derive(Debug, Serialize)]
pub struct Inputs {
    /// Of each channel.
    pub mean: Vec<f64>,
    /// Of each channel: the square root of the mean squared distance from the mean.
    pub std: Vec<f64>,
    /// Over all channels.
    pub histogram: Histogram,
}

/// Counts of values in bins of equal width.
#[derive(Debug, Serialize)]
pub struct Histogram {
    /// Where the first bin begins: the least value.
    pub from: f64,
    /// Where the last one ends: the greatest.
    pub to: f64,
    /// Of each bin.
    pub counts: Vec<u64>,
}

/// What a network says about one image.
#[derive(Debug, Serialize)]
pub struct Prediction {
    /// Which test image.
    pub index: usize,
    /// Its class.
    pub label: u32,
    /// The likeliest classes with their probabilities, likeliest first.
    pub top: Vec<(usize, f64)>,
}

/// The inputs of the first epoch's first images.
pub fn inputs(train: &DataLoader) -> Result<Inputs> {
    let config = LoaderConfig {
        batch_size: IMAGES,
        num_workers: 0,
        drop_last: false,
        ..train.config().clone()
    };
    let loader = DataLoader::new(train.dataset().clone(), train.transform().clone(), config)?;
    let Some(batch) = loader.epoch(0).next() else {
        anyhow::bail!("there are no training images");
    };
    // One row a channel.
    let planes = batch?.images.transpose(0, 1)?.flatten_from(1)?;
    let planes: Vec<Vec<f32>> = planes.to_vec2()?;
    let moments = |plane: &Vec<f32>| {
        let count = plane.len() as f64;
        let mean = plane.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
        let square = plane.iter().map(|&v| (f64::from(v) - mean).powi(2));
        (mean, (square.sum::<f64>() / count).sqrt())
    };
    let (mean, std) = planes.iter().map(moments).unzip();
    let values = || planes.iter().flatten().map(|&v| f64::from(v));
    let from = values().fold(f64::INFINITY, f64::min);
    let to = values().fold(f64::NEG_INFINITY, f64::max);
    let mut counts = vec![0; BINS];
    for value in values() {
        let bin = (value - from) / (to - from) * BINS as f64;
        // A value of NaN or a single value everywhere falls into the first bin.
        counts[(bin as usize).min(BINS - 1)] += 1;
    }
    Ok(Inputs {
        mean,
        std,
        histogram: Histogram { from, to, counts },
    })
}

/// What `model` says about the first test images. Outputs are taken for logits.
pub fn predictions(model: &Model, test: &DataLoader) -> Result<Vec<Prediction>> {
    let set = test.dataset();
    let first = take(set, PREDICTIONS.min(set.len()))?;
    let set: Arc<dyn Dataset> = Arc::new(first);
    let config = LoaderConfig {
        batch_size: PREDICTIONS,
        ..LoaderConfig::default()
    };
    let loader = DataLoader::new(set, test.transform().clone(), config)?;
    let mut found = Vec::new();
    for batch in loader.epoch(0) {
        let batch = batch?;
        let device = model.store().device();
        let images = batch.images.to_device(device)?;
        let logits = no_grad(|| model.forward(&images, false))?;
        let rows: Vec<Vec<f32>> = probabilities(&logits)?.to_vec2()?;
        let labels: Vec<u32> = batch.labels.to_vec1()?;
        for ((index, label), row) in batch.indices.into_iter().zip(labels).zip(rows) {
            let mut top: Vec<(usize, f64)> = row.into_iter().map(f64::from).enumerate().collect();
            top.sort_by(|a, b| b.1.total_cmp(&a.1));
            top.truncate(3);
            found.push(Prediction { index, label, top });
        }
    }
    Ok(found)
}

fn probabilities(logits: &Tensor) -> Result<Tensor> {
    Ok(candle_nn::ops::softmax(logits, 1)?)
}
