#![doc = include_str!("../README.md")]
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

mod accuracy;
mod auroc;
mod calibration;
mod confusion;
mod cross_entropy;
mod error;
mod mean;
mod metric;
mod rows;
mod sum;
mod text;
mod top_k;

pub use accuracy::Accuracy;
pub use auroc::{Auroc, AurocScore};
pub use calibration::{Calibration, CalibrationBin, CalibrationError};
pub use confusion::{Average, ClassScore, ConfusionMatrix, Report};
pub use cross_entropy::CrossEntropy;
pub use error::{Error, Result};
pub use mean::MeanMetric;
pub use metric::Metric;
pub use rows::argmax;
pub use top_k::TopK;
