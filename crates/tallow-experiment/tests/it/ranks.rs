//! Runs on several ranks: threads of one process.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use tallow_experiment::{NoProgress, Resume, Runner, RunnerOptions, StopFlag};
use tallow_record::Run;
use tallow_train::{Communicator, Threads};

use crate::support::{SMALL, experiment, train};

/// Dropout, augmentation, mixing and validation, in chunks that two ranks share out.
const SETS: [&str; 5] = [
    "train.chunks=4",
    "train.mix={mixup_alpha=0.3}",
    "train.augment=[{name=\"random-horizontal-flip\"}]",
    "data.validation=0.2",
    "train.restore_best=true",
];

fn options(ranks: Arc<dyn Communicator>, out: PathBuf, stop: &StopFlag) -> RunnerOptions {
    RunnerOptions {
        out,
        communicator: ranks,
        stop: stop.clone(),
        resume: Resume::Auto,
        ..RunnerOptions::default()
    }
}

/// Runs an experiment on two ranks, each with a folder of its own. Whether it came to its end.
fn together(sets: &[&str], out: &Path, stop: &StopFlag) -> bool {
    let ends: Vec<bool> = thread::scope(|scope| {
        let threads = Threads::world(2).into_iter().map(|ranks| {
            scope.spawn(move || {
                let (number, ranks) = (ranks.rank(), Arc::new(ranks));
                let out = out.join(number.to_string());
                let mut runner = Runner::new(options(ranks, out, stop));
                let experiment = experiment(SMALL, sets);
                match number {
                    0 => {
                        let outcome = runner.run(&experiment, "test", &mut NoProgress);
                        outcome.unwrap().is_some()
                    }
                    _ => runner.follow(&experiment).unwrap(),
                }
            })
        });
        let threads: Vec<_> = threads.collect();
        let joined = threads.into_iter().map(|thread| thread.join().unwrap());
        joined.collect()
    });
    assert_eq!(ends[0], ends[1]);
    ends[0]
}

/// Records below a folder, in the order of their variants.
fn records(out: &Path) -> Vec<Run> {
    let mut runs: Vec<Run> = tallow_record::find_runs(out, None)
        .unwrap()
        .iter()
        .map(|folder| Run::read(folder).unwrap())
        .collect();
    runs.sort_by(|a, b| a.info.variant.cmp(&b.info.variant));
    runs
}

fn assert_same(alone: &Path, shared: &Path) {
    let (alone, shared) = (records(alone), records(shared));
    assert_eq!((alone.len(), shared.len()), (2, 2));
    for (a, b) in alone.iter().zip(&shared) {
        let weights = |run: &Run| fs::read(run.dir.join("model.safetensors")).unwrap();
        assert!(weights(a) == weights(b), "{}", a.info.variant);
        let figures = |run: &Run| {
            let mut metrics = run.summary.as_ref().unwrap().metrics.clone();
            metrics.retain(|name, _| name != "seconds" && name != "images_per_second");
            metrics
        };
        assert_eq!(figures(a), figures(b));
    }
}

#[test]
fn two_ranks_write_the_records_of_one() {
    let dir = tempfile::tempdir().unwrap();
    let alone = dir.path().join("alone");
    train(&experiment(SMALL, &SETS), &alone);
    assert!(together(&SETS, dir.path(), &StopFlag::new()));
    assert_same(&alone, &dir.path().join("0"));
    // The second rank writes nothing.
    assert!(!dir.path().join("1").exists());
}

/// The flag is one of both ranks here; an interrupt of a single rank is a test of the trainer.
#[test]
fn an_interrupted_run_goes_on_with_another_number_of_ranks() {
    let dir = tempfile::tempdir().unwrap();
    let alone = dir.path().join("alone");
    train(&experiment(SMALL, &SETS), &alone);
    let stop = StopFlag::new();
    stop.request();
    assert!(!together(&SETS, dir.path(), &stop));
    let shared = dir.path().join("0");
    let interrupted = records(&shared);
    assert!(interrupted.len() == 1 && interrupted[0].summary.is_none());

    // One rank continues, as a program of its own would.
    let alone_again = RunnerOptions {
        out: shared.clone(),
        resume: Resume::Auto,
        ..RunnerOptions::default()
    };
    let outcome = Runner::new(alone_again).run(&experiment(SMALL, &SETS), "test", &mut NoProgress);
    assert!(outcome.unwrap().is_some());
    assert_same(&alone, &shared);
}

#[test]
fn ranks_with_other_recipes_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path();
    let errors: Vec<String> = thread::scope(|scope| {
        let threads = Threads::world(2).into_iter().map(|ranks| {
            scope.spawn(move || {
                let (number, ranks) = (ranks.rank(), Arc::new(ranks));
                let stop = StopFlag::new();
                let mut runner = Runner::new(options(ranks, out.to_path_buf(), &stop));
                match number {
                    0 => {
                        let experiment = experiment(SMALL, &SETS);
                        let outcome = runner.run(&experiment, "test", &mut NoProgress);
                        outcome.err().unwrap().message()
                    }
                    _ => {
                        let sets = [&SETS[..], &["train.epochs=3"]].concat();
                        let experiment = experiment(SMALL, &sets);
                        runner.follow(&experiment).unwrap_err().message()
                    }
                }
            })
        });
        let threads: Vec<_> = threads.collect();
        let joined = threads.into_iter().map(|thread| thread.join().unwrap());
        joined.collect()
    });
    for error in errors {
        let expected = "rank 1 differs from rank 0: runs[0].recipe.train.epochs 2 -> 3";
        assert!(error.starts_with(expected), "{error}");
    }
}
