use tallow_record::EpochRow;

use super::{Curve, Per, Schedule, ScheduleConfig, Warmup};
use crate::error::{Error, Result};

impl ScheduleConfig {
    /// The schedule, for a run with so many optimizer steps in an epoch.
    pub fn build(&self, steps_per_epoch: usize) -> Box<dyn Schedule> {
        Box::new(Planned::new(self.clone(), steps_per_epoch as u64))
    }
}

/// Built-in schedule of a run with a known number of steps in an epoch.
struct Planned {
    config: ScheduleConfig,
    steps_per_epoch: u64,
    /// Reductions by `reduce-on-plateau` so far.
    reductions: u64,
}

impl Planned {
    fn new(config: ScheduleConfig, steps_per_epoch: u64) -> Self {
        Self {
            config,
            steps_per_epoch: steps_per_epoch.max(1),
            reductions: 0,
        }
    }

    /// Length of the warmup in the unit of time, 0 without one.
    fn warmup(&self) -> u64 {
        self.config.warmup.as_ref().map_or(0, |warmup| {
            match (warmup.unit.unwrap_or(self.config.per), self.per()) {
                (Per::Epoch, Per::Step) => warmup.length.saturating_mul(self.steps_per_epoch),
                _ => warmup.length,
            }
        })
    }

    /// Time and length of the curve, in the unit of its settings.
    fn after_warmup(&self, time: u64, total: u64) -> (u64, u64) {
        let (time, total) = (
            time.saturating_sub(self.warmup()),
            total.saturating_sub(self.warmup()),
        );
        match (self.per(), self.config.per) {
            (Per::Step, Per::Epoch) => (
                time / self.steps_per_epoch,
                total.div_ceil(self.steps_per_epoch),
            ),
            _ => (time, total),
        }
    }
}

impl Schedule for Planned {
    fn lr(&self, base_lr: f64, time: u64, total: u64) -> f64 {
        let length = self.warmup();
        match &self.config.warmup {
            Some(warmup) if time < length => return warmup.lr(base_lr, time, length),
            _ => {}
        }
        let (time, total) = self.after_warmup(time, total);
        match &self.config.curve {
            Curve::ReduceOnPlateau(plateau) => plateau.lr(base_lr, self.reductions),
            curve => curve.lr(base_lr, time, total),
        }
    }

    fn momentum(&self, time: u64, total: u64) -> Option<f64> {
        if time < self.warmup() {
            return None;
        }
        let (time, total) = self.after_warmup(time, total);
        self.config.curve.momentum(time, total)
    }

    fn per(&self) -> Per {
        match &self.config.warmup {
            Some(Warmup {
                unit: Some(Per::Step),
                ..
            }) => Per::Step,
            _ => self.config.per,
        }
    }

    fn depends_on_total(&self) -> bool {
        self.config.curve.depends_on_total()
    }

    /// Checks the ranges as PyTorch does, and that the warmup is shorter than `total` if the curve depends on it.
    fn validate(&self, total: u64) -> Result<()> {
        self.config.curve.validate()?;
        let Some(warmup) = &self.config.warmup else {
            return Ok(());
        };
        warmup.validate()?;
        if self.depends_on_total() && self.warmup() >= total {
            let message = format!(
                "{} is not below the length of the run, {total}",
                self.warmup()
            );
            return Err(Error::config(warmup.setting(), message));
        }
        Ok(())
    }

    fn observe(&mut self, rows: &[EpochRow]) -> Result<()> {
        if let Curve::ReduceOnPlateau(plateau) = &self.config.curve {
            let epochs = match self.per() {
                Per::Epoch => self.warmup(),
                Per::Step => self.warmup() / self.steps_per_epoch,
            };
            let rows = rows.get(epochs as usize..).unwrap_or_default();
            self.reductions = plateau.reductions(rows)?;
        }
        Ok(())
    }
}
