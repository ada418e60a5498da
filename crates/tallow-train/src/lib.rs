#![doc = include_str!("../README.md")]
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

mod callback;
mod checkpoint;
mod environment;
mod error;
mod files;
mod freeze;
mod gradient_norms;
mod history;
mod loss;
mod optimizer;
mod record;
mod schedule;
mod tally;
mod tensorboard;
mod trainer;

pub use callback::{
    BatchEnd, BeforeStep, CONTINUE, Callback, EarlyStopping, EpochEnd, FitStart, Flow, KeepBest,
    LogProgress, Monitor,
};
pub use environment::capture_environment;
pub use error::{Error, Result};
pub use gradient_norms::GradientNorms;
pub use history::{Evaluation, History};
pub use loss::Loss;
pub use optimizer::{Optimizer, OptimizerConfig, ParamRule};
pub use record::{RunRecord, dataset_record};
pub use schedule::{Anneal, Curve, Per, Schedule, Warmup};
pub use tallow_record::{ClassScore, Environment, EpochRow, GradientRow, RunInfo, Summary};
pub use tensorboard::{EventWriter, Picture, TensorBoard};
pub use trainer::{TrainConfig, Trainer};
