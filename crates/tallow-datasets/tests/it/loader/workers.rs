//! Background threads: order, bounds, errors, panics and their end.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use tallow_datasets::{Batch, DataLoader, Dataset, Error, LoaderConfig, Result};

use crate::loader::told::{Ragged, Told};
use crate::loader::{bits, config, loader, plain, random, set};

/// Fails instead of hanging when `f` does not return.
fn within<T: Send + 'static>(seconds: u64, f: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(f()));
    receiver
        .recv_timeout(Duration::from_secs(seconds))
        .expect("it hangs or has panicked")
}

#[test]
fn workers_change_no_bit() {
    let run = |workers, prefetch| -> Vec<_> {
        let config = LoaderConfig {
            prefetch,
            ..config(5, workers)
        };
        let loader = loader(set(43), random(), config);
        (0..3)
            .flat_map(|epoch| {
                loader
                    .epoch(epoch)
                    .map(|batch| bits(&batch.unwrap()))
                    .collect::<Vec<_>>()
            })
            .collect()
    };
    let alone = run(0, 2);
    assert_eq!(alone.len(), 27);
    for (workers, prefetch) in [(1, 2), (3, 2), (3, 0), (2, 1), (40, 1)] {
        assert!(
            run(workers, prefetch) == alone,
            "{workers} workers, prefetch {prefetch}"
        );
    }
    // The epochs differ in more than their order: so do the crops.
    let sample = |epoch: usize| {
        alone[epoch * 9..][..9]
            .iter()
            .find_map(|(_, images, _, indices)| {
                indices
                    .iter()
                    .position(|&i| i == 7)
                    .map(|at| images[at * 32..][..32].to_vec())
            })
    };
    assert!(sample(0) != sample(1) || sample(1) != sample(2));
}

/// An epoch that starts in its middle gives the rest of the batches, and reads no image of the others.
#[test]
fn the_rest_of_an_epoch_is_that_of_the_whole() {
    for workers in [0, 1, 3, 40] {
        let told = Told::new(43, |_| Ok(()));
        let asked = told.asked.clone();
        let loader = loader(told, random(), config(5, workers));
        let whole: Vec<_> = loader.epoch(2).map(|batch| bits(&batch.unwrap())).collect();
        assert_eq!((whole.len(), asked.swap(0, Ordering::SeqCst)), (9, 43));
        for first in [0, 1, 4, 8, 9, 10, usize::MAX] {
            let rest = loader.epoch_from(2, first);
            let rest: Vec<_> = rest.map(|batch| bits(&batch.unwrap())).collect();
            assert!(
                rest == whole[first.min(9)..],
                "from {first}, {workers} workers"
            );
            let samples = 43usize.saturating_sub(first.saturating_mul(5));
            assert_eq!(asked.swap(0, Ordering::SeqCst), samples, "from {first}");
        }
    }
}

#[test]
fn slow_samples_do_not_change_the_order() {
    let told = Told::new(24, |index| {
        std::thread::sleep(Duration::from_millis(if index < 6 { 30 } else { 0 }));
        Ok(())
    });
    let config = LoaderConfig {
        shuffle: false,
        ..config(3, 3)
    };
    let seen: Vec<usize> = loader(told, plain(), config)
        .epoch(0)
        .flat_map(|batch| batch.unwrap().indices)
        .collect();
    assert!(seen.into_iter().eq(0..24));
}

#[test]
fn prefetch_is_bounded() {
    let told = Told::new(100, |_| Ok(()));
    let asked = told.asked.clone();
    let config = LoaderConfig {
        prefetch: 2,
        ..config(1, 3)
    };
    let mut epoch = loader(told, plain(), config).epoch(0);
    epoch.next().unwrap().unwrap();
    // One taken; of each worker two waiting and one in its hands.
    let bound = 1 + 3 * (2 + 1);
    let start = Instant::now();
    while asked.load(Ordering::SeqCst) < bound {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "less than the bound"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(asked.load(Ordering::SeqCst), bound);
    assert_eq!(epoch.size_hint(), (1, Some(99)));
}

#[test]
fn an_error_arrives_at_its_batch_and_ends_the_epoch() {
    for workers in [0, 1, 3] {
        let seen: Vec<Result<Batch>> = within(20, move || {
            let told = Told::new(40, |index| match index {
                22 => Err(Error::Argument("sample 22 is bad".into())),
                _ => Ok(()),
            });
            let config = LoaderConfig {
                shuffle: false,
                ..config(4, workers)
            };
            let mut epoch = loader(told, plain(), config).epoch(0);
            let seen = epoch.by_ref().collect();
            assert!(epoch.next().is_none(), "it stays ended");
            assert_eq!(epoch.size_hint(), (0, Some(0)));
            seen
        });
        assert_eq!(
            seen.len(),
            6,
            "five batches and the error, {workers} workers"
        );
        assert!(seen[..5].iter().all(|batch| batch.is_ok()));
        assert_eq!(
            seen[5].as_ref().unwrap_err().to_string(),
            "sample 22 is bad"
        );
    }
}

#[test]
fn a_panic_becomes_an_error() {
    for workers in [0, 1, 3] {
        let seen: Vec<Result<Batch>> = within(20, move || {
            let told = Told::new(40, |index| {
                assert!(index != 13, "no sample {index}");
                Ok(())
            });
            let config = LoaderConfig {
                shuffle: false,
                ..config(4, workers)
            };
            loader(told, plain(), config).epoch(0).collect()
        });
        assert_eq!(seen.len(), 4, "{workers} workers");
        let error = seen[3].as_ref().unwrap_err();
        assert!(matches!(error, Error::Loader(_)), "{error:?}");
        assert_eq!(
            error.to_string(),
            "data loader: batch 3: the dataset or a transform panicked: no sample 13"
        );
    }
}

#[test]
fn dropping_the_epoch_joins_the_threads() {
    for (taken, prefetch) in [(0, 0), (0, 2), (3, 0), (3, 2)] {
        within(20, move || {
            let told = Told::new(1000, |_| {
                std::thread::sleep(Duration::from_millis(1));
                Ok(())
            });
            let asked = told.asked.clone();
            let dataset: Arc<dyn Dataset> = Arc::new(told);
            let config = LoaderConfig {
                prefetch,
                ..config(10, 3)
            };
            let loader = DataLoader::new(dataset.clone(), plain(), config).unwrap();
            let mut epoch = loader.epoch(0);
            for _ in 0..taken {
                epoch.next().unwrap().unwrap();
            }
            drop(epoch);
            drop(loader);
            // Every worker held the dataset: now nobody but this test does.
            assert_eq!(Arc::strong_count(&dataset), 1);
            let after = asked.load(Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(20));
            assert_eq!(asked.load(Ordering::SeqCst), after);
            assert!(after < 1000);
        });
    }
}

#[test]
fn a_drop_does_not_wait_for_the_batch() {
    let told = Told::new(1000, |_| {
        std::thread::sleep(Duration::from_millis(10));
        Ok(())
    });
    let asked = told.asked.clone();
    let epoch = loader(told, plain(), config(1000, 1)).epoch(0);
    while asked.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
    drop(epoch);
    assert!(
        asked.load(Ordering::SeqCst) < 1000,
        "stopped amid the batch"
    );
}

#[test]
fn workers_end_with_the_epoch() {
    let dataset: Arc<dyn Dataset> = Arc::new(set(12));
    let loader = DataLoader::new(dataset.clone(), plain(), config(4, 3)).unwrap();
    let mut epoch = loader.epoch(0);
    assert_eq!(epoch.by_ref().count(), 3);
    let before = Arc::strong_count(&dataset);
    drop(epoch);
    assert_eq!(
        before, 3,
        "the test, the loader and the epoch; no thread is left"
    );
    // Epochs can overlap.
    let (a, b) = (loader.epoch(1), loader.epoch(1));
    assert!(
        a.zip(b)
            .all(|(a, b)| bits(&a.unwrap()) == bits(&b.unwrap()))
    );
}

#[test]
fn zero_workers_means_this_thread() {
    let used = |workers| {
        let dataset = Arc::new(Ragged::new(&[3; 30]));
        let loader = DataLoader::new(dataset.clone(), plain(), config(2, workers)).unwrap();
        assert_eq!(loader.epoch(0).count(), 15);
        dataset.threads.lock().unwrap().clone()
    };
    let me = std::thread::current().id();
    assert_eq!(used(0), HashSet::from([me]));
    let three = used(3);
    assert_eq!(three.len(), 3);
    assert!(!three.contains(&me));
}
