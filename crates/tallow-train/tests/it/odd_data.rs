//! Data and models that training alone cannot make sense of: a last batch of one sample, parameters without a gradient, classes of
//! different frequency.

use std::cell::Cell;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{LayerNorm, Linear, Module, ModuleT, VarBuilder, VarMap};
use tallow_datasets::{DataLoader, Dataset, ImageSet, LoaderConfig, Split};
use tallow_ops::{BatchNormConfig, Generator, Init, ParamStore};
use tallow_train::{
    ClassWeights, Error, ForwardBackward, History, LossConfig, Result, TrainConfig, Trainer,
    check_last_batch,
};

use tallow_transforms::{Compose, TransformConfig};

use crate::common::{CLASSES, bytes, loader, net, recipe, textures};

/// Loader of so many training images in batches of `batch_size`.
fn training(count: usize, batch_size: usize, drop_last: bool) -> DataLoader {
    let whole = loader(textures(Split::Train, count), 0, 0);
    let config = LoaderConfig {
        batch_size,
        drop_last,
        ..whole.config().clone()
    };
    DataLoader::new(whole.dataset().clone(), whole.transform().clone(), config).unwrap()
}

/// Linear - batch norm of one value per sample and channel - dropout - linear.
struct Flat {
    weights: [Var; 2],
    bn: [Var; 4],
    generator: Generator,
    calls: Cell<usize>,
}

fn flat() -> (Flat, ParamStore) {
    let store = ParamStore::new(DType::F32, &Device::Cpu, 0);
    let root = store.root();
    let weight = |name: &str, shape| {
        let init = Init::Uniform { lo: -0.1, up: 0.1 };
        root.pp(name).param("weight", shape, init).unwrap()
    };
    let bn = root.pp("bn");
    let flat = Flat {
        weights: [weight("fc1", (8, 64)), weight("fc2", (CLASSES, 8))],
        bn: [
            bn.param("weight", 8, Init::Const(1.0)).unwrap(),
            bn.param("bias", 8, Init::Const(0.0)).unwrap(),
            bn.buffer("running_mean", 8, Init::Const(0.0)).unwrap(),
            bn.buffer("running_var", 8, Init::Const(1.0)).unwrap(),
        ],
        generator: store.generator(),
        calls: Cell::new(0),
    };
    (flat, store)
}

impl ModuleT for Flat {
    fn forward_t(&self, x: &Tensor, train: bool) -> candle_core::Result<Tensor> {
        self.calls.set(self.calls.get() + 1);
        let x = tallow_ops::linear(&x.flatten_from(1)?, &self.weights[0], None)?;
        let mut x = x.reshape((x.dim(0)?, 8, 1, 1))?;
        let ([weight, bias, mean, var], config) = (&self.bn, BatchNormConfig::default());
        if train {
            x = tallow_ops::dropout(&x, 0.1, &self.generator)?;
            x = tallow_ops::batch_norm_train(&x, weight, bias, mean, var, &config)?;
        } else {
            x = tallow_ops::batch_norm_eval(&x, weight, bias, mean, var, &config)?;
        }
        Ok(tallow_ops::linear(
            &x.flatten_from(1)?,
            &self.weights[1],
            None,
        )?)
    }
}

fn saved(store: &ParamStore) -> Vec<u8> {
    bytes(store, tempfile::tempdir().unwrap().path())
}

#[test]
fn a_last_batch_of_one_value_per_channel_is_refused_before_training() {
    let (model, store) = flat();
    let (before, generator) = (saved(&store), store.generator().state());
    let error = Trainer::new(recipe(2))
        .fit(&model, &store, &training(65, 32, false), None)
        .unwrap_err();
    let Error::LastBatch {
        samples: 65,
        batch_size: 32,
        ..
    } = &error
    else {
        panic!("{error}")
    };
    let message = error.to_string();
    for part in [
        "65 samples in batches of 32",
        "more than 1 value per channel",
        "set `drop_last` to true",
    ] {
        assert!(message.contains(part), "{message}");
    }
    // One image and two were tried, and nothing is left of it.
    assert_eq!(model.calls.get(), 2);
    assert!(before == saved(&store));
    assert_eq!(generator, store.generator().state());

    let error = check_last_batch(&model, &store, &training(3, 1, false)).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("set `batch_size` to at least 2")
    );
}

#[test]
fn the_remedies_help() {
    let epochs = |train: &DataLoader, config: TrainConfig| -> Result<History> {
        let (model, store) = flat();
        Trainer::new(config).fit(&model, &store, train, None)
    };
    assert!(epochs(&training(65, 32, true), recipe(1)).is_ok());
    assert!(epochs(&training(65, 16, false), recipe(1)).is_err());
    assert!(epochs(&training(65, 60, false), recipe(1)).is_ok());
    // The last batch is not reached.
    let config = TrainConfig {
        max_steps: Some(2),
        ..recipe(1)
    };
    assert!(epochs(&training(65, 32, false), config).is_ok());
}

/// As PyTorch: a single image whose maps have several values has a variance. The check leaves no trace in the weights.
#[test]
fn a_single_image_with_larger_maps_is_trained_on() {
    let weights = |own_step: bool| {
        let (net, store) = net(0);
        let mut trainer = Trainer::new(recipe(2));
        if own_step {
            // Not checked.
            trainer = trainer.with_step(ForwardBackward);
        }
        let history = trainer.fit(&net, &store, &training(65, 32, false), None);
        assert_eq!(history.unwrap().rows.len(), 2);
        saved(&store)
    };
    assert!(weights(false) == weights(true));
}

/// Linear - layer norm by candle-nn's fused operator, which has no backward pass - linear.
struct Fused {
    fc1: Linear,
    norm: LayerNorm,
    fc2: Linear,
}

impl ModuleT for Fused {
    fn forward_t(&self, x: &Tensor, _: bool) -> candle_core::Result<Tensor> {
        let x = self.fc1.forward(&x.flatten_from(1)?)?;
        self.fc2.forward(&self.norm.forward(&x)?)
    }
}

fn train_fused(config: TrainConfig) -> Result<History> {
    let varmap = VarMap::new();
    let vb = VarBuilder::from_varmap(&varmap, DType::F32, &Device::Cpu);
    let model = Fused {
        fc1: candle_nn::linear(64, 16, vb.pp("fc1")).unwrap(),
        norm: candle_nn::layer_norm(16, 1e-5, vb.pp("norm")).unwrap(),
        fc2: candle_nn::linear(16, CLASSES, vb.pp("fc2")).unwrap(),
    };
    let vars = varmap.data().lock().unwrap().clone();
    let store = ParamStore::from_vars(vars, 0).unwrap();
    Trainer::new(config).fit(&model, &store, &training(64, 32, false), None)
}

#[test]
fn parameters_behind_a_cut_graph_are_named() {
    let error = train_fused(recipe(1)).unwrap_err();
    let Error::NoGradient { names } = &error else {
        panic!("{error}")
    };
    assert_eq!(
        *names,
        ["fc1.bias", "fc1.weight", "norm.bias", "norm.weight"]
    );
    let message = error.to_string();
    for part in [
        "`fc1.bias`, `fc1.weight`, ",
        "no gradient in the first step",
        "the fused `layer_norm`",
        "`freeze` or `allow_unused`",
    ] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn freeze_and_allow_unused_silence_it() {
    let patterns = |patterns: &[&str]| patterns.iter().map(|p| p.to_string()).collect();
    let frozen = TrainConfig {
        freeze: patterns(&["fc1", "norm"]),
        ..recipe(1)
    };
    assert!(train_fused(frozen).is_ok());
    let allowed = |list: &[&str]| {
        train_fused(TrainConfig {
            allow_unused: patterns(list),
            ..recipe(1)
        })
    };
    assert!(allowed(&["fc1", "norm.*"]).is_ok());
    let error = allowed(&["fc1"]).unwrap_err();
    assert!(
        matches!(&error, Error::NoGradient { names } if names.len() == 2),
        "{error}"
    );
    let error = allowed(&["fc9"]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "allow_unused: `fc9` matches no parameter that is trained"
    );
}

#[test]
fn settings_at_their_default_are_not_written() {
    let text = serde_json::to_string(&recipe(1)).unwrap();
    assert!(
        !text.contains("allow_unused") && !text.contains("class_weights"),
        "{text}"
    );
}

/// Training with `balanced` is training with the numbers of the training labels, and not with equal ones.
#[test]
fn balanced_weights_are_those_of_the_training_labels() {
    let train = training(96, 32, false);
    let mut counts = [0.0; CLASSES];
    for index in 0..96 {
        counts[train.dataset().label(index).unwrap() as usize] += 1.0;
    }
    let numbers = counts.map(|count| 96.0 / (CLASSES as f64 * count)).to_vec();
    let weights = |class_weights| {
        let (net, store) = net(0);
        let loss = LossConfig::CrossEntropy {
            label_smoothing: 0.0,
            class_weights,
        };
        let config = TrainConfig { loss, ..recipe(1) };
        Trainer::new(config)
            .fit(&net, &store, &train, Some(&train))
            .map(|_| saved(&store))
    };
    let balanced = weights(Some(ClassWeights::Balanced)).unwrap();
    assert!(balanced == weights(Some(ClassWeights::Fixed(numbers))).unwrap());
    assert!(balanced != weights(None).unwrap());
    let error = weights(Some(ClassWeights::Fixed(vec![1.0]))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "loss.class_weights: 1 weights, but the dataset has 6 classes"
    );
}

/// Model whose logits are the images.
struct Pixels;

impl ModuleT for Pixels {
    fn forward_t(&self, x: &Tensor, _: bool) -> candle_core::Result<Tensor> {
        x.flatten_from(1)
    }
}

/// `fixtures/make_weighted_loss.py`: a mean over batches would differ from PyTorch's weighted mean over the set.
#[test]
fn the_weighted_loss_of_a_set_is_pytorchs_for_any_batch_size() {
    #[derive(serde::Deserialize)]
    struct Case {
        weights: Vec<f64>,
        label_smoothing: f64,
        loss: f64,
    }
    #[derive(serde::Deserialize)]
    struct Fixture {
        pixels: Vec<u8>,
        labels: Vec<u32>,
        cases: Vec<Case>,
    }
    let fixture: Fixture =
        serde_json::from_str(include_str!("../fixtures/weighted_loss.json")).unwrap();
    let classes = ["a", "b", "c"].map(String::from).to_vec();
    let (pixels, labels) = (fixture.pixels, fixture.labels);
    let set = ImageSet::from_parts("s", Split::Test, "s", classes, (3, 1, 1), pixels, labels);
    let set: Arc<dyn Dataset> = Arc::new(set.unwrap());
    let store = ParamStore::new(DType::F32, &Device::Cpu, 0);
    for case in fixture.cases {
        let mut config = recipe(1);
        config.loss = LossConfig::CrossEntropy {
            label_smoothing: case.label_smoothing,
            class_weights: Some(ClassWeights::Fixed(case.weights)),
        };
        for batch_size in 1..=11 {
            let to_tensor = Compose::new(vec![TransformConfig::to_tensor()]).unwrap();
            let loader = LoaderConfig {
                batch_size,
                ..LoaderConfig::default()
            };
            let loader = DataLoader::new(set.clone(), to_tensor, loader).unwrap();
            let trainer = Trainer::new(config.clone());
            let found = trainer.evaluate(&Pixels, &store, &loader).unwrap().loss;
            assert!(
                (found - case.loss).abs() < 1e-6,
                "{batch_size}: {found} {}",
                case.loss
            );
        }
    }
}
