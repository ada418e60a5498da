//! Recipe of one variant.

mod streaming;
mod transforms;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tallow_datasets::{PictureOptions, own_path};
use tallow_ops::Precision;
use tallow_train::{
    Clip, EmaConfig, LookaheadConfig, LossConfig, MixConfig, Monitor, NormStatistics,
    OptimizerConfig, ParamRule, SamConfig, ScheduleConfig, SwaConfig, TrainConfig, Tta, Unfreeze,
};
use tallow_transforms::TransformConfig;

use crate::error::{Error, Result};
use crate::monitoring::{Checkpoint, Stopping, Validation, check_monitor, chosen_on_test};
use crate::unset::is_default;

/// Recipe: everything that determines the result of a run except its seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Training and test data.
    pub data: Data,
    /// Model and its initial weights.
    pub model: Model,
    /// Training.
    pub train: Train,
}

/// Dataset and the transforms of every image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// Name in the catalogue of datasets, or `folder:PATH`, `csv:PATH`, `npz:PATH` or `parquet:PATH`, relative to the current directory.
    #[schemars(example = &"cifar10")]
    pub dataset: String,
    /// Transforms of training and test images. With `model.pretrained` the default is the preparation of those weights.
    #[serde(default)]
    pub transforms: Vec<TransformConfig>,
    /// Transforms of training images alone, in place of `train.augment` and `transforms`. They give the shape that those of testing give.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub train_transforms: Vec<TransformConfig>,
    /// Transforms of validation and test images and of prediction, in place of `transforms`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub test_transforms: Vec<TransformConfig>,
    /// Size of a stratified subset of the training images; default: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = 10_000)]
    pub train_samples: Option<usize>,
    /// Size of a stratified subset of the test images; default: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = 1_000)]
    pub test_samples: Option<usize>,
    /// Validation data: a share (`0.1`) or a number of the training images, a stratified split that is the same for all seeds and
    /// variants. Default: the validation split of a dataset of one's own (`val` beside `train` and `test`), or none. With validation data the
    /// test data is evaluated once, at the end of training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = 0.1)]
    pub validation: Option<Validation>,
    /// Test data: a share (`0.2`) or a number of the training images, a stratified split that is the same for all seeds and variants, for
    /// a dataset without a test split. Default: the dataset's test split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<Validation>,
    /// Sort the training images by class, the worst order unless `train.shuffle` changes it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sort_by_class: bool,
    /// Decoding of the pictures of a folder: `exif`, `alpha` and `max_pixels`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pictures: PictureOptions,
    /// Reading of `parquet:PATH`: `true` streams the pictures and shuffles them in windows, `false` holds them in memory as they are stored and
    /// shuffles all of them. Default: `true` for a split whose pictures take more than 1 GiB. The pictures of folders and lists are read one by
    /// one, whatever their number, and all are shuffled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = true)]
    pub streaming: Option<bool>,
    /// MiB of pictures of `parquet:PATH` that are shuffled together when they are streamed; twice as many are in memory. Default: 64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = 256)]
    pub shuffle_window: Option<usize>,
}

/// Whether a dataset is one of the user's own, by its name: such a dataset may have a validation split.
pub(crate) fn is_own(dataset: &str) -> bool {
    own_path(dataset).is_some()
}

/// Model by name, its settings and its initial weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Name in the registry.
    #[schemars(example = &"resnet18")]
    pub name: String,
    /// Widths of the hidden layers, for models with a free choice of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [[512, 256]]))]
    pub hidden: Option<Vec<usize>>,
    /// Dropout probability in `[0, 1)`, for models with dropout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = 0.2)]
    pub dropout: Option<f64>,
    /// Probability of stochastic depth in the last block, in `[0, 1]`, for models with stochastic depth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = 0.1)]
    pub stochastic_depth: Option<f64>,
    /// Divisor of the number of channels of every convolution, for models that support it.
    #[serde(default = "one")]
    pub width_divisor: usize,
    /// File of initial weights: a path, a name in a folder of weights, or `hf:owner/name/file`. Default: random initialisation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"resnet18.pth")]
    pub weights: Option<String>,
    /// Published weights of the model by name: `resnet18`, for example. Downloaded from the Hugging Face hub at the first time, unless
    /// `weights` names a file to take in their place. The last layer is new when the classes are not the published 1,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"resnet18")]
    pub pretrained: Option<String>,
    /// Number of training images, the first ones after the transforms of testing, from whose patches the weights of the model's
    /// whitening layer are computed, for models that begin with one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = 5_000)]
    pub whiten: Option<usize>,
    /// Set of weights in `weights`, if the file has several: key of a state dict, such as `state_dict_ema`, or prefix of its names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"state_dict_ema")]
    pub weights_key: Option<String>,
    /// Initialise the last layer at random instead of from `weights`: for other classes than those of the file.
    #[serde(default, skip_serializing_if = "is_default")]
    pub new_head: bool,
}

/// Hyper-parameters of training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Train {
    /// Passes over the training images.
    #[schemars(example = 10)]
    pub epochs: usize,
    /// Optimizer steps after which training ends, if the epochs do not end before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = 5_000)]
    pub max_steps: Option<usize>,
    /// Minutes after which training ends, if the epochs do not end before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = 10.0)]
    pub max_minutes: Option<f64>,
    /// Metric of an epoch by which epochs are compared: `validation_accuracy`, `validation_loss`, `train_loss`, and without validation
    /// `test_accuracy`, `test_loss`. Default: `validation_accuracy`, or `test_accuracy` without validation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitor: Option<Monitor>,
    /// Early stopping; default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub early_stopping: Option<Stopping>,
    /// End with the weights of the best epoch by `monitor`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub restore_best: bool,
    /// Checkpoints; default: one a minute, removed when the run has finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Checkpoint>,
    /// Images per step.
    #[schemars(example = 128)]
    pub batch_size: usize,
    /// Shuffle the training images anew in each epoch.
    #[serde(default = "yes")]
    pub shuffle: bool,
    /// Drop the last batch of an epoch if it is not full.
    #[serde(default)]
    pub drop_last: bool,
    /// Augmentation: transforms of training images alone, applied before `data.transforms`.
    #[serde(default)]
    pub augment: Vec<TransformConfig>,
    /// Loss to minimize.
    #[serde(default)]
    pub loss: LossConfig,
    /// Optimizer.
    pub optimizer: OptimizerConfig,
    /// Learning-rate schedule.
    #[serde(default)]
    pub schedule: ScheduleConfig,
    /// Parameters to keep fixed, by name or layer; `*` matches any characters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("examples" = [["conv1", "layer1"]]))]
    pub freeze: Vec<String>,
    /// Frozen parameters that are trained from some epoch on, as `[{ epoch = 2, params = ["layer4"] }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unfreeze: Vec<Unfreeze>,
    /// Parameters that may be without a gradient, by name or layer as in `freeze`; any other is an error in the first step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("examples" = [["aux"]]))]
    pub allow_unused: Vec<String>,
    /// Other learning rates or weight decays for some parameters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<ParamRule>,
    /// Mixup and CutMix of training batches: `{ mixup_alpha, cutmix_alpha, probability, switch_probability }`; default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mix: Option<MixConfig>,
    /// Gradient clipping: `{ norm = 1.0 }`, `{ value = 0.5 }` or `{ adaptive = 0.01 }`; default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip: Option<Clip>,
    /// Chunks into which each batch is cut, one after another: gradient accumulation.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    #[schemars(extend("default" = 1))]
    #[schemars(example = 4)]
    pub chunks: usize,
    /// Statistics of batch norm in a step in chunks. Each chunk is normalized by itself, and the running statistics are those of the first chunk,
    /// or their mean over the chunks; with `"sync"` all are those of the whole batch.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(extend("default" = "first"))]
    pub norm_statistics: NormStatistics,
    /// Sharpness-aware minimization: `{ rho, adaptive }`; default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sam: Option<SamConfig>,
    /// Exponential moving average of the weights, which is evaluated and saved: `{ decay, warmup, after, every, buffers }`; default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ema: Option<EmaConfig>,
    /// Stochastic weight averaging: `{ start, lr, anneal_epochs, anneal }`; default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swa: Option<SwaConfig>,
    /// Steps in a row that are skipped where the loss or a gradient is not finite; the default of 0 ends the run at the first one.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(example = 3)]
    pub skip_non_finite: usize,
    /// Epochs between two evaluations on the validation or test data; the last epoch is always evaluated. An epoch without evaluation does not
    /// count for early stopping and for `reduce-on-plateau`.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    #[schemars(extend("default" = 1))]
    #[schemars(example = 5)]
    pub evaluate_every: usize,
    /// Test-time augmentation in evaluation and prediction: `"flip"` or `"six-view"`; default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tta: Option<Tta>,
    /// Precision of convolutions and linear layers: `"tf32"` and `"bf16"` need a CUDA device with cuDNN. Parameters and their gradients are in
    /// `f32` in all.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(with = "String", extend("enum" = ["f32", "tf32", "bf16"], "default" = "f32"))]
    pub precision: Precision,
    /// Repeat forward and backward pass of a step as a CUDA graph, on a CUDA device: the same weights, in less time for small networks. Without
    /// effect on other devices, with `chunks`, `sam` and on several processes.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cuda_graph: bool,
    /// Weight decay of norms and biases too: of parameters of at most one dimension and those named `bias`.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    #[schemars(extend("default" = true))]
    pub decay_norm_and_bias: bool,
    /// Layer-wise decay of the learning rate in `(0, 1]`, as timm's `layer_decay`: a parameter has the factor `layer_decay^(D - d)`, where `d` is
    /// the depth of its block and `D` that of the last layer. It multiplies the factors of `rules`. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = 0.75)]
    pub layer_decay: Option<f64>,
    /// Lookahead around the optimizer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lookahead: Option<LookaheadConfig>,
    /// Threads that load batches. Results do not depend on it.
    #[serde(default = "one")]
    #[schemars(example = 4)]
    pub workers: usize,
}

fn yes() -> bool {
    true
}

fn one() -> usize {
    1
}

fn is_one(value: &usize) -> bool {
    *value == 1
}

fn is_true(value: &bool) -> bool {
    *value
}

impl Train {
    /// Configuration of the trainer.
    pub fn config(&self) -> TrainConfig {
        TrainConfig {
            max_steps: self.max_steps,
            max_minutes: self.max_minutes,
            loss: self.loss.clone(),
            schedule: self.schedule.clone(),
            freeze: self.freeze.clone(),
            unfreeze: self.unfreeze.clone(),
            allow_unused: self.allow_unused.clone(),
            rules: self.rules.clone(),
            mix: self.mix.clone(),
            clip: self.clip,
            chunks: self.chunks,
            norm_statistics: self.norm_statistics,
            sam: self.sam.clone(),
            ema: self.ema.clone(),
            swa: self.swa.clone(),
            skip_non_finite: self.skip_non_finite,
            evaluate_every: self.evaluate_every,
            tta: self.tta,
            precision: self.precision,
            cuda_graph: self.cuda_graph,
            decay_norm_and_bias: self.decay_norm_and_bias,
            lookahead: self.lookahead,
            ..TrainConfig::new(self.epochs, self.optimizer.clone())
        }
    }
}

impl Recipe {
    /// Validates the recipe. Fails for values that no run can have.
    pub fn check(&self) -> Result<()> {
        let refuse = |message: &str| Err(Error::Recipe(message.to_string()));
        if self.train.epochs == 0 {
            return refuse("train.epochs is 0");
        }
        if self.train.batch_size == 0 {
            return refuse("train.batch_size is 0");
        }
        if self.train.max_steps == Some(0) {
            return refuse("train.max_steps is 0");
        }
        if self.model.new_head && self.model.weights.is_none() && self.model.pretrained.is_none() {
            return refuse("model.new_head has no meaning without model.weights");
        }
        let outside =
            |key: &str, value: Option<f64>, range: &str, inside: fn(f64) -> bool| match value {
                Some(value) if !inside(value) => Err(Error::Recipe(format!(
                    "model.{key} is {value}: expected a number in {range}"
                ))),
                _ => Ok(()),
            };
        let model = &self.model;
        outside("dropout", model.dropout, "[0, 1)", |value| {
            (0.0..1.0).contains(&value)
        })?;
        outside(
            "stochastic_depth",
            model.stochastic_depth,
            "[0, 1]",
            |value| (0.0..=1.0).contains(&value),
        )?;
        if self.model.whiten == Some(0) {
            return refuse("model.whiten is 0: expected a number of training images");
        }
        if self.model.whiten.is_some() && self.model.weights.is_some() {
            return refuse(
                "model.whiten has no meaning with model.weights, which has the whitened layer",
            );
        }
        if self.model.weights_key.is_some() && self.model.weights.is_none() {
            return refuse("model.weights_key has no meaning without model.weights");
        }
        if self.train.unfreeze.iter().any(|entry| entry.epoch == 0) {
            return refuse(
                "train.unfreeze has epoch 0, the beginning: leave its parameters out of train.freeze instead",
            );
        }
        self.check_transforms()?;
        self.data.check_streaming()?;
        self.check_monitoring()?;
        self.train.optimizer.validate()?;
        if let Some(decay) = self.train.layer_decay
            && !(decay > 0.0 && decay <= 1.0)
        {
            return Err(Error::Recipe(format!(
                "train.layer_decay is {decay}: expected a number in (0, 1], such as 0.75"
            )));
        }
        if let Some(lookahead) = &self.train.lookahead {
            lookahead.validate()?;
        }
        self.train.loss.validate()?;
        self.train.config().validate_batch_settings()?;
        Ok(())
    }

    /// Metric by which epochs are compared: `train.monitor`; by default the accuracy on the validation data if the run is `validated`, or else
    /// on the test data.
    pub fn monitor(&self, validated: bool) -> Monitor {
        let default = match validated {
            true => Monitor::ValidationAccuracy,
            false => Monitor::TestAccuracy,
        };
        self.train.monitor.unwrap_or(default)
    }

    /// Settings that choose an epoch by the test data, one sentence each.
    pub(crate) fn chosen_on_test(&self, validated: bool) -> Vec<String> {
        let monitor = self.monitor(validated);
        let on_test = |key, monitor| chosen_on_test(key, "the epoch", monitor);
        let stopping = (self.train.early_stopping.as_ref())
            .and_then(|s| on_test("train.early_stopping", s.monitor.unwrap_or(monitor)));
        let best = (self.train.restore_best)
            .then(|| on_test("train.restore_best", monitor))
            .flatten();
        stopping.into_iter().chain(best).collect()
    }

    /// Whether a run has validation data; `None` where the folder of the data tells.
    pub(crate) fn has_validation(&self) -> Option<bool> {
        match (&self.data.validation, is_own(&self.data.dataset)) {
            (Some(_), _) => Some(true),
            (None, true) => None,
            (None, false) => Some(false),
        }
    }

    /// Checks the metrics by which epochs are compared, in a run with or without validation data, or where that is not known yet.
    pub(crate) fn check_monitors(&self, validated: Option<bool>) -> Result<()> {
        if let Some(monitor) = self.train.monitor {
            check_monitor("train.monitor", monitor, validated)?;
        }
        if let Some(stopping) = &self.train.early_stopping {
            stopping.check(self.monitor(validated == Some(true)), validated)?;
        }
        Ok(())
    }

    /// Checks validation, early stopping and checkpoints.
    fn check_monitoring(&self) -> Result<()> {
        let train = &self.train;
        if let Some(test) = &self.data.test {
            test.check("data.test")?;
        }
        if let Some(validation) = &self.data.validation {
            validation.check("data.validation")?;
        }
        self.check_monitors(self.has_validation())?;
        if let Some(checkpoint) = &train.checkpoint {
            checkpoint.config().validate()?;
        }
        match train.max_minutes {
            Some(minutes) if !(minutes.is_finite() && minutes > 0.0) => Err(Error::Recipe(
                format!("train.max_minutes is {minutes}: expected a finite number above 0"),
            )),
            _ => Ok(()),
        }
    }

    /// Recipe of JSON. Errors name the key and what was expected.
    ///
    /// Every program that calls a deserializer of `Recipe` itself compiles all of its types once more, which takes a minute.
    pub fn from_json(recipe: &serde_json::Value) -> Result<Self> {
        Ok(Self::deserialize(recipe)?)
    }

    /// Recipe as JSON with every default filled in or left out as this version does it.
    ///
    /// Recipes written by different versions compare equal after it where they mean the same. A recipe that this version cannot
    /// read is an error.
    pub fn normalize(recipe: &serde_json::Value) -> Result<serde_json::Value> {
        Ok(serde_json::to_value(Self::from_json(recipe)?)?)
    }
}

#[cfg(test)]
mod monitoring_tests;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_at_their_default_are_no_difference() {
        let short = serde_json::json!({
            "data": { "dataset": "mnist", "transforms": [{ "name": "to-tensor" }] },
            "model": { "name": "mlp" },
            "train": { "epochs": 1, "batch_size": 8, "optimizer": { "name": "sgd", "lr": 0.1 } },
        });
        let mut long = short.clone();
        long["data"]["sort_by_class"] = false.into();
        long["model"]["width_divisor"] = 1.into();
        long["train"]["shuffle"] = true.into();
        long["data"]["pictures"] = serde_json::json!({ "exif": true, "alpha": "drop" });
        assert_ne!(short, long);
        let normal = |value: &serde_json::Value| Recipe::normalize(value).unwrap();
        assert_eq!(normal(&short), normal(&long));
        long["train"]["shuffle"] = false.into();
        assert_ne!(normal(&short), normal(&long));
        let unset = [
            "allow_unused",
            "class_weights",
            "validation",
            "\"test\"",
            "max_minutes",
            "monitor",
            "early_stopping",
            "restore_best",
            "checkpoint",
            "decay_norm_and_bias",
            "layer_decay",
            "lookahead",
            "amsgrad",
        ];
        for key in unset {
            assert!(!normal(&short).to_string().contains(key), "{key}");
        }
        long["train"]["sufle"] = false.into();
        assert!(Recipe::normalize(&long).is_err());
    }

    /// Settings in the page about optimizers, and every name of its table.
    #[test]
    fn optimizers_of_the_docs_are_read() {
        let page = include_str!("../../../docs/optimizers.md");
        let blocks = page.split("```toml\n").skip(1);
        let mut texts: Vec<String> = blocks
            .map(|rest| rest.split("```").next().unwrap().to_string())
            .collect();
        assert_eq!(texts.len(), 5);
        let names = page
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
            .filter(|(_, rest)| rest.contains("optim."))
            .map(|(name, _)| name);
        texts.extend(
            names.map(|name| format!("train.optimizer = {{ name = \"{name}\", lr = 0.01 }}")),
        );
        assert_eq!(texts.len(), 5 + 10);
        for text in texts {
            let block: toml::Table = toml::from_str(&text).unwrap();
            let block = serde_json::to_value(&block).unwrap();
            let mut recipe = serde_json::json!({
                "data": { "dataset": "mnist", "transforms": [{ "name": "to-tensor" }] },
                "model": { "name": "mlp" },
                "train": { "epochs": 1, "batch_size": 8, "optimizer": { "name": "sgd", "lr": 0.1 } },
            });
            for (key, value) in block["train"].as_object().unwrap() {
                recipe["train"][key] = value.clone();
            }
            let recipe =
                Recipe::from_json(&recipe).unwrap_or_else(|error| panic!("{text}: {error}"));
            recipe
                .check()
                .unwrap_or_else(|error| panic!("{text}: {error}"));
        }
    }

    #[test]
    fn lookahead_and_groups_reach_the_trainer() {
        let recipe = Recipe::from_json(&serde_json::json!({
            "data": { "dataset": "mnist", "transforms": [{ "name": "to-tensor" }] },
            "model": { "name": "mlp" },
            "train": {
                "epochs": 1,
                "batch_size": 8,
                "optimizer": { "name": "lion" },
                "decay_norm_and_bias": false,
                "lookahead": { "k": 5 },
            },
        }))
        .unwrap();
        let config = recipe.train.config();
        assert!(!config.decay_norm_and_bias);
        assert_eq!(config.lookahead.unwrap().k, 5);
        let mut wrong = recipe;
        wrong.train.lookahead = Some(LookaheadConfig {
            k: 0,
            ..LookaheadConfig::default()
        });
        let message = wrong.check().unwrap_err().to_string();
        assert!(message.contains("lookahead.k"), "{message}");
    }
}
