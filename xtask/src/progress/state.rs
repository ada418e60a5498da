//! What is known of the runs of an experiment while they go on. Times are seconds since the experiment's start.

use tallow_train::EpochRow;

/// The runs of an experiment.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// What is run: `quickstart, smoke tier`.
    pub title: String,
    /// All runs, in the order in which they are trained.
    pub runs: Vec<Run>,
    /// Which of them goes on; past the last one at the end.
    pub current: usize,
    /// What it is at.
    pub now: Now,
    /// Its loss so far.
    pub losses: Losses,
    /// The time.
    pub time: f64,
}

/// A variant with a seed.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// The variant's name.
    pub variant: String,
    /// The seed.
    pub seed: u64,
    /// How much there is to do, in a measure that all runs share: multiplications.
    pub work: f64,
    /// Its finished epochs.
    pub rows: Vec<EpochRow>,
    /// When it began.
    pub started: Option<f64>,
    /// How long it took, once it has ended.
    pub seconds: Option<f64>,
    /// How long the test at the end of its last epoch took.
    pub test_seconds: f64,
    /// Whether it came to no end of its own.
    pub failed: bool,
}

/// Where the current run is.
#[derive(Clone, Debug, Default)]
pub struct Now {
    /// The epoch, from 0.
    pub epoch: usize,
    /// How many there are to be.
    pub epochs: usize,
    /// Steps done of this epoch.
    pub step: usize,
    /// How many there are to be.
    pub steps: usize,
    /// Mean loss of the epoch so far; NaN before it is known.
    pub loss: f64,
    /// Share predicted right in the epoch so far.
    pub accuracy: f64,
    /// The learning rate of the last step.
    pub lr: f64,
    /// Images of the epoch so far.
    pub images: usize,
    /// When the epoch began.
    pub epoch_started: f64,
    /// When its last step ended.
    pub step_ended: f64,
    /// Batches done and in all of the evaluation that ends the epoch, once it has begun.
    pub testing: Option<(usize, usize)>,
}

impl Now {
    /// Images a second in the epoch so far; testing does not count.
    pub fn images_per_second(&self) -> f64 {
        let seconds = self.step_ended - self.epoch_started;
        if self.images == 0 || seconds <= 0.0 {
            return 0.0;
        }
        self.images as f64 / seconds
    }

    /// The share of the run that is done, testing left out.
    pub fn share(&self) -> f64 {
        let epoch = self.step as f64 / self.steps.max(1) as f64;
        ((self.epoch as f64 + epoch) / self.epochs.max(1) as f64).min(1.0)
    }
}

/// The loss of a run step by step: so many of its steps, evenly spaced, as a curve needs.
#[derive(Clone, Debug)]
pub struct Losses {
    /// Steps of the run, from 1, each with the mean loss of its epoch so far.
    pub points: Vec<(f64, f64)>,
    every: usize,
}

/// Points of a curve at most; a terminal of 250 columns has as many dots in a line.
const POINTS: usize = 512;

impl Default for Losses {
    fn default() -> Self {
        Self {
            points: Vec::new(),
            every: 1,
        }
    }
}

impl Losses {
    /// After a step, counted over the run from 1. A loss that is not finite is left out.
    pub fn push(&mut self, step: usize, loss: f64) {
        if !step.is_multiple_of(self.every) || !loss.is_finite() {
            return;
        }
        self.points.push((step as f64, loss));
        if self.points.len() > POINTS {
            self.every *= 2;
            let every = self.every;
            self.points
                .retain(|(step, _)| (*step as usize).is_multiple_of(every));
        }
    }
}

impl State {
    /// The run that goes on.
    pub fn run(&self) -> Option<&Run> {
        self.runs.get(self.current)
    }

    /// `[3/12] cnn seed 1`.
    pub fn label(&self) -> String {
        let Some(run) = self.run() else {
            return String::new();
        };
        let (number, total) = (self.current + 1, self.runs.len());
        format!("[{number}/{total}] {} seed {}", run.variant, run.seed)
    }

    /// Seconds left of this epoch: of its steps at their pace so far, and of a test as long as the last one.
    pub fn epoch_left(&self) -> Option<f64> {
        let now = &self.now;
        if now.step == 0 {
            return None;
        }
        let test = self.run().map_or(0.0, |run| run.test_seconds);
        if let Some((done, of)) = now.testing {
            let since = self.time - now.step_ended;
            return (done > 0).then(|| since * (of - done) as f64 / done as f64);
        }
        let trained = now.step_ended - now.epoch_started;
        let steps = now.steps.saturating_sub(now.step) as f64;
        let since = self.time - now.step_ended;
        Some((trained * steps / now.step as f64 + test - since).max(0.0))
    }

    /// Seconds left of all runs. A run that is to come takes as long as one of the same variant; where there was none, as its
    /// work compares with that of the runs so far.
    pub fn left(&self) -> Option<f64> {
        let current = self.run().and_then(|run| {
            let share = self.now.share();
            let since = self.time - run.started?;
            (share > 0.0).then_some((run, since / share, since))
        });
        let ended = self.runs.iter().filter(|run| !run.failed);
        let ended = ended.filter_map(|run| Some((run, run.seconds?)));
        let known: Vec<(&Run, f64)> = ended
            .chain(current.map(|(run, all, _)| (run, all)))
            .collect();
        if known.is_empty() {
            return None;
        }
        let pace = known.iter().map(|(_, s)| s).sum::<f64>()
            / known.iter().map(|(run, _)| run.work).sum::<f64>();
        let estimate = |run: &Run| {
            let alike = known
                .iter()
                .filter(|(other, _)| other.variant == run.variant);
            let (count, seconds) = alike.fold((0, 0.0), |(n, sum), (_, s)| (n + 1, sum + s));
            if count > 0 {
                seconds / f64::from(count)
            } else {
                run.work * pace
            }
        };
        let mut left: f64 = self.runs.iter().skip(self.current + 1).map(estimate).sum();
        match (current, self.run()) {
            (Some((_, all, since)), _) => left += (all - since).max(0.0),
            (None, Some(run)) => left += estimate(run),
            (None, None) => {}
        }
        left.is_finite().then_some(left)
    }
}

/// `42 s`, `3 min 20 s`, `2 h 05 min`.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole / 60 % 60),
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Four runs of two variants, the second run in its second of four epochs.
    pub fn state() -> State {
        let row = |epoch: usize, accuracy: f64| EpochRow {
            epoch,
            train_loss: 2.0 / (epoch + 1) as f64,
            train_accuracy: accuracy - 0.05,
            test_loss: Some(2.2 / (epoch + 1) as f64),
            test_accuracy: Some(accuracy),
            test_top5: None,
            lr: 0.01,
            seconds: 10.0,
            images_per_second: 640.0,
        };
        let run = |variant: &str, seed, work| Run {
            variant: variant.to_string(),
            seed,
            work,
            ..Run::default()
        };
        let mut runs = vec![
            run("fc", 0, 1e9),
            run("fc", 1, 1e9),
            run("cnn", 0, 4e9),
            run("cnn", 1, 4e9),
        ];
        runs[0].rows = (0..4).map(|e| row(e, 0.5 + 0.1 * e as f64)).collect();
        runs[0].started = Some(0.0);
        runs[0].seconds = Some(40.0);
        runs[1].rows = vec![row(0, 0.55)];
        runs[1].started = Some(40.0);
        runs[1].test_seconds = 2.0;
        let mut losses = Losses::default();
        for step in 1..=125 {
            losses.push(step, 2.5 / f64::from(step as u32).sqrt());
        }
        State {
            title: "quickstart, smoke tier".to_string(),
            runs,
            losses,
            current: 1,
            now: Now {
                epoch: 1,
                epochs: 4,
                step: 25,
                steps: 100,
                loss: 1.25,
                accuracy: 0.575,
                lr: 0.01,
                images: 1600,
                epoch_started: 50.0,
                step_ended: 52.5,
                testing: None,
            },
            time: 52.5,
        }
    }

    #[test]
    fn time_left_follows_pace_and_work() {
        let mut state = state();
        assert_eq!(state.now.images_per_second(), 640.0);
        assert_eq!(state.label(), "[2/4] fc seed 1");
        // 75 steps at a tenth of a second, and the test.
        assert_eq!(state.epoch_left(), Some(9.5));
        // 12.5 seconds were 5/16 of this run, so all of it takes 40 and 27.5 are left; 80 seconds for work 2, so 160 for each run
        // of work 4.
        assert_eq!(state.left(), Some(27.5 + 2.0 * 160.0));

        state.now.testing = Some((1, 4));
        state.time = 53.0;
        assert_eq!(state.epoch_left(), Some(1.5));

        // A run of the same variant tells more than its work.
        state.runs[2].seconds = Some(100.0);
        state.current = 3;
        state.now = Now::default();
        assert_eq!(state.epoch_left(), None);
        assert_eq!(state.left(), Some(100.0));
        state.current = 4;
        assert_eq!(state.left(), Some(0.0));
        assert_eq!(state.label(), "");
    }

    #[test]
    fn nothing_is_known_at_the_start() {
        let mut state = State {
            runs: vec![Run::default()],
            ..State::default()
        };
        assert_eq!((state.epoch_left(), state.left()), (None, None));
        assert_eq!(state.now.images_per_second(), 0.0);
        // Nor where no work is known.
        state.runs.push(Run::default());
        state.runs[0].seconds = Some(1.0);
        state.runs[1].variant = "other".to_string();
        state.current = 1;
        assert_eq!(state.left(), None);
    }

    #[test]
    fn a_long_run_keeps_few_losses_evenly_spaced() {
        let mut losses = Losses::default();
        for step in 1..=100_000 {
            let loss = if step == 512 { f64::NAN } else { 1.0 };
            losses.push(step, loss);
        }
        let steps: Vec<f64> = losses.points.iter().map(|(step, _)| *step).collect();
        assert!((POINTS / 2..=POINTS).contains(&steps.len()));
        let gaps = steps.windows(2).map(|pair| pair[1] - pair[0]);
        let odd = gaps.filter(|gap| *gap != losses.every as f64).count();
        assert_eq!(odd, 1, "where the loss was not finite: {steps:?}");
    }

    #[test]
    fn durations() {
        for (seconds, text) in [
            (0.2, "0 s"),
            (59.4, "59 s"),
            (59.6, "1 min 00 s"),
            (3599.0, "59 min 59 s"),
            (7500.0, "2 h 05 min"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }
}
