use std::path::{Path, PathBuf};

use candle_core::{DType, Shape};

/// Error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting is out of range or contradicts another.
    #[error("{setting}: {message}")]
    Config {
        /// Name of the setting.
        setting: &'static str,
        /// Value found, and values allowed.
        message: String,
    },
    /// The loss is infinite or NaN; training stopped there.
    #[error(
        "the loss is {loss} in epoch {}, step {}{}: lower the learning rate, or check the input",
        epoch + 1,
        step + 1,
        not_finite(names)
    )]
    NonFiniteLoss {
        /// Epoch, from 0; the message counts from 1, as progress bars do.
        epoch: usize,
        /// Step within the epoch, from 0; the message counts from 1.
        step: usize,
        /// Value of the loss.
        loss: f64,
        /// Names of the parameters that are not finite, and `images` if those are not; empty where it was not looked at.
        names: Vec<String>,
    },
    /// The loss is finite, but not its gradient; training stopped before the optimizer used it.
    #[error(
        "the gradient of {} is not finite in epoch {}, step {}, while the loss is: lower the learning rate, or clip the gradients before \
         they overflow; `skip_non_finite` skips such steps",
        list(names),
        epoch + 1,
        step + 1
    )]
    NonFiniteGradient {
        /// Epoch, from 0; the message counts from 1.
        epoch: usize,
        /// Step within the epoch, from 0; the message counts from 1.
        step: usize,
        /// Names of the parameters.
        names: Vec<String>,
    },
    /// The parameter store is empty, so there is nothing to train.
    #[error(
        "the parameter store is empty: create the parameters of the model with `ParamStore::root`, or, for a model built with \
         `candle_nn::VarBuilder`, make the store with `ParamStore::from_vars` from the variables of its `VarMap`"
    )]
    NoParameters,
    /// No parameter of the store has a gradient.
    #[error(
        "no parameter received a gradient: the model must use the parameters of the store that is passed to the trainer"
    )]
    NoGradients,
    /// Some of the parameters to train have no gradient in the first step.
    #[error(
        "{} received no gradient in the first step, so that training does not change {}: either the loss does not depend on it, or an \
         operator in between has no backward pass (the fused `layer_norm`, `rms_norm` and `softmax_last_dim` of candle-nn have none); \
         use an operator that has one, or name the parameter in `freeze` or `allow_unused`",
        list(names),
        if names.len() == 1 { "it" } else { "them" }
    )]
    NoGradient {
        /// Names of the parameters.
        names: Vec<String>,
    },
    /// The last batch of an epoch has one sample, which the model cannot be trained on.
    #[error(
        "the last batch of an epoch has one sample ({samples} samples in batches of {batch_size}), and the model cannot be trained on \
         one: {source}; {}",
        match batch_size {
            1 => "set `batch_size` to at least 2",
            _ => "set `drop_last` to true, or choose another `batch_size`",
        }
    )]
    LastBatch {
        /// Samples in an epoch.
        samples: usize,
        /// Samples in a batch.
        batch_size: usize,
        /// Error of the model for one sample.
        source: candle_core::Error,
    },
    /// The shape of a gradient differs from that of its parameter.
    #[error("gradient of `{name}`: expected shape {expected:?}, found {found:?}")]
    GradientShape {
        /// Name of the parameter.
        name: String,
        /// Shape of the parameter.
        expected: Shape,
        /// Shape of the gradient.
        found: Shape,
    },
    /// The element type of a gradient differs from that of its parameter.
    #[error("gradient of `{name}`: expected type {expected:?}, found {found:?}")]
    GradientType {
        /// Name of the parameter.
        name: String,
        /// Element type of the parameter.
        expected: DType,
        /// Element type of the gradient.
        found: DType,
    },
    /// The labels of a batch are not `u32`.
    #[error("labels must be u32, found {found:?}")]
    LabelType {
        /// Element type of the labels.
        found: DType,
    },
    /// A label is not below the number of classes of the logits.
    #[error(
        "label {label} of sample {sample} in the batch: expected a label below {classes}, the number of outputs of the model"
    )]
    Label {
        /// The label.
        label: u32,
        /// Position in the batch, from 0.
        sample: usize,
        /// Number of classes.
        classes: usize,
    },
    /// The loss does not support targets of this kind.
    #[error("{loss} does not support {target} as target")]
    Target {
        /// Name of the loss.
        loss: &'static str,
        /// Kind of the target.
        target: &'static str,
    },
    /// A data loader has no batch.
    #[error(
        "the {which} loader has no batch ({samples} samples): add samples, lower `batch_size`, or set `drop_last` to false"
    )]
    EmptyLoader {
        /// `training` or `test`.
        which: &'static str,
        /// Samples in the dataset.
        samples: usize,
    },
    /// A checkpoint, an optimizer state or a run record does not match the current run.
    #[error("{path}: {message}")]
    Mismatch {
        /// Path of the file.
        path: PathBuf,
        /// Expected and found values.
        message: String,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Path of the file or directory.
        path: PathBuf,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// Training on several ranks cannot go on: one of them has ended, does not answer, or differs from the others.
    #[error("{0}")]
    Ranks(String),
    /// NCCL cannot add the gradients on the GPUs of all ranks. They can go through the host.
    #[error("NCCL cannot be used: {0}")]
    NoNccl(String),
    /// A tensor operation of candle failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    /// An operator or the parameter store failed.
    #[error(transparent)]
    Ops(#[from] tallow_ops::Error),
    /// A dataset or its loader failed.
    #[error(transparent)]
    Data(#[from] tallow_datasets::Error),
    /// A metric failed.
    #[error(transparent)]
    Metrics(#[from] tallow_metrics::Error),
    /// An event file could not be written.
    #[error(transparent)]
    Events(#[from] tallow_tensorboard::Error),
    /// A loss, optimizer, callback or training step of the user failed.
    #[error(transparent)]
    Custom(Box<dyn std::error::Error + Send + Sync>),
}

/// Result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Error of a user's own loss, optimizer, callback or training step: from a message or from any error.
    ///
    /// ```
    /// let error = tallow_train::Error::custom("the teacher has other classes");
    /// assert_eq!(error.to_string(), "the teacher has other classes");
    /// ```
    pub fn custom(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Error::Custom(error.into())
    }

    pub(crate) fn config(setting: &'static str, message: impl Into<String>) -> Self {
        Error::Config {
            setting,
            message: message.into(),
        }
    }

    pub(crate) fn mismatch(path: &Path, message: impl std::fmt::Display) -> Self {
        Error::Mismatch {
            path: path.to_path_buf(),
            message: message.to_string(),
        }
    }

    /// For `map_err`: an error about a file of the checkpoint in `dir`, with the remedy.
    pub(crate) fn in_checkpoint(dir: &Path) -> impl Fn(Self) -> Self {
        let dir = dir.to_path_buf();
        move |error| {
            let (path, message) = match error {
                Error::Mismatch { path, message } => (path, message),
                Error::Io { path, source } => (path, source.to_string()),
                Error::Ops(tallow_ops::Error::Weights { path, message }) => (path, message),
                Error::Ops(tallow_ops::Error::Io { path, source }) => (path, source.to_string()),
                other => return other,
            };
            let message = format!(
                "{message}; if the file is damaged, delete the folder {}: the run continues from the checkpoint before it, or starts \
                 again if there is none",
                dir.display()
            );
            Error::Mismatch { path, message }
        }
    }

    /// For `map_err`: error of the operating system about `path`.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Error::Io { path, source }
    }
}

/// Clause on what is not finite; empty for nothing.
fn not_finite(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [name] => format!("; `{name}` is not finite"),
        names => format!("; {} are not finite", list(names)),
    }
}

/// Names in backticks, at most five of them.
fn list(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().take(5).map(|n| format!("`{n}`")).collect();
    match names.len() - quoted.len() {
        0 => quoted.join(", "),
        more => format!("{} and {more} more", quoted.join(", ")),
    }
}

/// Checks that a setting is finite and at least 0.
pub(crate) fn not_negative(setting: &'static str, value: f64) -> Result<()> {
    if value.is_finite() && value >= 0.0 {
        return Ok(());
    }
    Err(Error::config(
        setting,
        format!("{value} is not a finite number of at least 0"),
    ))
}
