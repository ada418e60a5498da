//! Training on an accelerator: same results as the CPU, same bits every time, and runs that are resumed.
//!
//! Runs in a build for CUDA or Metal where there is a device: `cargo test --release -p tallow-train --test it device --features cuda`. Otherwise each
//! test prints that it was skipped.

use std::io::Write;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::common::{bytes, loaders, net_on, recipe, textures};
use candle_core::{DType, Device, Tensor};
use tallow_datasets::{DataLoader, LoaderConfig, Split};
use tallow_ops::{ParamStore, Precision};
use tallow_train::{
    BatchEnd, CONTINUE, Callback, Error, Flow, GradientNorms, GradientRow, History, LossConfig,
    OptimizerConfig, SgdConfig, TrainConfig, Trainer,
};
use tallow_transforms::{
    CenterCrop, Compose, Image, Normalize, Problem, RandomCrop, RandomHorizontalFlip, SampleRng,
    ToTensor, Transform,
};

fn accelerator() -> Option<Device> {
    let found = tallow_ops::cuda_device(0)
        .ok()
        .or_else(|| Device::new_metal(0).ok());
    if found.is_none() {
        // Straight to standard error: what `eprintln` writes is swallowed when a test passes.
        let word = b"SKIPPED: no CUDA or Metal device, or candle was built without\n";
        std::io::stderr().write_all(word).unwrap();
    }
    found
}

fn flat(t: &Tensor) -> Vec<f64> {
    t.to_device(&Device::Cpu)
        .unwrap()
        .to_dtype(DType::F64)
        .unwrap()
        .flatten_all()
        .unwrap()
        .to_vec1()
        .unwrap()
}

fn train(device: &Device, config: &TrainConfig) -> (ParamStore, History, Vec<GradientRow>) {
    let (net, store) = net_on(device, 1);
    let (train, test) = loaders(1, 1);
    let mut norms = GradientNorms::over(3);
    let history = Trainer::new(config.clone())
        .with_callback(&mut norms)
        .fit(&net, &store, &train, Some(&test))
        .unwrap();
    (store, history, norms.rows().to_vec())
}

/// Twelve steps, with each optimizer and each loss.
#[test]
fn steps_are_those_of_the_cpu() {
    let Some(device) = accelerator() else { return };
    let sgd = OptimizerConfig::Sgd(SgdConfig {
        lr: 0.02,
        momentum: 0.9,
        weight_decay: 1e-3,
        nesterov: true,
        ..SgdConfig::default()
    });
    let losses = [
        LossConfig::default(),
        LossConfig::CrossEntropy {
            label_smoothing: 0.1,
            class_weights: None,
        },
        LossConfig::CrossEntropy {
            label_smoothing: 0.1,
            class_weights: Some(tallow_train::ClassWeights::Balanced),
        },
        LossConfig::SoftmaxCrossEntropy {
            label_smoothing: 0.,
        },
        LossConfig::SquaredError { on: 1., off: -1. },
    ];
    // Adam divides by the gradient's size: where that is next to nothing, so is what both agree on.
    let optimizers = [
        (OptimizerConfig::sgd(0.05), 1e-3),
        (sgd, 1e-3),
        (OptimizerConfig::adam(1e-3), 2e-2),
        (OptimizerConfig::adamw(1e-3), 2e-2),
    ];
    let with_loss = losses.iter().map(|loss| (loss.clone(), &optimizers[1]));
    let with_optimizer = optimizers.iter().map(|o| (LossConfig::default(), o));
    for (loss, (optimizer, tolerance)) in with_loss.chain(with_optimizer) {
        let config = TrainConfig {
            max_steps: Some(12),
            loss,
            ..TrainConfig::new(1, optimizer.clone())
        };
        let (store, history, norms) = train(&device, &config);
        let (expected, truth, known) = train(&Device::Cpu, &config);
        let close = |what: &str, a: f64, b: f64| {
            assert!(
                (a - b).abs() <= tolerance * b.abs().max(0.1),
                "{config:?} {what}: {a}, not {b}"
            );
        };
        close("loss", history.rows[0].train_loss, truth.rows[0].train_loss);
        let [right, expected_right] = [&history, &truth].map(|h| h.rows[0].train_accuracy);
        // A prediction or two may be another.
        assert!(
            (right - expected_right).abs() < 0.01,
            "accuracy {right}, not {expected_right}"
        );
        close(
            "test loss",
            history.rows[0].test_loss.unwrap(),
            truth.rows[0].test_loss.unwrap(),
        );
        close("gradient", norms[0].total, known[0].total);
        let ours = store.state_dict().unwrap();
        for ((name, a), (_, b)) in ours.iter().zip(&expected.state_dict().unwrap()) {
            for (a, b) in flat(a).into_iter().zip(flat(b)) {
                close(name, a, b);
            }
        }
    }
}

#[test]
fn one_seed_gives_one_result_and_it_learns() {
    let Some(device) = accelerator() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (store, history, _) = train(&device, &recipe(4));
    assert!(
        history.rows[3].test_accuracy.unwrap() >= 0.97,
        "{:?}",
        history.rows
    );
    let first = bytes(&store, dir.path());
    let (store, again, _) = train(&device, &recipe(4));
    assert!(bytes(&store, dir.path()) == first, "other bits");
    assert_eq!(history.rows[3].train_loss, again.rows[3].train_loss);
}

/// Networks whose steps are launched as a CUDA graph, with dropout, running statistics and a smaller last batch.
#[test]
fn steps_launched_as_a_graph_have_the_bits_of_plain_ones() {
    let Some(device) = accelerator() else { return };
    let dir = tempfile::tempdir().unwrap();
    for config in [recipe(3), TrainConfig::new(3, OptimizerConfig::adamw(0.01))] {
        let expected = bytes(&train(&device, &config).0, dir.path());
        let (net, store) = net_on(&device, 1);
        let (data, test) = loaders(1, 1);
        let mut trainer = Trainer::new(TrainConfig {
            cuda_graph: true,
            ..config
        });
        trainer.fit(&net, &store, &data, Some(&test)).unwrap();
        assert!(bytes(&store, dir.path()) == expected, "other bits");
        // Of 57 steps three warm up, two are compared, and three have a smaller batch.
        let launched = if device.is_cuda() { 49 } else { 0 };
        assert_eq!(trainer.profile().graph_steps, launched);
    }
}

/// Convolutions in TF32 and bf16: the same bits every time, and it learns.
#[test]
fn each_precision_gives_one_result_and_it_learns() {
    let Some(device) = accelerator() else { return };
    let dir = tempfile::tempdir().unwrap();
    let plain = bytes(&train(&device, &recipe(4)).0, dir.path());
    for precision in [Precision::Tf32, Precision::Bf16] {
        let config = TrainConfig {
            precision,
            ..recipe(4)
        };
        if let Err(error) = config.check_precision(DType::F32, &device) {
            let word = format!("SKIPPED: {error}\n");
            std::io::stderr().write_all(word.as_bytes()).unwrap();
            return;
        }
        let (store, history, _) = train(&device, &config);
        let accuracy = history.rows[3].test_accuracy.unwrap();
        assert!(accuracy >= 0.95, "{precision}: {:?}", history.rows);
        let first = bytes(&store, dir.path());
        assert!(first != plain, "{precision}: the bits of f32");
        let again = bytes(&train(&device, &config).0, dir.path());
        assert!(again == first, "{precision}: other bits");
    }
}

/// Another precision than `f32` is never passed over in silence.
#[test]
fn a_precision_needs_a_device_that_has_it() {
    let (net, store) = net_on(&Device::Cpu, 0);
    let (data, _) = loaders(0, 0);
    let config = TrainConfig {
        precision: Precision::Bf16,
        ..recipe(1)
    };
    let mut trainer = Trainer::new(config);
    let trained = trainer.fit(&net, &store, &data, None).map(drop);
    let judged = trainer.evaluate(&net, &store, &data).map(drop);
    for result in [trained, judged] {
        let message = result.unwrap_err().to_string();
        assert!(
            message.contains("precision") && message.contains("no CUDA device"),
            "{message}"
        );
    }
}

/// Transform that changes nothing and is not built in, so that images are made on the host.
#[derive(Debug)]
struct Same;

impl Transform for Same {
    fn name(&self) -> &'static str {
        "same"
    }

    fn apply_f32(&self, _: &mut Image<f32>, _: &mut SampleRng) -> Result<(), Problem> {
        Ok(())
    }
}

#[test]
fn images_made_on_the_device_are_those_of_the_host() {
    let Some(device) = accelerator() else { return };
    let dir = tempfile::tempdir().unwrap();
    let weights = |on_the_host: bool| {
        let mut transforms: Vec<Box<dyn Transform>> = vec![
            Box::new(RandomCrop::new(8, 2)),
            Box::new(RandomHorizontalFlip::new(0.5)),
            Box::new(ToTensor),
            Box::new(Normalize::new([0.5], [0.25])),
        ];
        if on_the_host {
            transforms.push(Box::new(Same));
        }
        let config = LoaderConfig {
            batch_size: 32,
            shuffle: true,
            seed: 1,
            ..LoaderConfig::default()
        };
        let transform = Compose::from_transforms(transforms).unwrap();
        assert_eq!(transform.tables().is_none(), on_the_host);
        let set = Arc::new(textures(Split::Train, 300));
        let data = DataLoader::new(set, transform, config.clone()).unwrap();
        let mut transforms: Vec<Box<dyn Transform>> = vec![
            Box::new(CenterCrop::new(8)),
            Box::new(ToTensor),
            Box::new(Normalize::new([0.5], [0.25])),
        ];
        if on_the_host {
            transforms.push(Box::new(Same));
        }
        let test = Arc::new(textures(Split::Test, 90));
        let transform = Compose::from_transforms(transforms).unwrap();
        assert_eq!(transform.tables().is_none(), on_the_host);
        let test = DataLoader::new(test, transform, config).unwrap();
        let (net, store) = net_on(&device, 1);
        let history = Trainer::new(recipe(3))
            .fit(&net, &store, &data, Some(&test))
            .unwrap();
        let judged: Vec<_> = history.rows.iter().map(|row| row.test_loss).collect();
        (bytes(&store, dir.path()), judged)
    };
    assert!(weights(false) == weights(true), "other bits");
}

/// Stops in the middle of an epoch.
struct StopIn(usize);

impl Callback for StopIn {
    fn on_batch_end(&mut self, batch: &BatchEnd) -> Flow {
        if batch.epoch == self.0 && batch.step == 2 {
            return Ok(ControlFlow::Break("asked to".into()));
        }
        CONTINUE
    }
}

#[test]
fn resumed_runs_end_with_the_same_bits() {
    let Some(device) = accelerator() else { return };
    let dir = tempfile::tempdir().unwrap();
    let configs = [recipe(3), TrainConfig::new(3, OptimizerConfig::adamw(0.01))];
    for (i, config) in configs.into_iter().enumerate() {
        let expected = bytes(&train(&device, &config).0, dir.path());
        let checkpoints = dir.path().join(format!("{i}"));
        let (data, test) = loaders(1, 1);
        let (net, store) = net_on(&device, 1);
        Trainer::new(config.clone())
            .with_checkpoints(&checkpoints)
            .with_callback(StopIn(2))
            .fit(&net, &store, &data, Some(&test))
            .unwrap();
        // Other initial weights: everything must come from the checkpoint.
        let (net, store) = net_on(&device, 2);
        let history = Trainer::new(config)
            .with_checkpoints(&checkpoints)
            .fit(&net, &store, &data, Some(&test))
            .unwrap();
        assert_eq!(history.rows.len(), 3);
        assert!(bytes(&store, dir.path()) == expected, "other bits");
    }
}

#[test]
fn a_loss_that_is_not_finite_stops_the_run() {
    let Some(device) = accelerator() else { return };
    let (net, store) = net_on(&device, 0);
    let (train, _) = loaders(0, 0);
    let config = TrainConfig::new(3, OptimizerConfig::sgd(1e30));
    let error = Trainer::new(config)
        .fit(&net, &store, &train, None)
        .unwrap_err();
    let Error::NonFiniteLoss { epoch: 0, step, .. } = error else {
        panic!("{error}")
    };
    assert!((1..10).contains(&step), "{step}");
}
