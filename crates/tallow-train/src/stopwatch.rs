//! Time of a run by what it is spent on.

use std::cell::Cell;
use std::time::{Duration, Instant};

use candle_core::{Result, Tensor};
use candle_nn::ModuleT;
use tallow_record::Profile;

/// Part of a run that time is spent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Data,
    Backward,
    Step,
    Evaluation,
    Callbacks,
    Checkpoints,
    Other,
}

/// Stopwatch: each lap is the time since the one before it.
pub(crate) struct Stopwatch {
    last: Instant,
    profile: Profile,
}

impl Stopwatch {
    pub fn start() -> Self {
        Self {
            last: Instant::now(),
            profile: Profile::default(),
        }
    }

    /// The time since the last lap was spent on `phase`.
    pub fn lap(&mut self, phase: Phase) {
        let seconds = self.since_last();
        let profile = &mut self.profile;
        *match phase {
            Phase::Data => &mut profile.data,
            Phase::Backward => &mut profile.backward,
            Phase::Step => &mut profile.step,
            Phase::Evaluation => &mut profile.evaluation,
            Phase::Callbacks => &mut profile.callbacks,
            Phase::Checkpoints => &mut profile.checkpoints,
            Phase::Other => &mut profile.other,
        } += seconds;
    }

    /// The time since the last lap was spent on a training step, of which the model ran for `forward` and other ranks were waited for.
    pub fn training_step(&mut self, forward: Duration, waited: Duration) {
        let (forward, waited) = (forward.as_secs_f64(), waited.as_secs_f64());
        self.profile.steps += 1;
        self.profile.forward += forward;
        self.profile.exchange += waited;
        self.profile.backward -= forward + waited;
        self.lap(Phase::Backward);
    }

    /// Number of steps so far that a device repeated.
    pub fn repeated(&mut self, steps: u64) {
        self.profile.graph_steps = steps;
    }

    /// The times so far; the rest since the last lap is left out.
    pub fn profile(&self) -> Profile {
        self.profile.clone()
    }

    fn since_last(&mut self) -> f64 {
        let now = Instant::now();
        let seconds = now.duration_since(self.last).as_secs_f64();
        self.last = now;
        seconds
    }
}

/// Model that measures its forward passes.
pub(crate) struct Timed<'a> {
    model: &'a dyn ModuleT,
    spent: Cell<Duration>,
}

impl<'a> Timed<'a> {
    pub fn new(model: &'a dyn ModuleT) -> Self {
        Self {
            model,
            spent: Cell::default(),
        }
    }

    /// Time of the forward passes since the last call.
    pub fn take(&self) -> Duration {
        self.spent.take()
    }
}

impl ModuleT for Timed<'_> {
    fn forward_t(&self, images: &Tensor, train: bool) -> Result<Tensor> {
        let started = Instant::now();
        let logits = self.model.forward_t(images, train);
        self.spent.set(self.spent.get() + started.elapsed());
        logits
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    struct Slow;

    impl ModuleT for Slow {
        fn forward_t(&self, images: &Tensor, _: bool) -> Result<Tensor> {
            std::thread::sleep(Duration::from_millis(5));
            Ok(images.clone())
        }
    }

    #[test]
    fn each_lap_is_counted_once() {
        let started = Instant::now();
        let mut watch = Stopwatch::start();
        std::thread::sleep(Duration::from_millis(4));
        watch.lap(Phase::Data);
        let model = Timed::new(&Slow);
        let images = Tensor::new(0f32, &Device::Cpu).unwrap();
        model.forward_t(&images, true).unwrap();
        model.forward_t(&images, true).unwrap();
        std::thread::sleep(Duration::from_millis(3));
        let started_waiting = Instant::now();
        std::thread::sleep(Duration::from_millis(2));
        watch.training_step(model.take(), started_waiting.elapsed());
        assert_eq!(model.take(), Duration::ZERO);
        watch.lap(Phase::Step);
        let profile = watch.profile();
        assert_eq!(profile.steps, 1);
        assert!(
            profile.data >= 4e-3 && profile.forward >= 10e-3,
            "{profile:?}"
        );
        assert!(
            profile.backward >= 3e-3 && profile.exchange >= 2e-3 && profile.step < profile.backward,
            "{profile:?}"
        );
        assert!(profile.total() <= started.elapsed().as_secs_f64());
    }
}
