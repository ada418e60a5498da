//! Line of predictions.

use serde::Serialize;
use tallow_experiment::predictor::ClassProbability;

/// Prediction of an image, and line of the output of `--json`.
#[derive(Serialize)]
pub(super) struct Line {
    /// Path of the image as text.
    pub image: String,
    /// Bytes of the path in base64, if it is no Unicode and the text has replacement characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_base64: Option<String>,
    /// The most probable class.
    pub class: String,
    /// Its probability by the network.
    pub probability: f64,
    /// The most probable first.
    pub top: Vec<ClassProbability>,
    /// Preparation of the image, in order.
    pub preparation: Vec<String>,
    /// File of the heat map.
    pub explanation: Option<String>,
    pub model: String,
    pub weights: String,
    pub dataset: String,
}
