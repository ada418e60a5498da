//! Learning-rate range test.

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::rc::Rc;

use candle_core::DType;
use candle_nn::ModuleT;
use serde::Serialize;
use tallow_datasets::DataLoader;
use tallow_ops::ParamStore;

use crate::callback::{BatchEnd, CONTINUE, Callback, Flow};
use crate::config::TrainConfig;
use crate::error::{Error, Result};
use crate::schedule::{Per, Schedule};
use crate::snapshot::Snapshot;
use crate::step::{StepInput, StepOutput, TrainStep};
use crate::trainer::{ForwardBackward, Trainer};

/// Learning-rate range test (Smith 2017, arXiv 1506.01186), as `Tuner.lr_find` of Lightning: training steps at exponentially rising
/// learning rates, and the rate of the steepest descent of the loss.
///
/// The learning rate of step `i` of `n` is `min_lr (max_lr / min_lr)^(i / (n - 1))`. The loss is smoothed by an exponential moving average
/// with bias correction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LrFinder {
    /// First learning rate, above 0; 1e-8 by default.
    pub min_lr: f64,
    /// Last learning rate, above `min_lr`; 1 by default.
    pub max_lr: f64,
    /// Number of steps, at least 2; 100 by default.
    pub steps: usize,
    /// Share of the average that stays at each step, in `[0, 1)`; 0.98 by default.
    pub beta: f64,
    /// Ends the test when the smoothed loss is so many times its least value, above 1; 4 by default.
    pub stop_at: f64,
}

impl Default for LrFinder {
    fn default() -> Self {
        Self {
            min_lr: 1e-8,
            max_lr: 1.0,
            steps: 100,
            beta: 0.98,
            stop_at: 4.0,
        }
    }
}

/// Step of a range test.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LrPoint {
    /// Learning rate.
    pub lr: f64,
    /// Loss of the batch before the step.
    pub loss: f64,
    /// Loss, smoothed.
    pub smoothed: f64,
}

/// Result of a range test.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LrRange {
    /// Steps whose loss was finite, in order.
    pub points: Vec<LrPoint>,
    /// Learning rate of the steepest descent; `None` when the loss never falls or the points are too few.
    pub suggestion: Option<f64>,
}

/// Points at the start and at the end that give no suggestion, as in Lightning.
const SKIP: (usize, usize) = (10, 1);

impl LrFinder {
    /// Trains on `train` as `config` says, but at rising learning rates, and restores parameters, buffers and generator of `store`.
    ///
    /// `build` makes the trainer, [`Trainer::new`] or one with a loss or a teacher of its own. Its schedule and its training step are
    /// replaced.
    ///
    /// # Errors
    /// [`Error::Config`] when a setting is out of range, and the errors of [`Trainer::fit`] but [`Error::NonFiniteLoss`], which ends the
    /// test.
    pub fn run<'t>(
        &self,
        config: &TrainConfig,
        build: impl FnOnce(TrainConfig) -> Trainer<'t>,
        model: &dyn ModuleT,
        store: &ParamStore,
        train: &DataLoader,
    ) -> Result<LrRange> {
        self.validate()?;
        let config = TrainConfig {
            epochs: self.steps.div_ceil(train.num_batches().max(1)),
            max_steps: Some(self.steps),
            ..config.clone()
        };
        let before = Snapshot::of(store)?;
        let points = Points::default();
        let fitted = build(config)
            .with_schedule(*self)
            .with_step(Observe(points.clone()))
            .with_callback(Follow {
                finder: *self,
                points: points.clone(),
                best: f64::INFINITY,
            })
            .fit(model, store, train, None);
        before.restore(store)?;
        match fitted {
            Ok(_) | Err(Error::NonFiniteLoss { .. }) => {}
            Err(error) => return Err(error),
        }
        let points: Vec<LrPoint> = (points.borrow().iter().enumerate())
            .filter(|(_, point)| point.loss.is_finite())
            .map(|(step, point)| LrPoint {
                lr: self.rate(step as u64),
                ..*point
            })
            .collect();
        Ok(LrRange {
            suggestion: suggestion(&points),
            points,
        })
    }

    /// Learning rate of a step, from 0.
    fn rate(&self, step: u64) -> f64 {
        let share = step as f64 / (self.steps - 1).max(1) as f64;
        self.min_lr * (self.max_lr / self.min_lr).powf(share)
    }

    fn validate(&self) -> Result<()> {
        let wrong = |setting, message: String| Err(Error::config(setting, message));
        if !(self.min_lr > 0.0 && self.min_lr.is_finite()) {
            return wrong(
                "min_lr",
                format!("{} is not a finite number above 0", self.min_lr),
            );
        }
        if !(self.max_lr > self.min_lr && self.max_lr.is_finite()) {
            let message = format!(
                "{} is not a finite number above min_lr, {}",
                self.max_lr, self.min_lr
            );
            return wrong("max_lr", message);
        }
        if self.steps < 2 {
            return wrong("steps", format!("{} is below 2", self.steps));
        }
        if !(0.0..1.0).contains(&self.beta) {
            return wrong("beta", format!("{} is not in [0, 1)", self.beta));
        }
        if self.stop_at <= 1.0 || self.stop_at.is_nan() {
            return wrong("stop_at", format!("{} is not above 1", self.stop_at));
        }
        Ok(())
    }
}

impl Schedule for LrFinder {
    fn lr(&self, _base_lr: f64, time: u64, _total: u64) -> f64 {
        self.rate(time)
    }

    fn per(&self) -> Per {
        Per::Step
    }
}

/// Losses of the steps so far. Training and callbacks share it.
type Points = Rc<RefCell<Vec<LrPoint>>>;

/// Default training step that keeps the loss.
struct Observe(Points);

impl TrainStep for Observe {
    fn step(&mut self, input: &StepInput) -> Result<StepOutput> {
        let output = ForwardBackward.step(input)?;
        let loss = output.loss.to_dtype(DType::F64)?.to_scalar::<f64>()?;
        self.0.borrow_mut().push(LrPoint {
            lr: 0.0,
            loss,
            smoothed: loss,
        });
        Ok(output)
    }
}

/// Callback that smooths the losses and ends the test.
struct Follow {
    finder: LrFinder,
    points: Points,
    best: f64,
}

impl Callback for Follow {
    fn on_batch_end(&mut self, _batch: &BatchEnd) -> Flow {
        let mut points = self.points.borrow_mut();
        let beta = self.finder.beta;
        let mut average = 0.0;
        for point in points.iter() {
            average = beta * average + (1.0 - beta) * point.loss;
        }
        let steps = points.len();
        let Some(last) = points.last_mut() else {
            return CONTINUE;
        };
        last.smoothed = average / (1.0 - beta.powf(steps as f64));
        if last.smoothed > self.finder.stop_at * self.best {
            return Ok(ControlFlow::Break("the loss diverges".to_string()));
        }
        self.best = self.best.min(last.smoothed);
        CONTINUE
    }
}

/// Rate of the steepest descent of the smoothed loss over the logarithm of the rate, by `torch.gradient`: central differences, and
/// one-sided ones at both ends. Rates above that of the lowest loss are left out: what falls there has risen before.
fn suggestion(points: &[LrPoint]) -> Option<f64> {
    let end = points.len().checked_sub(SKIP.1)?;
    let points = points.get(SKIP.0..end)?;
    let last = points.len().checked_sub(1)?;
    let slope = |i: usize| {
        let (before, after) = (i.saturating_sub(1), (i + 1).min(last));
        (points[after].smoothed - points[before].smoothed) / (after - before) as f64
    };
    let lowest = (0..=last).min_by(|&a, &b| points[a].smoothed.total_cmp(&points[b].smoothed))?;
    let slopes = (0..=lowest)
        .filter(|_| last > 0)
        .map(|i| (slope(i), points[i].lr));
    let steepest = slopes.min_by(|a, b| a.0.total_cmp(&b.0))?;
    (steepest.0 < 0.0).then_some(steepest.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(losses: &[f64]) -> Vec<LrPoint> {
        let skipped = std::iter::repeat_n(9.0, SKIP.0);
        let losses = skipped.chain(losses.iter().copied()).chain([0.0]);
        (losses.enumerate())
            .map(|(i, smoothed)| LrPoint {
                lr: i as f64,
                loss: 0.0,
                smoothed,
            })
            .collect()
    }

    /// `torch.gradient(torch.tensor([5., 5., 4., 2., 1.5, 3.]))` is `[0, -0.5, -1.5, -1.25, 0.5, 1.5]`.
    #[test]
    fn the_suggestion_is_the_steepest_descent() {
        assert_eq!(
            suggestion(&points(&[5.0, 5.0, 4.0, 2.0, 1.5, 3.0])),
            Some(12.0)
        );
        // The ends are one-sided.
        assert_eq!(suggestion(&points(&[5.0, 1.0, 1.0, 1.0])), Some(10.0));
        assert_eq!(suggestion(&points(&[5.0, 5.0, 5.0, 1.0])), Some(13.0));
        // The steepest descent comes after the loss has exploded.
        let exploded = [5.0, 4.0, 2.0, 90.0, 30.0, 20.0];
        assert_eq!(suggestion(&points(&exploded)), Some(11.0));
    }

    #[test]
    fn without_a_descent_there_is_none() {
        assert_eq!(suggestion(&points(&[1.0, 2.0, 3.0])), None);
        assert_eq!(suggestion(&points(&[1.0])), None);
        assert_eq!(suggestion(&points(&[])), None);
        assert_eq!(suggestion(&points(&[2.0, 1.0])[..5]), None);
    }

    #[test]
    fn rates_rise_from_the_first_to_the_last() {
        let finder = LrFinder {
            min_lr: 1e-4,
            max_lr: 1.0,
            steps: 5,
            ..LrFinder::default()
        };
        for (step, expected) in [1e-4, 1e-3, 1e-2, 1e-1, 1.0].into_iter().enumerate() {
            assert!((finder.rate(step as u64) / expected - 1.0).abs() < 1e-12);
        }
        for wrong in [
            LrFinder {
                min_lr: 0.0,
                ..finder
            },
            LrFinder {
                max_lr: 1e-5,
                ..finder
            },
            LrFinder { steps: 1, ..finder },
            LrFinder {
                beta: 1.0,
                ..finder
            },
            LrFinder {
                stop_at: 1.0,
                ..finder
            },
        ] {
            assert!(wrong.validate().is_err(), "{wrong:?}");
        }
    }
}
