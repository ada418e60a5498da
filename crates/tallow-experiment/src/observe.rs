//! Observations recorded besides the accuracy: statistics of the inputs, predictions, mistakes and calibration.

use std::borrow::Cow;

use candle_nn::ModuleT;
use tallow_datasets::DataLoader;
use tallow_metrics::{Calibration, CalibrationError};
use tallow_models::Model;
use tallow_ops::no_grad;
use tallow_record::{Histogram, Inputs, Prediction};
use tallow_train::{Tta, WithTta};

use crate::data::first_batch;
use crate::error::{Error, Result};

/// Number of images whose values are counted.
const IMAGES: usize = 1000;
/// Number of bins of the histogram.
const BINS: usize = 60;
/// Number of test images whose predictions are recorded.
const PREDICTIONS: usize = 8;
/// Number of recorded mistakes, those with the highest confidence.
const MISTAKES: usize = 32;

/// Statistics of the first training images of the first epoch, after all transforms.
pub(crate) fn inputs(train: &DataLoader) -> Result<Inputs> {
    let batch = first_batch(train, IMAGES)?.ok_or_else(no_images)?;
    // One row per channel.
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

fn no_images() -> Error {
    Error::Data("there are no training images".to_string())
}

/// Predictions for the test images.
#[derive(Debug)]
pub(crate) struct Outputs {
    /// Predictions for the first images.
    pub predictions: Vec<Prediction>,
    /// Wrong predictions with the highest confidence, the highest first.
    pub mistakes: Vec<Prediction>,
    /// Calibration over all images.
    pub calibration: Calibration,
}

/// Predictions of `model` for the test images, with the views of `tta`; its outputs are taken as logits.
pub(crate) fn outputs(model: &Model, test: &DataLoader, tta: Option<Tta>) -> Result<Outputs> {
    let device = model.store().device();
    let model = WithTta::new(model, tta);
    let (mut predictions, mut mistakes) = (Vec::new(), Vec::new());
    let mut calibration = CalibrationError::default();
    for batch in test.epoch(0) {
        let batch = batch?;
        let images = batch.images.to_device(device)?;
        let logits = no_grad(|| model.forward_t(&images, false))?;
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
            let label = label as usize;
            let prediction = Prediction {
                index,
                name: None,
                label,
                top,
            };
            if predictions.len() < PREDICTIONS {
                predictions.push(prediction.clone());
            }
            if prediction.class() != Some(label) {
                mistakes.push(prediction);
            }
        }
    }
    mistakes
        .sort_by(|a, b| (b.confidence().total_cmp(&a.confidence())).then(a.index.cmp(&b.index)));
    mistakes.truncate(MISTAKES);
    for prediction in predictions.iter_mut().chain(&mut mistakes) {
        let name = test.dataset().name(prediction.index);
        prediction.name = name.map(Cow::into_owned);
    }
    Ok(Outputs {
        predictions,
        mistakes,
        calibration: (calibration.compute())
            .ok_or_else(|| Error::Data("there are no test images".to_string()))?,
    })
}
