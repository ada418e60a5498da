//! Names of daily use: `use tallow::prelude::*`.

#[cfg(feature = "pictures")]
pub use tallow_datasets::ImageFolder;
pub use tallow_datasets::{
    Batch, DataLoader, Dataset, DatasetInfo, ImageRef, ImageSet, LoadOptions, LoaderConfig,
    Sampler, Split, Subset, load, stratified_split,
};
#[cfg(feature = "experiment")]
pub use tallow_experiment::{Experiment, NoProgress, Predictor, Recipe, Runner, RunnerOptions};
pub use tallow_metrics::{Accuracy, Metric, TopK};
pub use tallow_models::{LoadWeights, Model, ModelConfig, Module, Registry, nn};
pub use tallow_ops::{Init, ParamPath, ParamStore, Tape, no_grad};
pub use tallow_train::{
    BatchEnd, BeforeStep, CONTINUE, Callback, CrossEntropy, EarlyStopping, EpochEnd, FitStart,
    Flow, History, KeepBest, LogProgress, Loss, LossConfig, Monitor, Optimizer, OptimizerConfig,
    ParamRule, RunRecord, Schedule, ScheduleConfig, StepInput, StepOutput, Target, TensorBoard,
    TrainConfig, TrainStep, Trainer,
};
pub use tallow_transforms::{
    Compose, Image, Problem, SampleRng, ToTensor, Transform, TransformConfig,
};
