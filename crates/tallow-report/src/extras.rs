//! What a run record may hold beside its core: files that not every run has.

use std::fs;
use std::io::ErrorKind;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::results::{Inputs, Prediction};
use crate::run::io;
use crate::{Error, Result, Run};

/// How far a network's confidence is from its accuracy, as torchmetrics' `multiclass_calibration_error` has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// The expected calibration error; `None` when it was not finite.
    pub error: Option<f64>,
    /// In order of confidence.
    pub bins: Vec<CalibrationBin>,
}

/// Predictions of about one confidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CalibrationBin {
    /// The least confidence.
    pub lower: f64,
    /// The bound above.
    pub upper: f64,
    /// How many.
    pub count: u64,
    /// The share that is right.
    pub accuracy: f64,
    /// Their mean confidence.
    pub confidence: f64,
}

/// Norms of the gradients at some moment of training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GradientNorms {
    /// From 0.
    pub epoch: usize,
    /// The last of the steps averaged over.
    pub step: usize,
    /// Of all parameters together.
    pub total: Option<f64>,
    /// Of each, in the network's order.
    pub norms: Vec<(String, Option<f64>)>,
}

/// A layer of the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    /// Its dotted name.
    pub name: String,
    /// PyTorch's name for this kind.
    pub kind: String,
    /// `(C, H, W)` or `(F)`.
    pub output_shape: Vec<usize>,
    /// Trained values.
    pub parameters: usize,
    /// For one image.
    pub multiply_adds: u64,
}

/// A picture of a run record.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// What it shows, for those who do not see it.
    pub text: String,
    /// The PNG file.
    pub png: Vec<u8>,
}

/// What else a run's folder holds; what is not there is `None` or empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Extras {
    /// `calibration.json`
    pub calibration: Option<Calibration>,
    /// `gradients.json`
    pub gradients: Option<Vec<GradientNorms>>,
    /// `inputs.json`
    pub inputs: Option<Inputs>,
    /// `mistakes.json`
    pub mistakes: Option<Vec<Prediction>>,
    /// `layers.json`
    pub layers: Option<Vec<Layer>>,
    /// `pictures.json`, which names the PNG files and says what they show.
    pub pictures: Vec<Picture>,
}

/// An entry of `pictures.json`.
#[derive(Deserialize)]
struct Entry {
    file: String,
    text: String,
}

impl Extras {
    /// Reads them. A file that is there and cannot be read is an error.
    pub fn read(run: &Run) -> Result<Self> {
        let mut pictures = Vec::new();
        for entry in json::<Vec<Entry>>(run, "pictures.json")?.unwrap_or_default() {
            // Only files of the record itself.
            if entry.file.contains(['/', '\\']) {
                continue;
            }
            if let Some(png) = bytes(run, &entry.file)? {
                let text = entry.text;
                pictures.push(Picture { text, png });
            }
        }
        Ok(Self {
            calibration: json(run, "calibration.json")?,
            gradients: json(run, "gradients.json")?,
            inputs: json(run, "inputs.json")?,
            mistakes: json(run, "mistakes.json")?,
            layers: json(run, "layers.json")?,
            pictures,
        })
    }
}

fn bytes(run: &Run, name: &str) -> Result<Option<Vec<u8>>> {
    let path = run.dir.join(name);
    match fs::read(&path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io(&path)(error)),
    }
}

fn json<T: DeserializeOwned>(run: &Run, name: &str) -> Result<Option<T>> {
    let Some(bytes) = bytes(run, name)? else {
        return Ok(None);
    };
    let value = serde_json::from_slice(&bytes).map_err(|error| Error::Json {
        path: run.dir.join(name),
        line: error.line(),
        message: error.to_string(),
    })?;
    Ok(Some(value))
}
