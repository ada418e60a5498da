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
pub use environment::Environment;
pub use error::{Error, Result};
pub use gradient_norms::{GradientNorms, GradientRow};
pub use history::{EpochRow, Evaluation, History};
pub use loss::Loss;
pub use optimizer::{Optimizer, OptimizerConfig, ParamRule};
pub use record::{RunInfo, RunRecord, Summary};
pub use schedule::{Anneal, Curve, Per, Schedule, Warmup};
pub use tensorboard::{EventWriter, Picture, TensorBoard};
pub use trainer::{TrainConfig, Trainer};
