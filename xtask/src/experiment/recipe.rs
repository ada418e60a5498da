//! The recipe of one variant.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use tallow_train::{LossConfig, OptimizerConfig, ParamRule, ScheduleConfig, TrainConfig};
use tallow_transforms::Transform;

/// All that decides what a run computes, but its seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// What it is trained and tested on.
    pub data: Data,
    /// What is trained.
    pub model: Model,
    /// How.
    pub train: Train,
}

/// The data and what is done to every image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// Name in the catalogue.
    pub dataset: String,
    /// Applied to training and test images alike.
    pub transforms: Vec<Transform>,
    /// Train on so many images, drawn once and for all with each class in its proportion; on all when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_samples: Option<usize>,
    /// Test on so many, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_samples: Option<usize>,
    /// Sort the training images by class: the worst order there is, where `train.shuffle` does not change it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub sort_by_class: bool,
}

/// A model of the zoo.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Its name.
    pub name: String,
    /// Widths of the hidden layers, for models that let one choose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hidden: Option<Vec<usize>>,
    /// The probability with which dropout drops, for models that have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropout: Option<f64>,
    /// Divides the number of maps of every convolution, for models that allow it.
    #[serde(default = "one")]
    pub width_divisor: usize,
    /// A file of weights to begin with: a path, or a name in a folder of weights. Without one, training begins from scratch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<String>,
    /// Begin with a new last layer, whatever the file has for it: for other classes than it was trained on.
    #[serde(default, skip_serializing_if = "is_false")]
    pub new_head: bool,
}

/// How a model is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Train {
    /// Passes over the training images.
    pub epochs: usize,
    /// Optimizer steps after which training ends, if the epochs are not over before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_steps: Option<usize>,
    /// Images a step.
    pub batch_size: usize,
    /// Draw a new order for each epoch.
    #[serde(default = "yes")]
    pub shuffle: bool,
    /// Leave out a last batch that is not full.
    #[serde(default)]
    pub drop_last: bool,
    /// Applied before `data.transforms`, to training images alone.
    #[serde(default)]
    pub augment: Vec<Transform>,
    /// What is minimised.
    #[serde(default)]
    pub loss: LossConfig,
    /// How.
    pub optimizer: OptimizerConfig,
    /// How the learning rate changes.
    #[serde(default)]
    pub schedule: ScheduleConfig,
    /// Names or layers of parameters to leave as they are; `*` stands for any characters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub freeze: Vec<String>,
    /// Another learning rate or weight decay for some parameters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<ParamRule>,
    /// Threads that load batches; results do not depend on it.
    #[serde(default = "one")]
    pub workers: usize,
}

fn yes() -> bool {
    true
}

fn one() -> usize {
    1
}

fn is_false(value: &bool) -> bool {
    !value
}

impl Train {
    /// What the trainer is told.
    pub fn config(&self) -> TrainConfig {
        TrainConfig {
            max_steps: self.max_steps,
            loss: self.loss.clone(),
            schedule: self.schedule.clone(),
            freeze: self.freeze.clone(),
            rules: self.rules.clone(),
            ..TrainConfig::new(self.epochs, self.optimizer.clone())
        }
    }
}

impl Recipe {
    /// Refuses what no run could do.
    pub fn check(&self) -> Result<()> {
        ensure!(self.train.epochs > 0, "train.epochs is 0");
        ensure!(self.train.batch_size > 0, "train.batch_size is 0");
        ensure!(self.train.max_steps != Some(0), "train.max_steps is 0");
        ensure!(
            self.model.weights.is_some() || !self.model.new_head,
            "model.new_head has no meaning without model.weights"
        );
        self.train.optimizer.validate()?;
        self.train.loss.validate()?;
        Ok(())
    }
}
