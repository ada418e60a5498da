//! Training by the fast path comes as far as training by the reference path.

use std::path::PathBuf;
use std::sync::Arc;

use crate::common::skipped;
use candle_core::{D, DType, Tensor, Var};
use tallow_datasets::{Batch, DataLoader, Dataset, LoadOptions, LoaderConfig, Split, load, take};
use tallow_models::{Model, ModelConfig};
use tallow_ops::{
    Conv2dConfig, CrossEntropyConfig, Layout, Pool2dConfig, Tape, cross_entropy, reference,
};
use tallow_train::OptimizerConfig;
use tallow_transforms::{Compose, TransformConfig};

const LR: f64 = 0.05;
const MOMENTUM: f64 = 0.5;

/// The two means may be this far apart: one point.
const APART: f64 = 0.01;

fn batches(options: &LoadOptions, split: Split, images: usize, seed: u64) -> Vec<Batch> {
    let set = load("mnist", split, options).unwrap();
    let set: Arc<dyn Dataset> = Arc::new(take(&set, images).unwrap());
    let transform = Compose::new(vec![
        TransformConfig::to_tensor(),
        TransformConfig::normalize([0.1307], [0.3081]),
    ]);
    let config = LoaderConfig {
        batch_size: 64,
        shuffle: split == Split::Train,
        seed,
        ..Default::default()
    };
    let loader = DataLoader::new(set, transform.unwrap(), config).unwrap();
    loader.epoch(0).map(Result::unwrap).collect()
}

fn model(seed: u64) -> Model {
    let config = ModelConfig {
        seed,
        ..ModelConfig::new(10, (1, 28, 28))
    };
    Model::build("cnn", &config).unwrap()
}

fn value(loss: &Tensor) -> f64 {
    f64::from(loss.to_scalar::<f32>().unwrap())
}

fn correct(logits: &Tensor, labels: &Tensor) -> f64 {
    let guesses = logits.argmax(D::Minus1).unwrap().eq(labels).unwrap();
    let hits = guesses.to_dtype(DType::F32).unwrap().sum_all().unwrap();
    f64::from(hits.to_scalar::<f32>().unwrap())
}

fn accuracy(test: &[Batch], logits: impl Fn(&Tensor) -> Tensor) -> f64 {
    let hits = test.iter().map(|b| correct(&logits(&b.images), &b.labels));
    hits.sum::<f64>() / test.iter().map(|b| b.labels.elem_count()).sum::<usize>() as f64
}

/// The first step's loss and the accuracy after an epoch, as the trainer trains: the model's kernels, tape and optimizer.
fn fast(seed: u64, train: &[Batch], test: &[Batch]) -> (f64, f64) {
    let model = model(seed);
    let config = OptimizerConfig::sgd_momentum(LR, MOMENTUM);
    let mut optimizer = config.build(model.store().parameters()).unwrap();
    let mut first = None;
    for batch in train {
        let tape = Tape::record();
        let logits = model.forward(&batch.images, true).unwrap();
        let loss = cross_entropy(&logits, &batch.labels, &CrossEntropyConfig::default()).unwrap();
        optimizer.step(&tape.backward(&loss).unwrap()).unwrap();
        first.get_or_insert(value(&loss));
    }
    let accuracy = accuracy(test, |x| model.forward(x, false).unwrap());
    (first.unwrap(), accuracy)
}

/// The same from candle's tensor operations alone: the reference operators, candle's backward, and SGD as PyTorch writes it.
fn plain(seed: u64, train: &[Batch], test: &[Batch]) -> (f64, f64) {
    let parameters = model(seed).store().parameters();
    let find = |name: &str| -> &Var { &parameters.iter().find(|(n, _)| n == name).unwrap().1 };
    let block = |x: &Tensor, name: &str| {
        let (w, b) = (
            find(&format!("{name}.weight")),
            find(&format!("{name}.bias")),
        );
        let y = reference::conv2d(x, w, Some(b), &Conv2dConfig::default()).unwrap();
        reference::max_pool2d(&reference::relu(&y).unwrap(), &Pool2dConfig::new(2)).unwrap()
    };
    let dense = |x: &Tensor, name: &str| {
        let (w, b) = (
            find(&format!("{name}.weight")),
            find(&format!("{name}.bias")),
        );
        reference::linear(x, w, Some(b)).unwrap()
    };
    let logits = |x: &Tensor| {
        let x = block(&block(x, "conv1"), "conv2");
        let x = reference::flatten(&x, Layout::Nchw).unwrap();
        dense(&reference::relu(&dense(&x, "fc1")).unwrap(), "fc2")
    };
    let mut velocities: Vec<Option<Tensor>> = vec![None; parameters.len()];
    let mut first = None;
    for batch in train {
        let logits = logits(&batch.images);
        let loss = reference::cross_entropy(&logits, &batch.labels, &CrossEntropyConfig::default())
            .unwrap();
        let gradients = loss.backward().unwrap();
        for ((_, var), velocity) in parameters.iter().zip(&mut velocities) {
            let gradient = gradients.get(var).unwrap().detach();
            let next = match velocity {
                Some(v) => ((&*v * MOMENTUM).unwrap() + gradient).unwrap(),
                None => gradient,
            };
            var.set(&(var.as_tensor() - (&next * LR).unwrap()).unwrap())
                .unwrap();
            *velocity = Some(next);
        }
        first.get_or_insert(value(&loss));
    }
    (first.unwrap(), accuracy(test, logits))
}

#[test]
fn mnist_is_learnt_as_well_as_by_the_reference_operators() {
    let root = std::env::var_os("TALLOW_DATA").map(PathBuf::from);
    let Some(root) = root.filter(|root| root.join("mnist").is_dir()) else {
        skipped("mnist is not there; set TALLOW_DATA");
        return;
    };
    let options = LoadOptions {
        data_dir: Some(root),
        ..Default::default()
    };
    let test = batches(&options, Split::Test, 2000, 0);
    let (mut ours, mut theirs) = (0.0, 0.0);
    for seed in 0..3 {
        let train = batches(&options, Split::Train, 6000, seed);
        let (fast, plain) = (fast(seed, &train, &test), plain(seed, &train, &test));
        println!("seed {seed}: (first loss, accuracy) {fast:?}, reference {plain:?}");
        assert!((fast.0 - plain.0).abs() < 1e-5, "{fast:?} {plain:?}");
        ours += fast.1 / 3.0;
        theirs += plain.1 / 3.0;
    }
    assert!(
        ours > 0.8 && theirs > 0.8,
        "learnt too little: {ours} {theirs}"
    );
    assert!((ours - theirs).abs() <= APART, "{ours} {theirs}");
}
