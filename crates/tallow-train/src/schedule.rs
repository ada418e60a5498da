//! Learning-rate schedules.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, not_negative};

/// Learning-rate schedule: a function of the time alone, without state, so that a resumed run continues with the same rates.
///
/// The built-in schedules are those of [`ScheduleConfig`]. A schedule of your own is passed to
/// [`Trainer::with_schedule`](crate::Trainer::with_schedule):
///
/// ```
/// use tallow_train::{Per, Schedule};
///
/// /// Linear decay from the learning rate of the optimizer to 0.
/// struct LinearDecay;
///
/// impl Schedule for LinearDecay {
///     fn lr(&self, base_lr: f64, time: u64, total: u64) -> f64 {
///         base_lr * (1.0 - time as f64 / total as f64)
///     }
///     fn per(&self) -> Per {
///         Per::Step
///     }
/// }
///
/// assert_eq!(LinearDecay.lr(0.5, 25, 100), 0.375);
/// ```
pub trait Schedule: Send + Sync {
    /// Learning rate at `time` (from 0) of `total`, both in the unit [`per`](Self::per). `base_lr` is the optimizer's learning rate.
    fn lr(&self, base_lr: f64, time: u64, total: u64) -> f64;

    /// Unit of time; [`Per::Epoch`] by default.
    fn per(&self) -> Per {
        Per::Epoch
    }

    /// Whether the rate depends on `total`; true by default. Then a checkpoint is resumed only with the same number of epochs.
    fn depends_on_total(&self) -> bool {
        true
    }

    /// Checks the settings before a run of length `total`; nothing by default.
    ///
    /// # Errors
    /// [`Error::Config`] when a setting is out of range.
    fn validate(&self, _total: u64) -> Result<()> {
        Ok(())
    }
}

/// Built-in learning-rate schedule and its settings, as PyTorch's schedulers of the same names.
///
/// With a `warmup` the curve starts after it, as in `SequentialLR([LinearLR, curve])`.
///
/// In TOML: `schedule = { curve = { name = "cosine" }, per = "step", warmup = { length = 500 } }`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleConfig {
    /// Learning rate after the warmup.
    #[serde(default)]
    pub curve: Curve,
    /// Unit of time.
    #[serde(default)]
    pub per: Per,
    /// Linear increase at the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warmup: Option<Warmup>,
}

/// Unit of time of a [`Schedule`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Per {
    /// Epochs: the rate changes between epochs.
    #[default]
    Epoch,
    /// Optimizer steps: the rate changes with every batch.
    Step,
}

/// Learning rate as a function of time, relative to the optimizer's `lr`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Curve {
    /// Constant: the optimizer's learning rate.
    Constant {},
    /// Multiplied by `gamma` every `size`: `StepLR`.
    Step {
        /// Time between two changes.
        size: u64,
        /// Factor of each change.
        #[serde(default = "default_gamma")]
        gamma: f64,
    },
    /// Multiplied by `gamma` at each milestone: `MultiStepLR`.
    MultiStep {
        /// Times of the changes, counted from the end of the warmup.
        milestones: Vec<u64>,
        /// Factor of each change.
        #[serde(default = "default_gamma")]
        gamma: f64,
    },
    /// Half a cosine down to `eta_min` (Loshchilov and Hutter 2016, without restarts): `CosineAnnealingLR`.
    Cosine {
        /// Time from maximum to minimum; by default the rest of the run. The rate rises again after it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        t_max: Option<u64>,
        /// Minimum learning rate.
        #[serde(default)]
        eta_min: f64,
    },
    /// Increase to the optimizer's rate and decrease over the whole run (Smith and Topin 2017):
    /// `OneCycleLR(max_lr = lr, cycle_momentum = False)`.
    OneCycle {
        /// Share of the run in which the rate increases, in `[0, 1]`.
        #[serde(default = "default_pct_start")]
        pct_start: f64,
        /// Maximum rate divided by the first rate.
        #[serde(default = "default_div_factor")]
        div_factor: f64,
        /// First rate divided by the last rate.
        #[serde(default = "default_final_div_factor")]
        final_div_factor: f64,
        /// Interpolation between the three rates.
        #[serde(default)]
        anneal: Anneal,
    },
}

impl Default for Curve {
    fn default() -> Self {
        Self::Constant {}
    }
}

/// Interpolation between two learning rates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Anneal {
    /// Half a cosine.
    #[default]
    Cos,
    /// Linear.
    Linear,
}

/// Linear increase from `start_factor` times the optimizer's rate to that rate: `LinearLR`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Warmup {
    /// Length, in the schedule's unit of time.
    pub length: u64,
    /// First rate, relative to the optimizer's, in `(0, 1]`.
    #[serde(default = "default_start_factor")]
    pub start_factor: f64,
}

fn default_gamma() -> f64 {
    0.1
}

fn default_pct_start() -> f64 {
    0.3
}

fn default_div_factor() -> f64 {
    25.0
}

fn default_final_div_factor() -> f64 {
    1e4
}

fn default_start_factor() -> f64 {
    1.0 / 3.0
}

impl ScheduleConfig {
    /// Constant learning rate.
    pub fn constant() -> Self {
        Self::default()
    }
}

impl Schedule for ScheduleConfig {
    fn lr(&self, base_lr: f64, time: u64, total: u64) -> f64 {
        let warmup = self.warmup.as_ref().map_or(0, |warmup| warmup.length);
        match &self.warmup {
            Some(Warmup {
                length,
                start_factor,
            }) if time < *length => {
                let done = time as f64 / *length as f64;
                base_lr * (start_factor + (1.0 - start_factor) * done)
            }
            _ => self
                .curve
                .lr(base_lr, time - warmup, total.saturating_sub(warmup)),
        }
    }

    fn per(&self) -> Per {
        self.per
    }

    fn depends_on_total(&self) -> bool {
        matches!(
            self.curve,
            Curve::Cosine { t_max: None, .. } | Curve::OneCycle { .. }
        )
    }

    /// Checks the ranges as PyTorch does, and that the warmup is shorter than `total` if the curve depends on it.
    fn validate(&self, total: u64) -> Result<()> {
        self.curve.validate()?;
        let Some(warmup) = &self.warmup else {
            return Ok(());
        };
        if !(warmup.start_factor > 0.0 && warmup.start_factor <= 1.0) {
            return Err(Error::config(
                "schedule.warmup.start_factor",
                format!("{} is not in (0, 1]", warmup.start_factor),
            ));
        }
        if self.depends_on_total() && warmup.length >= total {
            return Err(Error::config(
                "schedule.warmup.length",
                format!(
                    "{} is not below the length of the run, {total}",
                    warmup.length
                ),
            ));
        }
        Ok(())
    }
}

impl Curve {
    fn lr(&self, base_lr: f64, time: u64, total: u64) -> f64 {
        match *self {
            Curve::Constant {} => base_lr,
            Curve::Step { size, gamma } => base_lr * gamma.powf((time / size.max(1)) as f64),
            Curve::MultiStep {
                ref milestones,
                gamma,
            } => {
                let passed = milestones.iter().filter(|&&m| m <= time).count();
                base_lr * gamma.powf(passed as f64)
            }
            Curve::Cosine { t_max, eta_min } => {
                let turn = time as f64 / t_max.unwrap_or(total).max(1) as f64;
                eta_min + (base_lr - eta_min) * (1.0 + (PI * turn).cos()) / 2.0
            }
            Curve::OneCycle {
                pct_start,
                div_factor,
                final_div_factor,
                anneal,
            } => {
                let (time, total) = (time as f64, total as f64);
                let (top, end) = (pct_start * total - 1.0, total - 1.0);
                let initial = base_lr / div_factor;
                if time <= top {
                    anneal.between(initial, base_lr, share(time, 0.0, top))
                } else {
                    let last = initial / final_div_factor;
                    anneal.between(base_lr, last, share(time, top, end))
                }
            }
        }
    }

    fn validate(&self) -> Result<()> {
        let wrong = |setting, message: &str| Err(Error::config(setting, message));
        match *self {
            Curve::Constant {} => Ok(()),
            Curve::Step { size: 0, .. } => wrong("schedule.size", "must be at least 1"),
            Curve::Step { gamma, .. } | Curve::MultiStep { gamma, .. } => {
                not_negative("schedule.gamma", gamma)
            }
            Curve::Cosine { t_max: Some(0), .. } => wrong("schedule.t_max", "must be at least 1"),
            Curve::Cosine { eta_min, .. } => not_negative("schedule.eta_min", eta_min),
            Curve::OneCycle { pct_start, .. } if !(0.0..=1.0).contains(&pct_start) => {
                wrong("schedule.pct_start", "must be in [0, 1]")
            }
            Curve::OneCycle {
                div_factor,
                final_div_factor,
                ..
            } => {
                if div_factor > 0.0 && final_div_factor > 0.0 {
                    Ok(())
                } else {
                    wrong("schedule.div_factor", "must be above 0")
                }
            }
        }
    }
}

/// Position of `time` between `start` (0) and `end` (1); 1 if the two are equal.
fn share(time: f64, start: f64, end: f64) -> f64 {
    if end > start {
        (time - start) / (end - start)
    } else {
        1.0
    }
}

impl Anneal {
    fn between(self, start: f64, end: f64, share: f64) -> f64 {
        match self {
            Anneal::Cos => end + (start - end) / 2.0 * ((PI * share).cos() + 1.0),
            Anneal::Linear => start + (end - start) * share,
        }
    }
}
