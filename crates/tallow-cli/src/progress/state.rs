//! State of the runs of an experiment while they are trained. Times are seconds since the start of the experiment.

use tallow_record::EpochRow;

/// The runs of an experiment.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Title: `quickstart, smoke tier`.
    pub title: String,
    /// All runs, in the order in which they are trained.
    pub runs: Vec<Run>,
    /// Index of the current run; the number of runs when all have ended.
    pub current: usize,
    /// Progress of the current run.
    pub now: Now,
    /// Loss of the current run so far.
    pub losses: Losses,
    /// Current time.
    pub time: f64,
}

/// Run of one variant with one seed.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// The variant's name.
    pub variant: String,
    /// The seed.
    pub seed: u64,
    /// Amount of computation in multiply-adds, for comparison with other runs.
    pub work: f64,
    /// Its finished epochs.
    pub rows: Vec<EpochRow>,
    /// Start time.
    pub started: Option<f64>,
    /// Duration, when it has ended.
    pub seconds: Option<f64>,
    /// Duration of the evaluation at the end of its last epoch.
    pub test_seconds: f64,
    /// Whether it failed.
    pub failed: bool,
}

/// Progress of the current run.
#[derive(Clone, Debug, Default)]
pub struct Now {
    /// The epoch, from 0.
    pub epoch: usize,
    /// Number of epochs.
    pub epochs: usize,
    /// Steps done of this epoch.
    pub step: usize,
    /// Steps of an epoch.
    pub steps: usize,
    /// Mean loss of the epoch so far; NaN before it is known.
    pub loss: f64,
    /// Accuracy of the epoch so far, in [0, 1].
    pub accuracy: f64,
    /// The learning rate of the last step.
    pub lr: f64,
    /// Images of the epoch so far.
    pub images: usize,
    /// Start time of the epoch.
    pub epoch_started: f64,
    /// Time at which its last step ended.
    pub step_ended: f64,
    /// Batches done and all batches of the evaluation that ends the epoch, when it has begun.
    pub testing: Option<(usize, usize)>,
}

impl Now {
    /// Training images per second in the epoch so far.
    pub fn images_per_second(&self) -> f64 {
        let seconds = self.step_ended - self.epoch_started;
        if self.images == 0 || seconds <= 0.0 {
            return 0.0;
        }
        self.images as f64 / seconds
    }

    /// Share of the training steps that are done, in [0, 1].
    pub fn share(&self) -> f64 {
        let epoch = self.step as f64 / self.steps.max(1) as f64;
        ((self.epoch as f64 + epoch) / self.epochs.max(1) as f64).min(1.0)
    }
}

/// Loss of a run at evenly spaced steps, for a curve.
#[derive(Clone, Debug)]
pub struct Losses {
    /// Steps of the run, from 1, each with the mean loss of its epoch so far.
    pub points: Vec<(f64, f64)>,
    every: usize,
}

/// Largest number of points of a curve; a terminal of 250 columns has about as many dots in a line.
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
    /// Adds the loss after a step, counted over the run from 1. A loss that is not finite is left out.
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
    /// The current run.
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

    /// Remaining seconds of this epoch: its steps at their speed so far, and an evaluation as long as the last one.
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

    /// Remaining seconds of all runs. A later run is expected to take as long as earlier ones of the same variant; where there was none,
    /// its duration is estimated from its amount of computation.
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
            metrics: Default::default(),
            ..EpochRow::default()
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
}
