//! Timed first steps of a training, by which its length is planned.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use tallow_train::{BatchEnd, CONTINUE, Callback, Flow};

use crate::error::{Error, Result};
use crate::experiment::Experiment;
use crate::progress::Progress;
use crate::runner::Runner;

/// Steps that are not timed: the first ones allocate memory.
const UNTIMED: usize = 2;

/// Fewest steps that are timed.
const TIMED: usize = 5;

/// Batches of the timed evaluation.
const EVALUATED: usize = 5;

/// Share of the time that is planned for, so that it is rarely exceeded.
const MARGIN: f64 = 0.95;

/// Seconds for what follows the last evaluation: pictures, report.
const CLOSING: f64 = 3.0;

/// Most passes over the training pictures that are planned: more do not help.
const MOST_EPOCHS: usize = 200;

/// Speed of a training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed {
    /// Seconds of a step.
    pub step: f64,
    /// Steps of an epoch.
    pub steps: usize,
    /// Seconds of the evaluation after each epoch.
    pub evaluation: f64,
    /// Seconds of the evaluation of the test data.
    pub test: f64,
}

/// Length of a training that ends in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Length {
    /// `train.epochs`.
    pub epochs: usize,
    /// `train.max_steps`.
    pub max_steps: usize,
}

impl Speed {
    /// Length of a training of `seconds`, with its evaluations; `None` if there is no time for ten steps.
    pub fn plan(&self, seconds: f64) -> Option<Length> {
        // The outputs for the report are a second pass over the test data.
        let left = MARGIN * seconds - 2.0 * self.test - CLOSING;
        let steps = self.steps.max(1);
        let per_step = self.step + self.evaluation / steps as f64;
        let most = MOST_EPOCHS * steps;
        let planned = (left / per_step).max(0.0).min(most as f64) as usize;
        (planned >= 10).then(|| Length {
            epochs: planned.div_ceil(steps),
            max_steps: planned,
        })
    }
}

impl Runner {
    /// Trains the first variant for about `seconds` to measure its speed. Nothing is kept of it. `None` if the
    /// [`StopFlag`](crate::StopFlag) was set. `seconds` is at least that of a few steps, and not negative.
    ///
    /// # Errors
    /// Those of a run.
    pub fn measure_speed(
        &mut self,
        experiment: &Experiment,
        seconds: f64,
        progress: &mut dyn Progress,
    ) -> Result<Option<Speed>> {
        let found = self.try_out(
            experiment,
            |recipe| recipe,
            progress,
            |runner, job, _, _| {
                let mut clock = Clock::new(Duration::from_secs_f64(seconds.clamp(0.0, 600.0)));
                let stop = &runner.options().stop;
                let times = job.time(&mut clock, EVALUATED, stop)?;
                let step = match clock.seconds_per_step() {
                    Some(step) => step,
                    None if stop.requested() => f64::INFINITY,
                    None => return Err(Error::Data("no step could be timed".to_string())),
                };
                Ok(Speed { step, ..times })
            },
        )?;
        Ok(found.and_then(|speeds| speeds.into_iter().next()))
    }
}

/// Callback that times steps and ends the training after enough of them.
struct Clock {
    most: Duration,
    /// Ends of the first step that counts, and of the last one.
    first: Option<Instant>,
    last: Option<Instant>,
    steps: usize,
    done: usize,
}

impl Clock {
    fn new(most: Duration) -> Self {
        Self {
            most,
            first: None,
            last: None,
            steps: 0,
            done: 0,
        }
    }

    fn seconds_per_step(&self) -> Option<f64> {
        let seconds = self.last?.duration_since(self.first?).as_secs_f64();
        (self.steps > 0).then(|| seconds / self.steps as f64)
    }
}

impl Callback for Clock {
    fn on_batch_end(&mut self, _batch: &BatchEnd) -> Flow {
        self.done += 1;
        let now = Instant::now();
        if self.done == UNTIMED {
            self.first = Some(now);
        }
        let Some(first) = self.first.filter(|_| self.done > UNTIMED) else {
            return CONTINUE;
        };
        self.steps += 1;
        self.last = Some(now);
        if self.steps >= TIMED && now.duration_since(first) >= self.most {
            return Ok(ControlFlow::Break("enough steps are timed".to_string()));
        }
        CONTINUE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_fills_the_time() {
        let speed = Speed {
            step: 0.1,
            steps: 100,
            evaluation: 2.0,
            test: 1.0,
        };
        let length = speed.plan(605.0 / MARGIN).unwrap();
        // 600 seconds for epochs of 12 seconds.
        assert_eq!(length.epochs, 50);
        assert_eq!(length.max_steps, 5000);
        assert_eq!(speed.plan(6.0), None);
        let most = speed.plan(1e9).unwrap();
        assert_eq!(most.epochs, MOST_EPOCHS);
    }

    /// A step that is far too slow for the time leaves no length, and no number overflows.
    #[test]
    fn a_slow_step_has_no_length() {
        let speed = Speed {
            step: 1e6,
            steps: 0,
            evaluation: 0.0,
            test: 0.0,
        };
        assert_eq!(speed.plan(60.0), None);
        assert_eq!(speed.plan(f64::NAN), None);
    }
}
