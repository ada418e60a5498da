//! Training on several ranks: threads of one process.

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tallow_datasets::Split;
use tallow_metrics::Metric;
use tallow_train::{
    BatchEnd, CONTINUE, Callback, CheckpointConfig, Clip, Communicator, EmaConfig, EpochEnd, Error,
    Flow, History, MixConfig, Monitor, NormStatistics, SamConfig, SwaConfig, Threads, TrainConfig,
    Trainer, Tta,
};

use crate::common::{bytes, loader, net, recipe, textures};

/// 99 images in batches of 32: the last batch has three, fewer than chunks.
const SAMPLES: usize = 99;

/// Everything that draws random numbers or changes gradients and weights.
pub(crate) fn everything(epochs: usize) -> TrainConfig {
    TrainConfig {
        mix: Some(MixConfig {
            mixup_alpha: 0.4,
            cutmix_alpha: 1.0,
            probability: 0.8,
            ..MixConfig::default()
        }),
        clip: Some(Clip::Norm(0.5)),
        chunks: 4,
        sam: Some(SamConfig::default()),
        ema: Some(EmaConfig {
            decay: 0.9,
            every: 2,
            ..EmaConfig::default()
        }),
        tta: Some(Tta::Flip),
        ..recipe(epochs)
    }
}

/// Metric whose last bits depend on the order of the batches.
#[derive(Debug, Default)]
struct SumOfLogits(f32);

impl Metric for SumOfLogits {
    fn name(&self) -> Cow<'static, str> {
        "sum_of_logits".into()
    }

    fn update_logits(&mut self, logits: &[f32], _: usize, _: &[u32]) -> tallow_metrics::Result<()> {
        self.0 += logits.iter().sum::<f32>();
        Ok(())
    }

    fn merge(&mut self, other: &Self) -> tallow_metrics::Result<()> {
        self.0 += other.0;
        Ok(())
    }

    fn value(&self) -> Option<f64> {
        Some(self.0.into())
    }

    fn reset(&mut self) {
        self.0 = 0.0;
    }
}

/// Weights and figures of a run.
#[derive(Debug, PartialEq)]
pub(crate) struct Run {
    weights: Vec<u8>,
    rows: Vec<[Option<f64>; 5]>,
    loss: Option<f64>,
}

/// One rank of a run, with checkpoints in `dir`.
pub(crate) fn rank<'t>(config: &TrainConfig, dir: Option<&Path>) -> Trainer<'t> {
    let trainer = Trainer::new(config.clone()).with_metric(SumOfLogits::default());
    match dir {
        Some(dir) => trainer.with_checkpoints(dir),
        None => trainer,
    }
}

pub(crate) fn fit(mut trainer: Trainer, seed: u64) -> Result<(History, Run), Error> {
    let (net, store) = net(seed);
    let train = loader(textures(Split::Train, SAMPLES), 0, 1);
    let test = loader(textures(Split::Test, 200), 0, 1);
    let history = trainer.fit(&net, &store, &train, Some(&test))?;
    let rows = history.rows.iter().map(|row| {
        let sum = row.metrics.get("sum_of_logits").copied().flatten();
        let (loss, accuracy) = (Some(row.train_loss), Some(row.train_accuracy));
        [loss, accuracy, row.test_loss, row.test_accuracy, sum]
    });
    let run = Run {
        weights: bytes(&store, tempfile::tempdir().unwrap().path()),
        rows: rows.collect(),
        loss: history.evaluation.as_ref().map(|e| e.loss),
    };
    Ok((history, run))
}

/// Results of `work` as each rank of a world.
pub(crate) fn world<R: Send>(
    ranks: impl IntoIterator<Item = impl Communicator + 'static>,
    work: impl Fn(usize, Arc<dyn Communicator>) -> R + Sync,
) -> Vec<thread::Result<R>> {
    thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (ranks.into_iter())
            .map(|ranks| scope.spawn(move || work(ranks.rank(), Arc::new(ranks))))
            .collect();
        threads.into_iter().map(|thread| thread.join()).collect()
    })
}

/// Runs of all ranks of a world, which are equal.
fn run(size: usize, config: &TrainConfig, dir: Option<&Path>) -> Run {
    let runs = world(Threads::world(size), |_, ranks| {
        fit(rank(config, dir).with_communicator(ranks), 0)
            .unwrap()
            .1
    });
    let mut runs: Vec<Run> = runs.into_iter().map(|run| run.unwrap()).collect();
    let first = runs.swap_remove(0);
    assert!(runs.iter().all(|run| *run == first));
    first
}

#[test]
fn any_number_of_ranks_trains_the_same_weights() {
    let mut averaged = everything(2);
    (averaged.ema, averaged.sam) = (None, None);
    averaged.norm_statistics = NormStatistics::Mean;
    averaged.swa = Some(SwaConfig {
        start: 0,
        lr: None,
        anneal_epochs: 0,
        anneal: Default::default(),
    });
    for config in [everything(2), averaged] {
        let (_, alone) = fit(rank(&config, None), 0).unwrap();
        assert!(alone.rows.iter().flatten().all(Option::is_some));
        for size in [1, 2, 4] {
            assert_eq!(run(size, &config, None), alone, "{size} ranks");
        }
        let other = TrainConfig {
            chunks: 2,
            ..config
        };
        assert_ne!(fit(rank(&other, None), 0).unwrap().1, alone);
    }
}

/// Chunks that are no power of two, of which each rank has a power of two.
#[test]
fn six_chunks_are_shared_by_three_and_six_ranks() {
    let config = TrainConfig {
        chunks: 6,
        ..everything(1)
    };
    let (_, alone) = fit(rank(&config, None), 0).unwrap();
    for size in [3, 6] {
        assert_eq!(run(size, &config, None), alone, "{size} ranks");
    }
}

#[test]
fn a_run_moves_to_other_numbers_of_ranks() {
    let dir = tempfile::tempdir().unwrap();
    let (_, straight) = fit(rank(&everything(3), None), 0).unwrap();
    run(4, &everything(1), Some(dir.path()));
    run(2, &everything(2), Some(dir.path()));
    let (_, moved) = fit(rank(&everything(3), Some(dir.path())), 5).unwrap();
    assert_eq!(moved, straight);
}

/// A signal reaches one rank after its third step, or during the evaluation after its fourth one, the last of the epoch.
#[test]
fn an_interrupt_of_one_rank_stops_all_after_the_same_step() {
    let (_, straight) = fit(rank(&everything(2), None), 0).unwrap();
    for (after, checkpoint) in [(3, "epoch-000000-step-000003"), (5, "epoch-000001")] {
        let dir = tempfile::tempdir().unwrap();
        let times = AtomicUsize::new(0);
        let stopped = world(Threads::world(4), |number, ranks| {
            // Asked before the epoch, after each step, and after the epoch.
            let asked = || number == 3 && times.fetch_add(1, Ordering::Relaxed) >= after;
            let trainer = rank(&everything(2), None)
                // None that is due by itself.
                .with_checkpoints_at(dir.path(), CheckpointConfig::default())
                .with_communicator(ranks)
                .with_interrupt(asked);
            fit(trainer, 0).unwrap().0
        });
        for history in stopped {
            assert!(history.unwrap().interrupted);
        }
        assert!(dir.path().join(checkpoint).is_dir(), "{checkpoint}");
        assert_eq!(run(2, &everything(2), Some(dir.path())), straight);
    }
}

/// Callback that ends a run after the second step, or after the first epoch.
struct Ends {
    in_epoch: bool,
}

impl Callback for Ends {
    fn on_batch_end(&mut self, batch: &BatchEnd) -> Flow {
        match self.in_epoch && batch.step == 1 {
            true => Ok(ControlFlow::Break("seen enough".to_string())),
            false => CONTINUE,
        }
    }

    fn on_epoch_end(&mut self, _: &EpochEnd) -> Flow {
        Ok(ControlFlow::Break("it is late".to_string()))
    }
}

#[test]
fn a_callback_of_one_rank_stops_all() {
    for (in_epoch, rows, reason) in [(true, 0, "seen enough"), (false, 1, "it is late")] {
        let found = world(Threads::world(2), |number, ranks| {
            let mut trainer = rank(&everything(3), None).with_communicator(ranks);
            if number == 0 {
                trainer = trainer.with_callback(Ends { in_epoch });
            }
            fit(trainer, 0).unwrap().0
        });
        for history in found {
            let history = history.unwrap();
            assert_eq!(history.rows.len(), rows);
            assert_eq!(history.stopped.as_deref(), Some(reason));
        }
    }
}

#[test]
fn the_weights_of_the_best_epoch_are_those_of_one_rank() {
    let best = |trainer: Trainer<'static>| fit(trainer.with_restore_best(Monitor::TestLoss), 0);
    let (history, alone) = best(rank(&everything(3), None)).unwrap();
    let found = world(Threads::world(2), |_, ranks| {
        best(rank(&everything(3), None).with_communicator(ranks)).unwrap()
    });
    for found in found {
        let (shared, run) = found.unwrap();
        assert_eq!(shared.restored, history.restored);
        assert_eq!(run, alone);
    }
}

#[test]
fn a_loss_that_is_not_finite_ends_all_in_the_same_step() {
    let mut config = everything(1);
    (config.mix, config.clip, config.sam) = (None, None, None);
    config.optimizer = tallow_train::OptimizerConfig::sgd_momentum(1e30, 0.9);
    let found = world(Threads::world(4), |_, ranks| {
        match fit(rank(&config, None).with_communicator(ranks), 0) {
            Err(Error::NonFiniteLoss { epoch, step, .. }) => (epoch, step),
            Err(Error::NonFiniteGradient { epoch, step, .. }) => (epoch, step),
            other => panic!("{:?}", other.map(|(_, run)| run)),
        }
    });
    let found: Vec<_> = found.into_iter().map(|found| found.unwrap()).collect();
    assert!(found.iter().all(|at| *at == found[0]), "{found:?}");
}

#[test]
fn a_rank_that_panics_ends_the_others_within_the_limit() {
    /// Callback that panics in the second step.
    struct Panics;
    impl Callback for Panics {
        fn on_batch_end(&mut self, batch: &BatchEnd) -> Flow {
            assert!(batch.step == 0, "on purpose");
            CONTINUE
        }
    }
    let started = Instant::now();
    let limit = Duration::from_secs(60);
    let ranks = Threads::world(4)
        .into_iter()
        .map(|ranks| ranks.with_limit(limit));
    let found = world(ranks, |number, ranks| {
        let mut trainer = rank(&everything(3), None).with_communicator(ranks);
        if number == 2 {
            trainer = trainer.with_callback(Panics);
        }
        fit(trainer, 0).map(|(history, _)| history.rows.len())
    });
    assert!(started.elapsed() < limit);
    for (number, found) in found.into_iter().enumerate() {
        match found {
            Err(_) => assert_eq!(number, 2),
            Ok(found) => {
                let error = found.unwrap_err().to_string();
                assert_eq!(error, "rank 2 has panicked");
            }
        }
    }
}

/// Errors of two ranks of which the second one is made by `other`.
fn refused<'t>(other: impl Fn() -> Trainer<'t> + Sync, seed: u64) -> String {
    let found = world(Threads::world(2), |number, ranks| {
        let (trainer, seed) = match number {
            0 => (rank(&everything(1), None), 0),
            _ => (other(), seed),
        };
        let error = fit(trainer.with_communicator(ranks), seed).unwrap_err();
        error.to_string()
    });
    let mut errors = found.into_iter().map(|error| error.unwrap());
    let (first, second) = (errors.next().unwrap(), errors.next().unwrap());
    assert_eq!(first, second);
    first
}

#[test]
fn ranks_that_differ_are_refused_with_the_difference() {
    let mut faster = everything(1);
    faster.optimizer = tallow_train::OptimizerConfig::sgd_momentum(0.1, 0.9);
    let error = refused(|| rank(&faster, None), 0);
    let expected = "rank 1 differs from rank 0: train.optimizer.lr 0.05 -> 0.1;";
    assert!(error.starts_with(expected), "{error}");

    // Its last evaluation would wait for the others.
    let best = || rank(&everything(1), None).with_restore_best(Monitor::TestLoss);
    let error = refused(best, 0);
    let expected = "rank 1 differs from rank 0: restore_best null -> \"test_loss\";";
    assert!(error.starts_with(expected), "{error}");

    let error = refused(|| rank(&everything(1), None), 3);
    let expected =
        "the weights of rank 1 are not those of rank 0 at the start: `conv.weight` differs";
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn chunks_that_cannot_be_shared_out_are_refused() {
    for (size, chunks, message) in [
        (2, 1, "chunks: 2 ranks cannot share 1 chunk of a batch out"),
        (3, 4, "start 1, 2, 4 ranks"),
        (2, 6, "start 1, 3, 6 ranks"),
        (4, 2, "set `train.chunks` to 4 times a power of two"),
    ] {
        let config = TrainConfig {
            chunks,
            ..everything(1)
        };
        let found = world(Threads::world(size), |_, ranks| {
            let trainer = rank(&config, None).with_communicator(ranks);
            fit(trainer, 0).unwrap_err().to_string()
        });
        for error in found {
            let error = error.unwrap();
            assert!(error.contains(message), "{error}");
        }
    }
}

#[test]
fn the_first_rank_alone_writes_checkpoints() {
    let dir = tempfile::tempdir().unwrap();
    let folder = |number: usize| dir.path().join(number.to_string());
    let found = world(Threads::world(2), |number, ranks| {
        let trainer = rank(&everything(1), Some(&folder(number)));
        fit(trainer.with_communicator(ranks), 0).unwrap();
    });
    assert!(found.iter().all(Result::is_ok));
    assert!(folder(0).join("epoch-000001/state.json").is_file());
    assert!(!folder(1).exists());
}
