#![doc = include_str!("../README.md")]
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

mod accuracy;
mod auroc;
mod calibration;
mod confusion;
mod error;
mod mean;
mod rows;
mod sum;
mod text;

pub use accuracy::{Accuracy, TopK};
pub use auroc::{Auroc, AurocScore};
pub use calibration::{Calibration, CalibrationBin, CalibrationError};
pub use confusion::{Average, ClassScore, ConfusionMatrix, Report};
pub use error::{Error, Result};
pub use mean::{CrossEntropy, MeanMetric};
pub use rows::argmax;
