use std::collections::BTreeMap;

use candle_core::{DType, Device, Var};
use serde::{Deserialize, Serialize};
use tallow_ops::{ParamStore, Precision};

use crate::averages::{Averages, EmaConfig, SwaConfig};
use crate::clip::Clip;
use crate::error::{Error, Result};
use crate::freeze::{Thawing, Unfreeze, trained_at_last};
use crate::loss::LossConfig;
use crate::mix::MixConfig;
use crate::norm_statistics::NormStatistics;
use crate::optimizer::{Groups, Lookahead, LookaheadConfig, Optimizer, OptimizerConfig, ParamRule};
use crate::sam::SamConfig;
use crate::schedule::ScheduleConfig;
use crate::tta::Tta;

/// Settings of a training run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Number of passes over the training data.
    pub epochs: usize,
    /// Maximum number of optimizer steps, at least 1, as Lightning's `max_steps`. Training may end in the middle of an epoch, which is
    /// evaluated like the others. `epochs` remains a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_steps: Option<usize>,
    /// Maximum wall time of training and evaluation in minutes, as Lightning's `max_time`: training ends after the step in which it has
    /// passed, and the model is evaluated as at the end of an epoch. The time before a resumption counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_minutes: Option<f64>,
    /// Optimizer.
    pub optimizer: OptimizerConfig,
    /// Learning-rate schedule.
    #[serde(default)]
    pub schedule: ScheduleConfig,
    /// Loss to minimize.
    #[serde(default)]
    pub loss: LossConfig,
    /// Learning rates and weight decays of some of the parameters.
    #[serde(default)]
    pub rules: Vec<ParamRule>,
    /// Whether weight decay applies to norms and biases: to parameters of at most one dimension and to those named `bias`, as timm
    /// separates them. A rule with a weight decay has the last word.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub decay_norm_and_bias: bool,
    /// Factors of the learning rates of single parameters by name, besides those of `rules`: timm's layer-wise decay, with factors from the
    /// depths of a model's parameters. A parameter without one has the factor 1.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lr_scales: BTreeMap<String, f64>,
    /// Lookahead around the optimizer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lookahead: Option<LookaheadConfig>,
    /// Parameters that are not trained. Each pattern matches the dotted name of a parameter or of a layer; `*` stands for any
    /// characters. `layer1` freezes all parameters of that layer, `*.bias` every bias.
    ///
    /// Frozen parameters are not given to the optimizer, so that neither momentum nor weight decay changes them. The running
    /// statistics of batch norm are buffers and are still updated, as in PyTorch after `requires_grad_(False)`.
    #[serde(default)]
    pub freeze: Vec<String>,
    /// Frozen parameters that are trained from some epoch on. The optimizer has them from the beginning, with an untouched state: its
    /// step counters and averages start when they do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unfreeze: Vec<Unfreeze>,
    /// Parameters that may be without a gradient in the first step, as patterns like those of `freeze`; none by default. Any other
    /// is an error: it is not trained.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_unused: Vec<String>,
    /// Mixup and CutMix of training batches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mix: Option<MixConfig>,
    /// Gradient clipping. Callbacks see the gradients before it, as in Lightning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip: Option<Clip>,
    /// Chunks of a batch, at least 1: gradient accumulation, see [`Chunks`](crate::Chunks). Chunks are part of the result: with batch norm
    /// or dropout another number of them trains other weights.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub chunks: usize,
    /// Statistics of batch norm in a step in chunks: each chunk is normalized by itself and the running statistics are those of the first one
    /// by default. [`NormStatistics::Sync`] needs [`Trainer::with_shared_model`](crate::Trainer::with_shared_model).
    #[serde(default, skip_serializing_if = "crate::unset::is_default")]
    pub norm_statistics: NormStatistics,
    /// Sharpness-aware minimization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sam: Option<SamConfig>,
    /// Exponential moving average of the weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ema: Option<EmaConfig>,
    /// Stochastic weight averaging.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swa: Option<SwaConfig>,
    /// Steps in a row with a loss or gradient that is not finite that are skipped, as PyTorch's `GradScaler` skips them, each with a
    /// warning in the log; 0, an error at the first one, by default. A skipped step counts for the schedule and not for the training loss.
    #[serde(default, skip_serializing_if = "crate::unset::is_default")]
    pub skip_non_finite: usize,
    /// Epochs between two evaluations, at least 1, as Lightning's `check_val_every_n_epoch`: with 5 the epochs 5, 10, ... are evaluated, and the
    /// last one. An epoch without evaluation does not count for early stopping and for `reduce-on-plateau`.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub evaluate_every: usize,
    /// Test-time augmentation in every evaluation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tta: Option<Tta>,
    /// Precision of convolutions and linear layers in training and evaluation, as Lightning's `precision`: see
    /// [`with_precision`](tallow_ops::with_precision). Others than `f32` need a CUDA device with cuDNN. Parameters, their gradients and the
    /// optimizer's state are in `f32`.
    #[serde(default, skip_serializing_if = "crate::unset::is_default")]
    pub precision: Precision,
    /// Whether a CUDA device records forward and backward pass of a step as a CUDA graph and repeats it, as `torch.compile` with
    /// `mode="reduce-overhead"`. The weights are the same. Only small networks gain. False by default.
    ///
    /// Model and loss must do the same in every step, and draw random numbers from the generator of the store alone. The first launches are
    /// compared with the plain step, to the bit; where they differ, or a step cannot be recorded, a warning says so, and the steps run as
    /// without it. A smaller last batch always does. Steps of the caller's own, in chunks, on several ranks and of
    /// [`Sam`](crate::Sam) are not recorded. [`Profile::graph_steps`](crate::Profile::graph_steps) is the number of steps that were.
    #[serde(default, skip_serializing_if = "crate::unset::is_default")]
    pub cuda_graph: bool,
}

fn one() -> usize {
    1
}

fn is_one(value: &usize) -> bool {
    *value == 1
}

fn yes() -> bool {
    true
}

fn is_true(value: &bool) -> bool {
    *value
}

impl TrainConfig {
    /// Cross entropy at a constant learning rate.
    pub fn new(epochs: usize, optimizer: OptimizerConfig) -> Self {
        Self {
            epochs,
            max_steps: None,
            max_minutes: None,
            optimizer,
            schedule: ScheduleConfig::constant(),
            loss: LossConfig::default(),
            rules: Vec::new(),
            decay_norm_and_bias: true,
            lr_scales: BTreeMap::new(),
            lookahead: None,
            freeze: Vec::new(),
            unfreeze: Vec::new(),
            allow_unused: Vec::new(),
            mix: None,
            clip: None,
            chunks: 1,
            norm_statistics: NormStatistics::default(),
            sam: None,
            ema: None,
            swa: None,
            skip_non_finite: 0,
            evaluate_every: 1,
            tta: None,
            precision: Precision::F32,
            cuda_graph: false,
        }
    }

    /// Checks the ranges of the settings of what acts on a batch or on the weights, `mix`, `clip`, `chunks`, `sam`, `ema` and `swa`, and of `evaluate_every`.
    ///
    /// # Errors
    /// [`Error::Config`] names the setting.
    pub fn validate_batch_settings(&self) -> Result<()> {
        if let Some(mix) = &self.mix {
            mix.validate()?;
        }
        if let Some(clip) = &self.clip {
            clip.validate()?;
        }
        for (key, value) in [
            ("chunks", self.chunks),
            ("evaluate_every", self.evaluate_every),
        ] {
            if value == 0 {
                return Err(Error::config(key, "must be at least 1"));
            }
        }
        if let Some(sam) = &self.sam {
            sam.validate()?;
        }
        Averages::validate(&self.ema, &self.swa, self.epochs)
    }

    /// Chunks of a batch that batch norm normalizes by themselves: one with [`NormStatistics::Sync`].
    pub fn normalized_chunks(&self) -> usize {
        match self.norm_statistics {
            NormStatistics::Sync => 1,
            NormStatistics::First | NormStatistics::Mean => self.chunks,
        }
    }

    /// Checks that parameters of this type on this device can be trained in `precision`.
    ///
    /// # Errors
    /// [`Error::Config`] if the device cannot compute in it, or the parameters are not in `f32`.
    pub fn check_precision(&self, dtype: DType, device: &Device) -> Result<()> {
        let wrong = |message: String| Err(Error::config("precision", message));
        match self.precision.check(device) {
            Ok(()) => {}
            Err(tallow_ops::Error::Config { message, .. }) => return wrong(message),
            Err(other) => return Err(other.into()),
        }
        if self.precision != Precision::F32 && dtype != DType::F32 {
            return wrong(format!(
                "{} is for parameters in f32, and these are {dtype:?}",
                self.precision
            ));
        }
        Ok(())
    }

    /// True if epoch `epoch` of `epochs`, counted from 0, is evaluated.
    pub(crate) fn evaluates(&self, epoch: usize, epochs: usize) -> bool {
        let done = epoch + 1;
        done.is_multiple_of(self.evaluate_every.max(1)) || done == epochs
    }

    pub(crate) fn lookahead_depends_on_total(&self) -> bool {
        self.lookahead
            .is_some_and(|lookahead| lookahead.power != 0.0)
    }

    /// The optimizer of the parameters in `store` that are not frozen, or not to the end, with `rules`, `decay_norm_and_bias` and `lookahead`.
    ///
    /// # Errors
    /// As [`OptimizerConfig::build_with_rules`] and [`Lookahead::new`], and when a pattern of `freeze` or `unfreeze` matches no parameter or no
    /// parameter is left to train.
    pub fn optimizer(&self, store: &ParamStore) -> Result<Box<dyn Optimizer>> {
        let (params, _) = self.trained(store)?;
        let all = store.parameters();
        let unknown = |name: &&String| !all.iter().any(|(known, _)| known == *name);
        if let Some(name) = self.lr_scales.keys().find(unknown) {
            return Err(Error::config(
                "lr_scales",
                format!("there is no parameter `{name}`"),
            ));
        }
        let groups = Groups {
            rules: &self.rules,
            decay_norm_and_bias: self.decay_norm_and_bias,
            lr_scales: &self.lr_scales,
        };
        let optimizer = self.optimizer.build_with_groups(params.clone(), &groups)?;
        Ok(match self.lookahead {
            Some(lookahead) => Box::new(Lookahead::new(optimizer, params, lookahead)?),
            None => optimizer,
        })
    }

    /// The most seconds that a run may take; infinity without a limit.
    pub(crate) fn most_seconds(&self) -> Result<f64> {
        match self.max_minutes {
            None => Ok(f64::INFINITY),
            Some(minutes) if minutes > 0.0 && minutes.is_finite() => Ok(minutes * 60.0),
            Some(minutes) => Err(Error::config(
                "max_minutes",
                format!("{minutes} is not a finite number above 0"),
            )),
        }
    }

    /// Reason for the end of a run after the most seconds.
    pub(crate) fn out_of_time(&self) -> String {
        format!(
            "max_minutes = {} have passed",
            self.max_minutes.unwrap_or_default()
        )
    }

    /// Parameters of the optimizer, and those of them that are frozen at first.
    pub(crate) fn trained(&self, store: &ParamStore) -> Result<(Vec<(String, Var)>, Thawing)> {
        trained_at_last(store.parameters(), &self.freeze, &self.unfreeze)
    }
}
