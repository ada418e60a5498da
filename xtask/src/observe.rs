//! What is noted beside the accuracy: the inputs as the network sees them, and what it says of the test images.

use anyhow::{Context, Result};
use serde::Serialize;
use tallow_datasets::DataLoader;
use tallow_metrics::{Calibration, CalibrationError};
use tallow_models::Model;
use tallow_ops::no_grad;

use crate::data::first_batch;

/// Images whose values are counted.
const IMAGES: usize = 1000;
/// Bins of the histogram.
const BINS: usize = 60;
/// Test images whose predictions are noted.
const PREDICTIONS: usize = 8;
/// Mistakes that are noted, of those the network was surest of.
const MISTAKES: usize = 32;

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
#[derive(Debug, Clone, Serialize)]
pub struct Prediction {
    /// Which test image.
    pub index: usize,
    /// Its class.
    pub label: u32,
    /// The likeliest classes with their probabilities, likeliest first.
    pub top: Vec<(usize, f64)>,
}

impl Prediction {
    /// The likeliest class.
    pub fn class(&self) -> usize {
        self.top.first().map_or(0, |(class, _)| *class)
    }
}

/// The inputs of the first epoch's first images.
pub fn inputs(train: &DataLoader) -> Result<Inputs> {
    let batch = first_batch(train, IMAGES)?.context("there are no training images")?;
    // One row a channel.
    let planes = batch.images.transpose(0, 1)?.flatten_from(1)?;
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

/// What a network says of the test images.
#[derive(Debug, Serialize)]
pub struct Outputs {
    /// Of the first images.
    pub predictions: Vec<Prediction>,
    /// Of the wrong ones, those it was surest of, the surest first.
    pub mistakes: Vec<Prediction>,
    /// How far its confidence is from its accuracy.
    pub calibration: Calibration,
}

/// What `model` says of the test images. Its outputs are taken for logits.
pub fn outputs(model: &Model, test: &DataLoader) -> Result<Outputs> {
    let device = model.store().device();
    let (mut predictions, mut mistakes) = (Vec::new(), Vec::new());
    let mut calibration = CalibrationError::default();
    for batch in test.epoch(0) {
        let batch = batch?;
        let images = batch.images.to_device(device)?;
        let logits = no_grad(|| model.forward(&images, false))?;
        let classes = logits.dim(1)?;
        let labels: Vec<u32> = batch.labels.to_vec1()?;
        let values: Vec<f32> = logits.flatten_all()?.to_vec1()?;
        calibration.update_logits(&values, classes, &labels)?;
        let probabilities = candle_nn::ops::softmax(&logits, 1)?;
        let probabilities: Vec<Vec<f32>> = probabilities.to_vec2()?;
        for ((index, label), row) in batch.indices.into_iter().zip(labels).zip(probabilities) {
            let mut top: Vec<(usize, f64)> = row.into_iter().map(f64::from).enumerate().collect();
            top.sort_by(|a, b| b.1.total_cmp(&a.1));
            top.truncate(3);
            let prediction = Prediction { index, label, top };
            if predictions.len() < PREDICTIONS {
                predictions.push(prediction.clone());
            }
            if prediction.class() != label as usize {
                mistakes.push(prediction);
            }
        }
    }
    let confidence = |p: &Prediction| p.top.first().map_or(0.0, |(_, probability)| *probability);
    mistakes.sort_by(|a, b| {
        confidence(b)
            .total_cmp(&confidence(a))
            .then(a.index.cmp(&b.index))
    });
    mistakes.truncate(MISTAKES);
    Ok(Outputs {
        predictions,
        mistakes,
        calibration: calibration.compute().context("there are no test images")?,
    })
}
