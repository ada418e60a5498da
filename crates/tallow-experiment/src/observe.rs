//! Observations recorded besides the accuracy: statistics of the inputs, predictions, mistakes and calibration.

use std::borrow::Cow;
use std::collections::BTreeMap;

use candle_nn::ModuleT;
use tallow_datasets::{DataLoader, Dataset};
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
    /// Predictions for some images, evenly over the classes.
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
    let shown = shown(&**test.dataset())?;
    let mut predictions: Vec<Option<Prediction>> = vec![None; shown.len()];
    let mut mistakes = Vec::new();
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
            if let Some(place) = shown.iter().position(|&shown| shown == index) {
                predictions[place] = Some(prediction.clone());
            }
            if prediction.class() != Some(label) {
                mistakes.push(prediction);
            }
        }
    }
    mistakes
        .sort_by(|a, b| (b.confidence().total_cmp(&a.confidence())).then(a.index.cmp(&b.index)));
    mistakes.truncate(MISTAKES);
    let mut predictions: Vec<Prediction> = predictions.into_iter().flatten().collect();
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

/// Test images whose predictions are recorded: the first image of each class, then the second of each, and so on. Of more classes than
/// images some are taken, evenly from the first to the last. The images of a folder are sorted by class, so that the first ones would all
/// be of one.
fn shown(test: &dyn Dataset) -> Result<Vec<usize>> {
    let mut classes: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for index in 0..test.len() {
        let images = classes.entry(test.label(index)?).or_default();
        if images.len() < PREDICTIONS {
            images.push(index);
        }
    }
    let classes: Vec<Vec<usize>> = classes.into_values().collect();
    let taken = classes.len().min(PREDICTIONS);
    let taken = (0..taken).map(|number| &classes[number * classes.len() / taken]);
    let taken: Vec<&Vec<usize>> = taken.collect();
    let rounds = (0..PREDICTIONS).flat_map(|round| taken.iter().filter_map(move |c| c.get(round)));
    Ok(rounds.copied().take(PREDICTIONS).collect())
}

#[cfg(test)]
mod tests {
    use tallow_datasets::{ImageSet, Split};

    use super::*;

    fn chosen(labels: Vec<u32>) -> Vec<usize> {
        let classes = (0..100).map(|class| class.to_string()).collect();
        let pixels = vec![0; labels.len()];
        let set = ImageSet::from_parts("t", Split::Test, "", classes, (1, 1, 1), pixels, labels);
        shown(&set.unwrap()).unwrap()
    }

    #[test]
    fn shown_images_are_evenly_over_the_classes() {
        // As in a folder, two classes of ten, one of two.
        let sorted = [vec![0; 10], vec![1; 10], vec![2; 2]].concat();
        assert_eq!(chosen(sorted), [0, 10, 20, 1, 11, 21, 2, 12]);
        // Mixed, and fewer images than may be shown.
        assert_eq!(chosen(vec![1, 0, 1, 1]), [1, 0, 2, 3]);
        // A hundred classes of three.
        let many = (0..300).map(|index| index / 3).collect();
        assert_eq!(chosen(many), [0, 36, 75, 111, 150, 186, 225, 261]);
    }
}
