#![doc = include_str!("../README.md")]
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

pub mod charts;
mod error;
mod extras;
pub mod html;
mod layout;
pub mod results;
mod run;
mod statistic;
mod variant;

pub use error::{Error, Result};
pub use extras::{Calibration, CalibrationBin, Extras, GradientNorms, Layer, Picture};
pub use layout::write_json;
pub use results::Results;
pub use run::{ClassScore, Dataset, Environment, Epoch, Run, RunInfo, Summary, read_experiment};
pub use statistic::Statistic;
pub use variant::{Variant, by_variant};
