//! Checks before a run, and the learning-rate range test.

use std::sync::Arc;

use candle_core::Tensor;
use candle_nn::ModuleT;
use tallow_datasets::{DataLoader, Dataset, ImageSet, LoaderConfig, Split};
use tallow_train::{BatchEnd, CONTINUE, Callback, Error, Flow, LrFinder, TrainConfig, Trainer};
use tallow_transforms::{Compose, TransformConfig};

use crate::common::{bytes, loaders, net, recipe};

/// Counts the batches that it sees.
#[derive(Default)]
struct Count(usize);

impl Callback for Count {
    fn on_batch_end(&mut self, _: &BatchEnd) -> Flow {
        self.0 += 1;
        CONTINUE
    }
}

/// Dropout and batch norm have states that the check must not change, and loader workers an order.
#[test]
fn a_run_after_the_sanity_check_has_the_same_bits() {
    let dir = tempfile::tempdir().unwrap();
    let run = |check: bool| {
        let (train, test) = loaders(3, 2);
        let (net, store) = net(3);
        let mut count = Count::default();
        let mut trainer = Trainer::new(recipe(2))
            .with_checkpoints(dir.path().join(format!("{check}")))
            .with_callback(&mut count);
        if check {
            let before = bytes(&store, dir.path());
            trainer
                .sanity_check(&net, &store, &train, Some(&test))
                .unwrap();
            assert!(before == bytes(&store, dir.path()));
            assert!(!dir.path().join("true").exists());
        }
        let history = trainer.fit(&net, &store, &train, Some(&test)).unwrap();
        drop(trainer);
        assert_eq!(count.0, 38);
        let losses: Vec<_> = history.rows.iter().map(|row| row.test_loss).collect();
        (losses, bytes(&store, dir.path()))
    };
    assert!(run(false) == run(true));
}

/// Network that can be trained, but not evaluated.
struct NoEvaluation<M>(M);

impl<M: ModuleT> ModuleT for NoEvaluation<M> {
    fn forward_t(&self, x: &Tensor, train: bool) -> candle_core::Result<Tensor> {
        match train {
            true => self.0.forward_t(x, true),
            false => candle_core::bail!("no evaluation"),
        }
    }
}

#[test]
fn faults_of_the_evaluation_show_before_the_first_step() {
    let dir = tempfile::tempdir().unwrap();
    let (train, test) = loaders(0, 0);
    let (net, store) = net(0);
    let before = bytes(&store, dir.path());
    let mut trainer = Trainer::new(recipe(1));
    let model = NoEvaluation(net);
    let error = trainer.sanity_check(&model, &store, &train, Some(&test));
    assert!(error.unwrap_err().to_string().contains("no evaluation"));
    assert!(before == bytes(&store, dir.path()));
    // Without test data nothing is evaluated.
    trainer.sanity_check(&model, &store, &train, None).unwrap();
}

/// Image whose label is not below the number of the model's outputs.
#[test]
fn labels_of_other_classes_show_before_the_first_step() {
    let classes = (0..9).map(|class| format!("class {class}")).collect();
    let set = ImageSet::from_parts(
        "wrong",
        Split::Test,
        "wrong",
        classes,
        (1, 8, 8),
        vec![7; 64],
        vec![8],
    );
    let transforms = vec![TransformConfig::to_tensor()];
    let set: Arc<dyn Dataset> = Arc::new(set.unwrap());
    let wrong = DataLoader::new(
        set,
        Compose::new(transforms).unwrap(),
        LoaderConfig::default(),
    )
    .unwrap();
    let (train, _) = loaders(0, 0);
    let (net, store) = net(0);
    let error = Trainer::new(recipe(1)).sanity_check(&net, &store, &train, Some(&wrong));
    let message = error.unwrap_err().to_string();
    assert!(message.contains("label 8"), "{message}");
}

#[test]
fn the_range_test_finds_a_rate_and_restores_the_weights() {
    let dir = tempfile::tempdir().unwrap();
    let (train, _) = loaders(0, 0);
    let finder = LrFinder {
        min_lr: 1e-6,
        max_lr: 1e4,
        steps: 60,
        beta: 0.9,
        ..LrFinder::default()
    };
    let find = || {
        let (net, store) = net(0);
        let before = bytes(&store, dir.path());
        let range = finder
            .run(&recipe(1), Trainer::new, &net, &store, &train)
            .unwrap();
        assert!(before == bytes(&store, dir.path()));
        range
    };
    let range = find();
    // It ends where the loss diverges.
    assert!(
        range.points.len() > 30 && range.points.len() < 60,
        "{}",
        range.points.len()
    );
    assert_eq!(range.points[0].lr, 1e-6);
    assert_eq!(range.points[0].smoothed, range.points[0].loss);
    let suggestion = range.suggestion.unwrap();
    assert!((1e-4..1.0).contains(&suggestion), "{suggestion}");
    assert_eq!(find(), range);

    // At the suggestion one epoch learns more than at a rate far below.
    let loss = |lr: f64| {
        let (net, store) = net(0);
        let config = TrainConfig::new(1, tallow_train::OptimizerConfig::sgd_momentum(lr, 0.9));
        let history = Trainer::new(config)
            .fit(&net, &store, &train, None)
            .unwrap();
        history.rows[0].train_loss
    };
    assert!(loss(suggestion) < loss(suggestion / 100.0));
}

#[test]
fn range_tests_out_of_range_are_refused() {
    let (train, _) = loaders(0, 0);
    let (net, store) = net(0);
    let finder = LrFinder {
        max_lr: 1e-9,
        ..LrFinder::default()
    };
    let error = finder.run(&recipe(1), Trainer::new, &net, &store, &train);
    assert!(
        matches!(
            error,
            Err(Error::Config {
                setting: "max_lr",
                ..
            })
        ),
        "{error:?}"
    );
}
