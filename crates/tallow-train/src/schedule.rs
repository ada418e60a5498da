//! Learning rates over a run, in closed form: a function of the time and nothing else, so that a
//! resumed run needs no state to go on with the same rates.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use crate::optimizer::not_negative;
use crate::{Error, Result};

/// How the learning rate changes during a run, as PyTorch's schedulers of the same names.
///
/// Time is counted in `per`: epochs or steps. With a `warmup` the curve starts after it, as
/// `SequentialLR([LinearLR, curve])` does.
///
/// In TOML: `schedule = { curve = { name = "cosine" }, per = "step", warmup = { length = 500 } }`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// The rate after the warmup.
    #[serde(default)]
    pub curve: Curve,
    /// What time is counted in.
    #[serde(default)]
    pub per: Per,
    /// A linear rise at the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warmup: Option<Warmup>,
}

/// The unit of time of a [`Schedule`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Per {
    /// The rate changes between epochs.
    #[default]
    Epoch,
    /// The rate changes with every batch.
    Step,
}

/// The rate as a function of time, relative to the optimizer's `lr`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Curve {
    /// Always the optimizer's.
    Constant {},
    /// Times `gamma` every `size`: `StepLR`.
    Step {
        /// Time between two drops.
        size: u64,
        /// The factor of a drop.
        #[serde(default = "default_gamma")]
        gamma: f64,
    },
    /// Times `gamma` at each milestone: `MultiStepLR`.
    MultiStep {
        /// When the rate drops, counted from the end of the warmup.
        milestones: Vec<u64>,
        /// The factor of a drop.
        #[serde(default = "default_gamma")]
        gamma: f64,
    },
    /// Half a cosine down to `eta_min` (Loshchilov and Hutter 2016, without restarts): `CosineAnnealingLR`.
    Cosine {
        /// Time from top to bottom; the rest of the run where it is left out. It rises again after it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        t_max: Option<u64>,
        /// The rate at the bottom.
        #[serde(default)]
        eta_min: f64,
    },
    /// Up to the optimizer's rate and down again over the whole run (Smith and Topin 2017):
    /// `OneCycleLR(max_lr = lr, cycle_momentum = False)`.
    OneCycle {
        /// The share of the run that rises.
        #[serde(default = "default_pct_start")]
        pct_start: f64,
        /// The first rate is the highest divided by this.
        #[serde(default = "default_div_factor")]
        div_factor: f64,
        /// The last rate is the first divided by this.
        #[serde(default = "default_final_div_factor")]
        final_div_factor: f64,
        /// The way between them.
        #[serde(default)]
        anneal: Anneal,
    },
}

impl Default for Curve {
    fn default() -> Self {
        Self::Constant {}
    }
}

/// The way from one rate to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Anneal {
    /// Half a cosine.
    #[default]
    Cos,
    /// A straight line.
    Linear,
}

/// A linear rise from `start_factor` times the rate to the rate: `LinearLR`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Warmup {
    /// Its length.
    pub length: u64,
    /// The first rate, relative to the optimizer's.
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

impl Schedule {
    /// The optimizer's rate throughout.
    pub fn constant() -> Self {
        Self::default()
    }

    /// The rate at `time` of `total` (both in [`Per`]'s unit, from 0), for an optimizer's rate of `base_lr`.
    pub fn lr(&self, base_lr: f64, time: u64, total: u64) -> f64 {
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

    /// Whether the rate at a time depends on how long the run will be.
    pub fn spans_run(&self) -> bool {
        matches!(
            self.curve,
            Curve::Cosine { t_max: None, .. } | Curve::OneCycle { .. }
        )
    }

    /// Checks the ranges that PyTorch checks, and that the warmup leaves something of `total`
    /// for a curve that spans the run.
    pub fn validate(&self, total: u64) -> Result<()> {
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
        if self.spans_run() && warmup.length >= total {
            return Err(Error::config(
                "schedule.warmup.length",
                format!("{} leaves nothing of a run of {total}", warmup.length),
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

/// How far `time` is from `start` to `end`; there already where both are one.
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
