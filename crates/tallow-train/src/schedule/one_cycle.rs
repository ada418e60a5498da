use serde::{Deserialize, Serialize};

use super::Anneal;
use crate::error::{Error, Result, not_negative};

/// Increase of the learning rate to the optimizer's and decrease over the whole run, and the reverse of the momentum (Smith and Topin
/// 2017): `OneCycleLR(max_lr = lr)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct OneCycle {
    /// Share of the run in which the rate increases, in `[0, 1]`; 0.3 by default.
    pub pct_start: f64,
    /// Maximum rate divided by the first rate; 25 by default.
    pub div_factor: f64,
    /// First rate divided by the last rate; 10,000 by default.
    pub final_div_factor: f64,
    /// Interpolation between the rates: `anneal_strategy`.
    pub anneal: Anneal,
    /// Return to the first rate in a second phase as long as the first, and reach the last rate in a third; false by default.
    #[serde(skip_serializing_if = "crate::unset::is_default")]
    pub three_phase: bool,
    /// Change the momentum against the rate: of SGD, or `beta1` of Adam and the like. False by default, unlike in PyTorch.
    #[serde(skip_serializing_if = "crate::unset::is_default")]
    pub cycle_momentum: bool,
    /// Momentum at the maximum rate, in `[0, 1)`; 0.85 by default.
    #[serde(skip_serializing_if = "is_default_base")]
    #[cfg_attr(feature = "schema", schemars(extend("default" = BASE_MOMENTUM)))]
    pub base_momentum: f64,
    /// Momentum at the first and the last rate, in `[0, 1)`; 0.95 by default.
    #[serde(skip_serializing_if = "is_default_max")]
    #[cfg_attr(feature = "schema", schemars(extend("default" = MAX_MOMENTUM)))]
    pub max_momentum: f64,
}

const BASE_MOMENTUM: f64 = 0.85;
const MAX_MOMENTUM: f64 = 0.95;

fn is_default_base(momentum: &f64) -> bool {
    *momentum == BASE_MOMENTUM
}

fn is_default_max(momentum: &f64) -> bool {
    *momentum == MAX_MOMENTUM
}

impl Default for OneCycle {
    fn default() -> Self {
        Self {
            pct_start: 0.3,
            div_factor: 25.0,
            final_div_factor: 1e4,
            anneal: Anneal::Cos,
            three_phase: false,
            cycle_momentum: false,
            base_momentum: BASE_MOMENTUM,
            max_momentum: MAX_MOMENTUM,
        }
    }
}

impl OneCycle {
    pub(super) fn lr(&self, base_lr: f64, time: u64, total: u64) -> f64 {
        let initial = base_lr / self.div_factor;
        let last = initial / self.final_div_factor;
        let values = match self.three_phase {
            true => vec![initial, base_lr, initial, last],
            false => vec![initial, base_lr, last],
        };
        self.at(&values, time, total)
    }

    pub(super) fn momentum(&self, time: u64, total: u64) -> Option<f64> {
        let (base, max) = (self.base_momentum, self.max_momentum);
        let values = match self.three_phase {
            true => vec![max, base, max, max],
            false => vec![max, base, max],
        };
        self.cycle_momentum.then(|| self.at(&values, time, total))
    }

    /// Value at `time`, where `values` are those at the ends of the phases.
    fn at(&self, values: &[f64], time: u64, total: u64) -> f64 {
        let (time, total) = (time as f64, total as f64);
        let first = self.pct_start * total - 1.0;
        let ends = match self.three_phase {
            true => vec![first, 2.0 * self.pct_start * total - 2.0, total - 1.0],
            false => vec![first, total - 1.0],
        };
        let mut start = 0.0;
        for (phase, &end) in ends.iter().enumerate() {
            if time <= end || phase + 1 == ends.len() {
                let share = share(time, start, end);
                return self.anneal.between(values[phase], values[phase + 1], share);
            }
            start = end;
        }
        values[0]
    }

    pub(super) fn validate(&self) -> Result<()> {
        if !(0.0..=1.0).contains(&self.pct_start) {
            let message = format!("{} is not in [0, 1]", self.pct_start);
            return Err(Error::config("schedule.pct_start", message));
        }
        for (setting, factor) in [
            ("schedule.div_factor", self.div_factor),
            ("schedule.final_div_factor", self.final_div_factor),
        ] {
            not_negative(setting, factor)?;
            if factor == 0.0 {
                return Err(Error::config(setting, "must be above 0"));
            }
        }
        for (setting, momentum) in [
            ("schedule.base_momentum", self.base_momentum),
            ("schedule.max_momentum", self.max_momentum),
        ] {
            if !(0.0..1.0).contains(&momentum) {
                let message = format!("{momentum} is not in [0, 1)");
                return Err(Error::config(setting, message));
            }
        }
        Ok(())
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
