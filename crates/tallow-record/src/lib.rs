#![doc = include_str!("../README.md")]
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

mod epoch;
mod error;
mod extras;
mod files;
mod find;
mod info;
mod layout;
mod metric;
mod nan;
mod number;
mod profile;
mod results;
mod run;
mod statistic;
mod statistics;
mod summary;
mod sweep;
mod tier;
mod time;
mod variant;

pub use epoch::EpochRow;
pub use error::{Error, Result, error_message};
pub use extras::{
    Calibration, CalibrationBin, Extras, GradientRow, Histogram, Inputs, LayerRow, Picture,
    Prediction,
};
pub use files::{sha256_file, sync_dir, write_atomic, write_json};
pub use find::{find_runs, is_record, runs_of};
pub use info::{Dataset, Environment, EnvironmentFile, Gpu, RunInfo, World};
pub use layout::to_json;
pub use metric::{Better, Format, METRICS, Metric, Varies};
pub use number::{metric_text, number, percent, thousands};
pub use profile::{LayerTime, Profile};
pub use results::{
    ClaimResult, Difference, Published, Results, RunResults, Statement, Variant, Verdict,
};
pub use run::Run;
pub use statistic::Statistic;
pub use statistics::{StatisticsRow, TensorStatistics};
pub use summary::{ClassScore, Summary};
pub use sweep::{SweepParameter, SweepResults, SweepScale, SweepState, SweepTrial};
pub use tier::Tier;
pub use time::{duration, elapsed, start_seconds, started, timestamp};
pub use variant::by_variant;
