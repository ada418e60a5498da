use std::path::PathBuf;

use crate::weights::error::WeightsProblem;

/// Error of building, loading or running a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The registry has no model of this name.
    #[error("there is no model `{name}`{}; the models are {}", suggestion(nearest), known.join(", "))]
    UnknownModel {
        /// Name asked for.
        name: String,
        /// Closest name in the registry, if one is close.
        nearest: Option<String>,
        /// All names in the registry.
        known: Vec<String>,
    },
    /// The registry cannot take a model under this name.
    #[error("cannot register a model as `{name}`: {message}")]
    Register {
        /// Name asked for.
        name: String,
        /// Reason.
        message: String,
    },
    /// Error of one model, with its name.
    #[error("{model}: {problem}")]
    Model {
        /// Name of the model.
        model: String,
        /// Error without the name.
        problem: Box<Error>,
    },
    /// Configuration that the model does not accept.
    #[error("{message}")]
    Config {
        /// Setting, value found and value expected.
        message: String,
    },
    /// Settings or input shape that a layer does not accept.
    #[error("{kind} `{layer}`: {message}")]
    Layer {
        /// Dotted name of the layer.
        layer: String,
        /// PyTorch's name of the kind of layer.
        kind: &'static str,
        /// Expected and found.
        message: String,
    },
    /// Images from which nothing is left after some convolution or pooling.
    #[error(
        "images of {} x {} are too small: {kind} `{layer}` has no output for a map of {} x {}{}",
        input.0, input.1, map.0, map.1, required(*least)
    )]
    TooSmall {
        /// Height and width of the images.
        input: (usize, usize),
        /// Dotted name of the first layer without output.
        layer: String,
        /// PyTorch's name of the kind of layer.
        kind: &'static str,
        /// Height and width of its input.
        map: (usize, usize),
        /// Smallest height and width for which every layer has an output, if it could be computed.
        least: Option<usize>,
    },
    /// Input that the model does not accept.
    #[error("{model}: takes {expected}, got {found}")]
    Input {
        /// Name of the model.
        model: String,
        /// Input that the model takes.
        expected: String,
        /// Input found.
        found: String,
    },
    /// Layer of a state dict that cannot be converted.
    #[error("`{layer}`: {message}")]
    State {
        /// Dotted name of the layer.
        layer: String,
        /// Expected and found.
        message: String,
    },
    /// Layer without a feature map, or no layer of this name.
    #[error(
        "{model}: {problem}{}; the layers with a feature map are {}",
        suggestion(nearest),
        listed(maps)
    )]
    NoMap {
        /// Name of the model.
        model: String,
        /// Reason.
        problem: String,
        /// Closest name of a layer with a feature map, if one is close.
        nearest: Option<String>,
        /// Layers with a feature map.
        maps: Vec<String>,
    },
    /// File of weights that cannot be read or does not fit the model.
    #[error("{}: {problem}", path.display())]
    Weights {
        /// Path of the file.
        path: PathBuf,
        /// Expected and found.
        problem: WeightsProblem,
    },
    /// Error of writing an ONNX file.
    #[error(transparent)]
    Onnx(#[from] tallow_onnx::Error),
    /// Error of an operator or of the parameter store.
    #[error(transparent)]
    Ops(#[from] tallow_ops::Error),
    /// Error of candle.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// Result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The error with the name of the model it belongs to.
    pub(crate) fn of_model(self, model: &str) -> Self {
        Self::Model {
            model: model.into(),
            problem: Box::new(self),
        }
    }

    /// Error of a layer's settings or input shape.
    pub(crate) fn layer(layer: &str, kind: &'static str, message: String) -> Self {
        Self::Layer {
            layer: layer.into(),
            kind,
            message,
        }
    }
}

impl From<Error> for candle_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Candle(inner) => inner,
            Error::Ops(inner) => inner.into(),
            other => candle_core::Error::wrap(other),
        }
    }
}

fn suggestion(nearest: &Option<String>) -> String {
    nearest
        .as_ref()
        .map(|name| format!(" (did you mean `{name}`?)"))
        .unwrap_or_default()
}

fn required(least: Option<usize>) -> String {
    least
        .map(|side| format!("; the network needs {side} x {side}"))
        .unwrap_or_default()
}

fn listed(names: &[String]) -> String {
    match names {
        [] => "none".into(),
        names => names.join(", "),
    }
}
