//! Optional files of a run record: calibration, gradients, inputs, predictions, layers, pictures.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::files::read_json;
use crate::nan;
use crate::run::Run;

/// Norms of the gradients, averaged over consecutive steps: an element of `gradients.json`.
///
/// A norm that is not finite is `null` in the file and NaN here. In comparisons NaN equals NaN.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GradientRow {
    /// Epoch, from 0.
    pub epoch: usize,
    /// Last of the steps within the epoch, from 0.
    pub step: usize,
    /// Number of steps in the mean; `None` in a results file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
    /// Mean L2 norm of the gradient of all parameters together.
    #[serde(deserialize_with = "nan::from_null")]
    pub total: f64,
    /// Mean L2 norm of the gradient of each parameter that has one, in the order of the network.
    #[serde(deserialize_with = "nan::keyed")]
    pub norms: Vec<(String, f64)>,
}

impl PartialEq for GradientRow {
    fn eq(&self, other: &Self) -> bool {
        let same = |(a, b): (&(String, f64), &(String, f64))| a.0 == b.0 && nan::same(a.1, b.1);
        (self.epoch, self.step, self.steps) == (other.epoch, other.step, other.steps)
            && nan::same(self.total, other.total)
            && self.norms.len() == other.norms.len()
            && self.norms.iter().zip(&other.norms).all(same)
    }
}

/// Statistics of the values that the network receives: `inputs.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inputs {
    /// Mean of each channel.
    #[serde(deserialize_with = "nan::list")]
    pub mean: Vec<f64>,
    /// Population standard deviation of each channel.
    #[serde(deserialize_with = "nan::list")]
    pub std: Vec<f64>,
    /// Histogram over all channels.
    pub histogram: Histogram,
}

/// Histogram with bins of equal width.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Histogram {
    /// Lower bound of the first bin.
    pub from: f64,
    /// Upper bound of the last bin.
    pub to: f64,
    /// Number of values in each bin.
    pub counts: Vec<u64>,
}

/// Prediction for one test image: an element of `predictions.json` and of `mistakes.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prediction {
    /// Index of the image in the test data.
    pub index: usize,
    /// Name of the image, such as its file; `None` for data without names and in older records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// True class.
    pub label: usize,
    /// Most probable classes with their probabilities, the most probable first; a probability that is not finite is
    /// `null` in the file and NaN here.
    #[serde(deserialize_with = "nan::keyed")]
    pub top: Vec<(usize, f64)>,
}

impl Prediction {
    /// Predicted class; `None` if there is no probability.
    pub fn class(&self) -> Option<usize> {
        self.top.first().map(|(class, _)| *class)
    }

    /// Probability of the predicted class; 0 if there is none.
    pub fn confidence(&self) -> f64 {
        self.top
            .first()
            .map_or(0.0, |(_, probability)| *probability)
    }
}

/// Calibration of a network: how far its confidence is from its accuracy, as torchmetrics'
/// `multiclass_calibration_error` defines it. Content of `calibration.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Expected calibration error; NaN if it is not finite.
    #[serde(deserialize_with = "nan::from_null")]
    pub error: f64,
    /// Largest difference of confidence and accuracy in any bin; NaN if it is not finite.
    #[serde(deserialize_with = "nan::from_null")]
    pub max_error: f64,
    /// Number of samples.
    pub samples: u64,
    /// Bins, in the order of confidence.
    pub bins: Vec<CalibrationBin>,
}

/// Predictions of similar confidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CalibrationBin {
    /// Least confidence.
    pub lower: f64,
    /// Upper bound of the confidence, exclusive.
    pub upper: f64,
    /// Number of predictions.
    pub count: u64,
    /// Fraction of them that is correct.
    pub accuracy: f64,
    /// Mean confidence; NaN if it is not finite.
    #[serde(deserialize_with = "nan::from_null")]
    pub confidence: f64,
}

/// Layer of a network: an element of `layers.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerRow {
    /// Dotted name, as PyTorch has it.
    pub name: String,
    /// Kind, by its name in PyTorch: `Conv2d`.
    pub kind: String,
    /// Shape of the output for one image: `(C, H, W)` or `(F)`.
    pub output_shape: Vec<usize>,
    /// Number of trainable parameters.
    pub parameters: usize,
    /// Multiply-adds for one image.
    pub multiply_adds: u64,
}

/// Picture of a run record: an element of `pictures.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picture {
    /// Name of the PNG file in the folder of the record.
    pub file: String,
    /// Description, for readers who do not see it.
    pub text: String,
}

impl Picture {
    /// Bytes of the PNG file; `None` if it is missing or its name leads out of the record.
    pub fn read(&self, dir: &Path) -> Result<Option<Vec<u8>>> {
        if self.file.contains(['/', '\\', ':']) {
            return Ok(None);
        }
        let path = dir.join(&self.file);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io(&path)(error)),
        }
    }
}

/// Optional files of a run record; a file that is missing is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Extras {
    /// `calibration.json`
    pub calibration: Option<Calibration>,
    /// `gradients.json`: the first step, then each epoch.
    pub gradients: Option<Vec<GradientRow>>,
    /// `inputs.json`
    pub inputs: Option<Inputs>,
    /// `predictions.json`: some test images, evenly over the classes.
    pub predictions: Option<Vec<Prediction>>,
    /// `mistakes.json`: wrong predictions of the highest confidence.
    pub mistakes: Option<Vec<Prediction>>,
    /// `layers.json`: the layers in the order in which they run.
    pub layers: Option<Vec<LayerRow>>,
    /// `pictures.json`
    pub pictures: Option<Vec<Picture>>,
}

impl Extras {
    /// Reads the optional files of `run`. A file that exists and does not have the expected content is an error.
    pub fn read(run: &Run) -> Result<Self> {
        let dir = &run.dir;
        Ok(Self {
            calibration: optional(dir, "calibration.json")?,
            gradients: optional(dir, "gradients.json")?,
            inputs: optional(dir, "inputs.json")?,
            predictions: optional(dir, "predictions.json")?,
            mistakes: optional(dir, "mistakes.json")?,
            layers: optional(dir, "layers.json")?,
            pictures: optional(dir, "pictures.json")?,
        })
    }
}

fn optional<T: DeserializeOwned>(dir: &Path, name: &str) -> Result<Option<T>> {
    match read_json(&dir.join(name)) {
        Err(Error::Missing { .. }) => Ok(None),
        other => other.map(Some),
    }
}
