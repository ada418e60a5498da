use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use super::{OneCycle, Plateau};
use crate::error::{Error, Result, not_negative};

/// Learning rate as a function of time, relative to the optimizer's `lr`.
///
/// Times and lengths are in the schedule's unit of time ([`Per`](super::Per)) and counted from the end of the warmup.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Curve {
    /// Constant: the optimizer's learning rate.
    Constant {},
    /// Linear change from `start_factor` to `end_factor` times the optimizer's rate, and constant after it: `LinearLR`.
    Linear {
        /// First rate, relative to the optimizer's, in `(0, 1]`; 1 by default.
        #[serde(default = "one")]
        start_factor: f64,
        /// Last rate, relative to the optimizer's, in `[0, 1]`; 0 by default.
        #[serde(default)]
        end_factor: f64,
        /// Length of the change, `total_iters`; by default the rest of the run.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        length: Option<u64>,
    },
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
    /// Multiplied by `gamma` at every unit of time: `ExponentialLR`.
    Exponential {
        /// Factor of each change.
        gamma: f64,
    },
    /// Decrease to 0 as a power of the time left, and 0 after it: `PolynomialLR`.
    Polynomial {
        /// Length of the decrease, `total_iters`; by default the rest of the run.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        length: Option<u64>,
        /// Exponent; 1, a linear decrease, by default.
        #[serde(default = "one")]
        power: f64,
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
    /// Half a cosine down to `eta_min`, again and again from the optimizer's rate (Loshchilov and Hutter 2016):
    /// `CosineAnnealingWarmRestarts`.
    CosineWarmRestarts {
        /// Time to the first restart.
        t_0: u64,
        /// Factor by which each time between restarts is longer than the one before; 1 by default.
        #[serde(default = "one_time")]
        t_mult: u64,
        /// Minimum learning rate.
        #[serde(default)]
        eta_min: f64,
    },
    /// Increase to the optimizer's rate and decrease over the whole run, [`OneCycle`]: `OneCycleLR`.
    OneCycle(OneCycle),
    /// Linear increase to the optimizer's rate and linear decrease to a floor over the whole run: `triangle` of airbench94 (Jordan
    /// 2024, arXiv 2404.00498), with its settings by default.
    Triangular {
        /// First rate, relative to the optimizer's; 0.2 by default.
        #[serde(default = "default_start")]
        start: f64,
        /// Share of the run after which the rate is the optimizer's, in `[0, 1]`; 0.23 by default.
        #[serde(default = "default_peak")]
        peak: f64,
        /// Rate at the end of the run, relative to the optimizer's; 0.07 by default.
        #[serde(default = "default_end")]
        end: f64,
    },
    /// Multiplied by a factor when a metric has stopped improving, [`Plateau`]: `ReduceLROnPlateau`.
    ReduceOnPlateau(Plateau),
    /// One curve after the other: `SequentialLR`.
    Sequence {
        /// Curves, each with a time of its own from 0. A curve over the rest of the run ends where the next one begins.
        curves: Vec<Curve>,
        /// Times at which the second and every later curve begins.
        milestones: Vec<u64>,
    },
}

impl Default for Curve {
    fn default() -> Self {
        Self::Constant {}
    }
}

fn default_gamma() -> f64 {
    0.1
}

fn one() -> f64 {
    1.0
}

fn one_time() -> u64 {
    1
}

fn default_start() -> f64 {
    0.2
}

fn default_peak() -> f64 {
    0.23
}

fn default_end() -> f64 {
    0.07
}

impl Curve {
    /// Rate at `time` of `total`, both from the end of the warmup. That of [`Plateau`] before any reduction.
    pub(super) fn lr(&self, base_lr: f64, time: u64, total: u64) -> f64 {
        match *self {
            Curve::Constant {} | Curve::ReduceOnPlateau(_) => base_lr,
            Curve::Linear {
                start_factor,
                end_factor,
                length,
            } => {
                let share = (time as f64 / length.unwrap_or(total).max(1) as f64).min(1.0);
                base_lr * (start_factor + (end_factor - start_factor) * share)
            }
            Curve::Step { size, gamma } => base_lr * gamma.powf((time / size.max(1)) as f64),
            Curve::MultiStep {
                ref milestones,
                gamma,
            } => {
                let passed = milestones.iter().filter(|&&m| m <= time).count();
                base_lr * gamma.powf(passed as f64)
            }
            Curve::Exponential { gamma } => base_lr * gamma.powf(time as f64),
            Curve::Polynomial { length, power } => {
                let share = time as f64 / length.unwrap_or(total).max(1) as f64;
                base_lr * (1.0 - share.min(1.0)).powf(power)
            }
            Curve::Cosine { t_max, eta_min } => {
                cosine(base_lr, eta_min, time, t_max.unwrap_or(total))
            }
            Curve::CosineWarmRestarts {
                t_0,
                t_mult,
                eta_min,
            } => {
                let (time, length) = since_restart(time, t_0.max(1), t_mult);
                cosine(base_lr, eta_min, time, length)
            }
            Curve::OneCycle(ref cycle) => cycle.lr(base_lr, time, total),
            Curve::Triangular { start, peak, end } => {
                let top = (peak * total as f64).floor();
                let (time, total) = (time as f64, total as f64);
                base_lr
                    * if time < top {
                        start + (1.0 - start) * time / top
                    } else {
                        1.0 + (end - 1.0) * (time - top) / (total - top).max(1.0)
                    }
            }
            Curve::Sequence {
                ref curves,
                ref milestones,
            } => match part(curves, milestones, time, total) {
                Some((curve, time, total)) => curve.lr(base_lr, time, total),
                None => base_lr,
            },
        }
    }

    /// Momentum at `time` of `total`; `None` for the optimizer's own.
    pub(super) fn momentum(&self, time: u64, total: u64) -> Option<f64> {
        match self {
            Curve::OneCycle(cycle) => cycle.momentum(time, total),
            Curve::Sequence { curves, milestones } => {
                let (curve, time, total) = part(curves, milestones, time, total)?;
                curve.momentum(time, total)
            }
            _ => None,
        }
    }

    /// Whether the rate depends on the length of the run.
    pub(super) fn depends_on_total(&self) -> bool {
        match self {
            Curve::Cosine { t_max: length, .. }
            | Curve::Linear { length, .. }
            | Curve::Polynomial { length, .. } => length.is_none(),
            Curve::OneCycle(_) | Curve::Triangular { .. } => true,
            // The other curves end at milestones.
            Curve::Sequence { curves, .. } => curves.last().is_some_and(Curve::depends_on_total),
            _ => false,
        }
    }

    pub(super) fn validate(&self) -> Result<()> {
        let wrong = |setting, message: &str| Err(Error::config(setting, message));
        match self {
            Curve::Constant {} => Ok(()),
            Curve::Linear {
                start_factor,
                end_factor,
                length,
            } => {
                if !(*start_factor > 0.0 && *start_factor <= 1.0) {
                    return wrong("schedule.start_factor", "must be in (0, 1]");
                }
                if !(0.0..=1.0).contains(end_factor) {
                    return wrong("schedule.end_factor", "must be in [0, 1]");
                }
                not_empty("schedule.length", *length)
            }
            Curve::Step { size: 0, .. } => wrong("schedule.size", "must be at least 1"),
            Curve::Step { gamma, .. }
            | Curve::MultiStep { gamma, .. }
            | Curve::Exponential { gamma } => not_negative("schedule.gamma", *gamma),
            Curve::Polynomial { length, power } => {
                not_negative("schedule.power", *power)?;
                not_empty("schedule.length", *length)
            }
            Curve::Cosine { t_max, eta_min } => {
                not_empty("schedule.t_max", *t_max)?;
                not_negative("schedule.eta_min", *eta_min)
            }
            Curve::CosineWarmRestarts { t_0: 0, .. } => wrong("schedule.t_0", "must be at least 1"),
            Curve::CosineWarmRestarts { t_mult: 0, .. } => {
                wrong("schedule.t_mult", "must be at least 1")
            }
            Curve::CosineWarmRestarts { eta_min, .. } => not_negative("schedule.eta_min", *eta_min),
            Curve::OneCycle(cycle) => cycle.validate(),
            Curve::Triangular { start, peak, end } => {
                not_negative("schedule.start", *start)?;
                not_negative("schedule.end", *end)?;
                if !(0.0..=1.0).contains(peak) {
                    return wrong("schedule.peak", "must be in [0, 1]");
                }
                Ok(())
            }
            Curve::ReduceOnPlateau(plateau) => plateau.validate(),
            Curve::Sequence { curves, milestones } => validate_sequence(curves, milestones),
        }
    }
}

/// Half a cosine from `base_lr` at 0 to `eta_min` at `length`.
fn cosine(base_lr: f64, eta_min: f64, time: u64, length: u64) -> f64 {
    let turn = time as f64 / length.max(1) as f64;
    eta_min + (base_lr - eta_min) * (1.0 + (PI * turn).cos()) / 2.0
}

/// Time since the last restart, and time from it to the next.
fn since_restart(time: u64, t_0: u64, t_mult: u64) -> (u64, u64) {
    if t_mult <= 1 {
        return (time % t_0, t_0);
    }
    let (mut time, mut length) = (time, t_0);
    while time >= length {
        time -= length;
        length = length.saturating_mul(t_mult);
    }
    (time, length)
}

/// Curve of a sequence at `time`, with the time since its beginning and its length.
fn part<'c>(
    curves: &'c [Curve],
    milestones: &[u64],
    time: u64,
    total: u64,
) -> Option<(&'c Curve, u64, u64)> {
    let index = milestones.iter().filter(|&&m| m <= time).count();
    let start = match index {
        0 => 0,
        index => milestones[index - 1],
    };
    let end = milestones.get(index).copied().unwrap_or(total);
    Some((curves.get(index)?, time - start, end.saturating_sub(start)))
}

fn validate_sequence(curves: &[Curve], milestones: &[u64]) -> Result<()> {
    if curves.is_empty() || milestones.len() + 1 != curves.len() {
        let message = format!(
            "{} milestones for {} curves, expected one for each curve but the first",
            milestones.len(),
            curves.len()
        );
        return Err(Error::config("schedule.milestones", message));
    }
    if milestones.first() == Some(&0) || milestones.windows(2).any(|pair| pair[0] >= pair[1]) {
        let message = "the milestones of a sequence must be above 0 and increase";
        return Err(Error::config("schedule.milestones", message));
    }
    for curve in curves {
        if let Curve::ReduceOnPlateau(_) = curve {
            let message =
                "`reduce-on-plateau` cannot be part of a sequence; it takes a `warmup` before it";
            return Err(Error::config("schedule.curves", message));
        }
        curve.validate()?;
    }
    Ok(())
}

fn not_empty(setting: &'static str, length: Option<u64>) -> Result<()> {
    match length {
        Some(0) => Err(Error::config(setting, "must be at least 1")),
        _ => Ok(()),
    }
}
