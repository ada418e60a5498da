#![doc = include_str!("../README.md")]
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

mod averages;
mod batch;
mod batch_parts;
mod best_weights;
mod callback;
mod checkpoint;
mod chunks;
mod clip;
mod config;
mod copies;
mod device_tally;
mod differences;
mod elements;
mod environment;
mod error;
mod evaluate;
mod files;
mod fingerprint;
mod finite;
mod freeze;
mod gradient_norms;
mod gradient_statistics;
mod graph;
mod grid;
mod history;
mod input;
mod last_batch;
mod lockstep;
mod loss;
mod lr_finder;
mod mix;
mod norm_statistics;
mod optimizer;
mod parts;
mod position;
mod ranks;
mod record;
mod sam;
mod schedule;
mod snapshot;
mod statistics;
mod step;
mod stopwatch;
mod stream;
mod sums;
mod tally;
mod teacher;
mod tensorboard;
mod trainer;
mod tta;
mod unset;
mod unused;
mod warnings;

pub use averages::{AverageBuffers, EmaConfig, EmaWarmup, SwaConfig};
pub use callback::{
    BatchEnd, BeforeStep, CONTINUE, Callback, EarlyStopping, EpochEnd, FitStart, Flow, KeepBest,
    LogProgress, Monitor,
};
pub use checkpoint::{CheckpointConfig, newest_checkpoint};
pub use chunks::Chunks;
pub use clip::Clip;
pub use config::TrainConfig;
pub use environment::capture_environment;
pub use error::{Error, Result};
pub use freeze::Unfreeze;
pub use gradient_norms::GradientNorms;
pub use gradient_statistics::GradientStatistics;
pub use grid::make_grid;
pub use history::{Evaluation, History};
pub use last_batch::{check_chunks, check_last_batch};
pub use loss::{
    BinaryCrossEntropy, ClassWeights, CrossEntropy, Distillation, Focal, Loss, LossConfig,
    SigmoidFocal, SoftmaxCrossEntropy, SquaredError, Target,
};
pub use lr_finder::{LrFinder, LrPoint, LrRange};
pub use mix::{MixConfig, Mixing};
pub use norm_statistics::NormStatistics;
pub use optimizer::{
    AdamConfig, AdamWConfig, AdjustLr, LambConfig, LarsConfig, LionConfig, Lookahead,
    LookaheadConfig, MuonConfig, NAdamConfig, Optimizer, OptimizerConfig, ParamRule, RAdamConfig,
    RmsPropConfig, SgdConfig,
};
pub use parts::PartState;
pub use ranks::{Alone, BUCKET_BYTES, Communicator, DeviceSum, DeviceSums, Threads, check_same};
#[cfg(feature = "cuda")]
pub use ranks::{Nccl, WithNccl, cuda_device_count};
pub use record::{RunRecord, dataset_record, experiment_folder};
pub use sam::{Sam, SamConfig};
pub use schedule::{
    Anneal, Curve, OneCycle, Per, Plateau, Schedule, ScheduleConfig, ThresholdMode, Warmup,
    WarmupKind,
};
pub use statistics::update_batch_norm;
pub use step::{StepInput, StepOutput, TrainStep};
pub use tallow_record::{
    ClassScore, Environment, EpochRow, GradientRow, Profile, RunInfo, StatisticsRow, Summary,
    TensorStatistics,
};
pub use tallow_tensorboard::{EventWriter, Image};
pub use tensorboard::TensorBoard;
pub use trainer::{ForwardBackward, Trainer};
pub use tta::{Tta, WithTta};
