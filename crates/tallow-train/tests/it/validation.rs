//! Validation data, the best weights, and the ends of a run.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tallow_datasets::{DataLoader, Dataset, DatasetInfo, ImageRef, ImageSet, LoaderConfig, Split};
use tallow_train::{
    BatchEnd, CONTINUE, Callback, CheckpointConfig, EpochEnd, Error, Flow, KeepBest, Monitor,
    Trainer,
};
use tallow_transforms::{Compose, TransformConfig};

use crate::common::{bytes, loader, loaders, net, recipe, textures};

/// Dataset that counts the images that are read.
struct Counted {
    inner: ImageSet,
    read: Arc<AtomicUsize>,
}

impl Dataset for Counted {
    fn info(&self) -> &DatasetInfo {
        self.inner.info()
    }
    fn len(&self) -> usize {
        self.inner.len()
    }
    fn shape(&self) -> Option<(usize, usize, usize)> {
        self.inner.shape()
    }
    fn label(&self, index: usize) -> tallow_datasets::Result<u32> {
        self.inner.label(index)
    }
    fn image<'a>(
        &'a self,
        index: usize,
        scratch: &'a mut Vec<u8>,
    ) -> tallow_datasets::Result<ImageRef<'a>> {
        self.read.fetch_add(1, Ordering::SeqCst);
        self.inner.image(index, scratch)
    }
}

/// Loader of 200 test images, and the number of them that were read.
fn counted() -> (DataLoader, Arc<AtomicUsize>) {
    let read = Arc::new(AtomicUsize::new(0));
    let set = Counted {
        inner: textures(Split::Test, 200),
        read: read.clone(),
    };
    let transforms = [
        TransformConfig::to_tensor(),
        TransformConfig::normalize([0.5], [0.25]),
    ];
    let config = LoaderConfig {
        batch_size: 32,
        num_workers: 2,
        ..LoaderConfig::default()
    };
    let transforms = Compose::new(transforms.to_vec()).unwrap();
    (
        DataLoader::new(Arc::new(set), transforms, config).unwrap(),
        read,
    )
}

fn validation() -> DataLoader {
    loader(textures(Split::Test, 90), 0, 1)
}

/// Fails at the end of an epoch if a test image was read.
struct NoneRead {
    read: Arc<AtomicUsize>,
    epochs: Cell<usize>,
}

impl Callback for &NoneRead {
    fn on_batch_end(&mut self, _: &BatchEnd) -> Flow {
        assert_eq!(self.read.load(Ordering::SeqCst), 0);
        CONTINUE
    }

    fn on_epoch_end(&mut self, end: &EpochEnd) -> Flow {
        assert_eq!(self.read.load(Ordering::SeqCst), 0);
        assert!(end.evaluation.is_some());
        self.epochs.set(self.epochs.get() + 1);
        CONTINUE
    }
}

#[test]
fn no_test_image_is_read_before_the_end() {
    let (test, read) = counted();
    let guard = NoneRead {
        read: read.clone(),
        epochs: Cell::new(0),
    };
    let (model, store) = net(3);
    let (train, _) = loaders(3, 1);
    let mut trainer = Trainer::new(recipe(4))
        .with_validation(validation())
        .with_restore_best(Monitor::ValidationLoss)
        .with_callback(&guard);
    let history = trainer.fit(&model, &store, &train, Some(&test)).unwrap();
    assert_eq!(guard.epochs.get(), 4);
    // Once each, at the end.
    assert_eq!(read.load(Ordering::SeqCst), 200);

    for row in &history.rows {
        assert!(row.validation_loss.is_some() && row.validation_accuracy.is_some());
        assert!(row.validation_top5.is_some());
        assert_eq!(
            (row.test_loss, row.test_accuracy, row.test_top5),
            (None, None, None)
        );
    }
    // The test data was evaluated with the restored weights, which are those of the best epoch.
    let best = Monitor::ValidationLoss.best(&history.rows).unwrap();
    assert_eq!(history.restored, Some(best.epoch));
    let evaluation = trainer.evaluate(&model, &store, &validation()).unwrap();
    assert_eq!(best.validation_loss, Some(evaluation.loss));
    assert_eq!(best.validation_accuracy, Some(evaluation.accuracy));
    let tested = trainer.evaluate(&model, &store, &test).unwrap();
    assert_eq!(history.evaluation, Some(tested));
}

#[test]
fn validation_changes_no_bit_of_the_weights() {
    let dir = tempfile::tempdir().unwrap();
    let (train, test) = loaders(3, 1);
    let weights = |validation: Option<DataLoader>| {
        let (model, store) = net(3);
        let mut trainer = Trainer::new(recipe(2));
        if let Some(validation) = validation {
            trainer = trainer.with_validation(validation);
        }
        trainer.fit(&model, &store, &train, Some(&test)).unwrap();
        bytes(&store, dir.path())
    };
    assert!(weights(None) == weights(Some(validation())));
}

/// The best weights survive a resumption in the middle of an epoch, and are those that `KeepBest` writes.
#[test]
fn the_best_weights_are_restored() {
    let dir = tempfile::tempdir().unwrap();
    let kept = dir.path().join("best.safetensors");
    let fit = |name: &str, stop_after: Option<usize>| {
        let (model, store) = net(5);
        let (train, test) = loaders(5, 1);
        let steps = Cell::new(0);
        let interrupt = || {
            steps.set(steps.get() + 1);
            stop_after.is_some_and(|most| steps.get() > most)
        };
        // So high a rate that the last epoch is not the best one.
        let mut config = recipe(6);
        config.optimizer = tallow_train::OptimizerConfig::sgd_momentum(0.4, 0.9);
        let mut trainer = Trainer::new(config)
            .with_checkpoints(dir.path().join(name))
            .with_restore_best(Monitor::TestLoss)
            .with_callback(KeepBest::new(Monitor::TestLoss, &kept))
            .with_interrupt(interrupt);
        let history = trainer.fit(&model, &store, &train, Some(&test)).unwrap();
        (history, bytes(&store, dir.path()))
    };
    let (straight, weights) = fit("straight", None);
    let best = Monitor::TestLoss.best(&straight.rows).unwrap().epoch;
    assert!(
        best < 5,
        "the last epoch is the best: the test shows nothing"
    );
    assert_eq!(straight.restored, Some(best));
    assert!(std::fs::read(&kept).unwrap() == weights);
    assert_eq!(
        straight.evaluation.unwrap().loss,
        straight.rows[best].test_loss.unwrap()
    );

    // Interrupted in the epoch after the best one, and again.
    let steps = |epochs: usize| epochs * 20 + 7;
    let (part, _) = fit("resumed", Some(steps(best + 1)));
    assert!(part.interrupted && part.restored.is_none() && part.stopped.is_none());
    assert!(part.evaluation.is_none() || part.rows.len() == best + 1);
    let (part, _) = fit("resumed", Some(5));
    assert!(part.interrupted);
    let (resumed, again) = fit("resumed", None);
    assert_eq!((resumed.restored, resumed.interrupted), (Some(best), false));
    assert!(again == weights);

    // Another metric to choose by is another run.
    let (model, store) = net(5);
    let (train, test) = loaders(5, 1);
    let mut config = recipe(6);
    config.optimizer = tallow_train::OptimizerConfig::sgd_momentum(0.4, 0.9);
    let refused = |trainer: Trainer| {
        let mut trainer = trainer.with_checkpoints(dir.path().join("resumed"));
        let error = trainer
            .fit(&model, &store, &train, Some(&test))
            .unwrap_err();
        error.to_string()
    };
    let message = refused(Trainer::new(config.clone()).with_restore_best(Monitor::TestAccuracy));
    assert!(
        message.contains("`test_loss` to find the best epoch, now it is `test_accuracy`"),
        "{message}"
    );
    let message = refused(Trainer::new(config.clone()));
    assert!(
        message.contains("started with `best`, which this one lacks"),
        "{message}"
    );
    let message = refused(
        Trainer::new(config)
            .with_restore_best(Monitor::TestLoss)
            .with_validation(validation()),
    );
    assert!(message.contains("validated on other data"), "{message}");
}

#[test]
fn a_run_ends_when_its_time_is_over() {
    let (train, test) = loaders(3, 1);
    let fit = |minutes: f64| {
        let (model, store) = net(3);
        let mut config = recipe(4);
        config.max_minutes = Some(minutes);
        Trainer::new(config).fit(&model, &store, &train, Some(&test))
    };
    let short = fit(1e-9).unwrap();
    assert_eq!(short.rows.len(), 1);
    assert!(short.rows[0].test_loss.is_some());
    assert_eq!(
        short.stopped.as_deref(),
        Some("max_minutes = 0.000000001 have passed")
    );
    let long = fit(1e6).unwrap();
    assert_eq!((long.rows.len(), long.stopped), (4, None));
    for wrong in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let error = fit(wrong).unwrap_err();
        let config = matches!(
            error,
            Error::Config {
                setting: "max_minutes",
                ..
            }
        );
        assert!(config, "{error}");
    }
}

/// Interrupted after every so many steps, with another number of workers each time.
#[test]
fn interruptions_anywhere_change_no_bit() {
    let dir = tempfile::tempdir().unwrap();
    let fit = |name: &str, workers: usize, stop_after: Option<usize>| {
        // Other initial weights where there is a checkpoint: everything must come from it.
        let first = !dir.path().join(name).exists();
        let (model, store) = net(if first { 5 } else { 6 });
        let (train, test) = loaders(5, workers);
        let steps = Cell::new(0);
        let interrupt = || {
            steps.set(steps.get() + 1);
            stop_after.is_some_and(|most| steps.get() > most)
        };
        let every = CheckpointConfig {
            every_steps: Some(7),
            ..CheckpointConfig::default()
        };
        let mut norms = tallow_train::GradientNorms::over(5);
        let mut trainer = Trainer::new(recipe(3))
            .with_checkpoints_at(dir.path().join(name), every)
            .with_callback(&mut norms)
            .with_interrupt(interrupt);
        let mut history = trainer.fit(&model, &store, &train, Some(&test)).unwrap();
        drop(trainer);
        for row in &mut history.rows {
            (row.seconds, row.images_per_second) = (0.0, 0.0);
        }
        (history, bytes(&store, dir.path()), norms.rows().to_vec())
    };
    let (straight, weights, norms) = fit("straight", 1, None);
    let mut rounds = 0;
    let resumed = loop {
        let (history, bytes, norms) = fit("resumed", rounds % 3, Some(1 + rounds * 5 % 13));
        rounds += 1;
        if !history.interrupted {
            break (history, bytes, norms);
        }
        assert!(history.rows.len() < 3 && rounds < 60);
    };
    assert!(rounds > 5, "{rounds} rounds");
    assert_eq!(resumed.0.rows, straight.rows);
    assert!(resumed.1 == weights, "other weights after {rounds} rounds");
    assert_eq!(resumed.2, norms);
}
