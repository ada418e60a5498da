//! Parts that act on a batch, its gradients or the weights, compared with PyTorch, torchvision, timm and airbench;
//! `fixtures/make_batch_fixtures.py` made the expected values.

use std::sync::Arc;

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, Var};
use candle_nn::ModuleT;
use serde_json::Value;
use tallow_datasets::{DataLoader, Dataset, ImageSet, LoaderConfig, Split};
use tallow_ops::{BatchNormConfig, Init, ParamStore, batch_norm_train, linear, relu};
use tallow_train::{
    Clip, CrossEntropy, ForwardBackward, MixConfig, Mixing, OptimizerConfig, Sam, SamConfig,
    StepInput, Target, TrainStep, Tta, WithTta, update_batch_norm,
};
use tallow_transforms::{Compose, TransformConfig};

use crate::common::flat;

fn fixture() -> Value {
    serde_json::from_str(include_str!("../fixtures/batch.json")).unwrap()
}

fn numbers(values: &Value) -> Vec<f64> {
    serde_json::from_value(values.clone()).unwrap()
}

/// Tensor `tensor` of the script.
pub fn tensor(shape: &[usize], start: usize) -> Tensor {
    let value = |i: usize| (((37 * i + 11) % 101) as f64 - 50.0) / 16.0;
    let values = (start..start + shape.iter().product::<usize>()).map(value);
    let values = Tensor::from_iter(values, &Device::Cpu).unwrap();
    values.reshape(shape).unwrap()
}

fn assert_close(found: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let difference = (found - expected).abs();
        assert!(
            difference <= tolerance,
            "{what}, element {i}: {found}, expected {expected}"
        );
    }
}

#[test]
fn mixed_batches_are_torchvisions() {
    let all = &fixture()["mixing"];
    let labels: Vec<u32> = serde_json::from_value(all["labels"].clone()).unwrap();
    let labels = Tensor::new(labels, &Device::Cpu).unwrap();
    let images = tensor(&[3, 2, 4, 5], 0).to_dtype(DType::F32).unwrap();
    let cases = all["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 8);
    for case in cases {
        let share = case["share"].as_f64().unwrap();
        let mixing = match case["name"].as_str().unwrap() {
            "mixup" => Mixing::Mixup { share },
            _ => {
                let center: (usize, usize) =
                    serde_json::from_value(case["center"].clone()).unwrap();
                Mixing::cutmix(share, center, (4, 5))
            }
        };
        // The same operations in the same order: the same bits.
        let found = flat(&mixing.images(&images).unwrap());
        assert_eq!(found, numbers(&case["images"]), "{mixing:?}");
        let targets = mixing.target(&labels, 4, (4, 5)).unwrap();
        let expected = numbers(&case["targets"]);
        assert_close(&flat(&targets), &expected, 1e-7, &format!("{mixing:?}"));
    }
}

#[test]
fn draws_are_a_function_of_seed_epoch_and_step() {
    let both = MixConfig {
        mixup_alpha: 0.8,
        cutmix_alpha: 1.0,
        ..MixConfig::default()
    };
    let draw = |config: &MixConfig, seed, epoch, step| config.draw((seed, epoch, step), (32, 32));
    assert_eq!(draw(&both, 1, 2, 3), draw(&both, 1, 2, 3));
    for other in [(0, 2, 3), (1, 0, 3), (1, 2, 0)] {
        assert_ne!(draw(&both, 1, 2, 3), draw(&both, other.0, other.1, other.2));
    }
    let count = |config: &MixConfig| {
        let drawn: Vec<_> = (0..1000).map(|step| draw(config, 5, 0, step)).collect();
        let is_mixup = |mixing: &&Option<Mixing>| matches!(mixing, Some(Mixing::Mixup { .. }));
        let mixup = drawn.iter().filter(is_mixup).count();
        (mixup, drawn.iter().flatten().count() - mixup)
    };
    let (mixup, cutmix) = count(&both);
    assert_eq!(mixup + cutmix, 1000);
    assert!((400..600).contains(&mixup), "{mixup}");
    let (mixup, cutmix) = count(&MixConfig {
        probability: 0.5,
        switch_probability: 0.9,
        ..both.clone()
    });
    assert!((400..600).contains(&(mixup + cutmix)), "{mixup} {cutmix}");
    assert!(cutmix > 6 * mixup, "{mixup} {cutmix}");
    let only = |mixup_alpha, cutmix_alpha| MixConfig {
        mixup_alpha,
        cutmix_alpha,
        ..MixConfig::default()
    };
    assert_eq!(count(&only(0.2, 0.0)), (1000, 0));
    assert_eq!(count(&only(0.0, 0.2)), (0, 1000));
    for refused in [only(0.0, 0.0), only(-1.0, 0.0), only(f64::NAN, 1.0)] {
        assert!(refused.validate().is_err(), "{refused:?}");
    }
    assert!(
        MixConfig {
            probability: 1.5,
            ..both
        }
        .validate()
        .is_err()
    );
}

#[test]
fn gradients_are_clipped_as_pytorch_and_timm_do() {
    let all = fixture();
    let cases = all["clipping"].as_array().unwrap();
    assert_eq!(cases.len(), 6);
    for dtype in [DType::F64, DType::F32] {
        for case in cases {
            let clip: Clip = serde_json::from_value(case["clip"].clone()).unwrap();
            clip.validate().unwrap();
            let tolerance = if dtype == DType::F64 { 1e-13 } else { 1e-5 };
            let mut grads = GradStore::default();
            let (mut parameters, mut start) = (Vec::new(), 0);
            let shapes: [&[usize]; 3] = [&[4, 3, 2, 2], &[5, 4], &[5]];
            let factors = [(1.0, 0.125), (2f64.powi(-12), 1.0), (1.0, 4.0)];
            for (shape, (weight, grad)) in shapes.into_iter().zip(factors) {
                let cast = |t: Tensor, by: f64| (t * by).unwrap().to_dtype(dtype).unwrap();
                let var = Var::from_tensor(&cast(tensor(shape, start), weight)).unwrap();
                grads.insert(&var, cast(tensor(shape, start + 500), grad));
                parameters.push((format!("p{start}"), var));
                start += shape.iter().product::<usize>();
            }
            let norm = clip.clip(&parameters, &mut grads).unwrap();
            match (norm, case["norm"].as_f64()) {
                (Some(found), Some(expected)) => {
                    assert_close(&[found], &[expected], 10.0 * tolerance, "norm");
                }
                (found, expected) => assert_eq!(found, expected),
            }
            let found: Vec<f64> = parameters
                .iter()
                .flat_map(|(_, var)| flat(grads.get(var).unwrap()))
                .collect();
            assert_close(
                &found,
                &numbers(&case["grads"]),
                tolerance,
                &format!("{clip:?}"),
            );
        }
    }
    for refused in [Clip::Norm(0.0), Clip::Value(-1.0), Clip::Adaptive(f64::NAN)] {
        assert!(refused.validate().is_err());
    }
    assert!(serde_json::from_str::<Clip>(r#"{"norm": 1, "value": 2}"#).is_err());
}

/// Two layers without bias, in f64.
struct TwoLayers([Var; 2]);

impl ModuleT for TwoLayers {
    fn forward_t(&self, x: &Tensor, _: bool) -> candle_core::Result<Tensor> {
        Ok(linear(
            &relu(&linear(x, &self.0[0], None)?)?,
            &self.0[1],
            None,
        )?)
    }
}

#[test]
fn sharpness_aware_steps_are_those_of_the_papers() {
    let all = &fixture()["sam"];
    let labels: Vec<u32> = serde_json::from_value(all["labels"].clone()).unwrap();
    let target = Target::Classes(Tensor::new(labels, &Device::Cpu).unwrap());
    let images = tensor(&[6, 5], 0);
    for case in all["cases"].as_array().unwrap() {
        let config: SamConfig = serde_json::from_value(case["sam"].clone()).unwrap();
        let store = ParamStore::new(DType::F64, &Device::Cpu, 0);
        let layer = |name: &str, shape: (usize, usize), start: usize| {
            let var = store.root().param(name, shape, Init::Const(0.0)).unwrap();
            let values = (tensor(&[shape.0, shape.1], start) / 4.0).unwrap();
            var.set(&values).unwrap();
            var
        };
        let model = TwoLayers([layer("w1", (4, 5), 0), layer("w2", (3, 4), 40)]);
        let mut step = Sam::new(config, store.parameters(), ForwardBackward);
        let optimizer = OptimizerConfig::sgd_momentum(0.05, 0.9);
        let mut optimizer = optimizer.build(store.parameters()).unwrap();
        let mut losses = Vec::new();
        for at in 0..5 {
            let output = step
                .step(&StepInput {
                    model: &model,
                    store: &store,
                    loss: &CrossEntropy::default(),
                    images: &images,
                    target: &target,
                    epoch: 0,
                    step: at,
                })
                .unwrap();
            losses.push(output.loss.to_scalar::<f64>().unwrap());
            optimizer.step(&output.grads).unwrap();
        }
        let what = case["sam"].to_string();
        assert_close(&losses, &numbers(&case["losses"]), 1e-12, &what);
        let weights: Vec<f64> = model.0.iter().flat_map(|var| flat(var)).collect();
        assert_close(&weights, &numbers(&case["weights"]), 1e-12, &what);
    }
}

/// One batch norm.
struct Normed([Var; 4]);

impl ModuleT for Normed {
    fn forward_t(&self, x: &Tensor, train: bool) -> candle_core::Result<Tensor> {
        assert!(train);
        let [weight, bias, mean, var] = &self.0;
        let config = BatchNormConfig::default();
        Ok(batch_norm_train(x, weight, bias, mean, var, &config)?)
    }
}

#[test]
fn statistics_over_all_batches_are_pytorchs() {
    let pixels = (0..40).map(|i| ((37 * i + 11) % 256) as u8).collect();
    let set = ImageSet::from_parts(
        "ramp",
        Split::Train,
        "made up",
        vec!["a".into()],
        (1, 2, 2),
        pixels,
        vec![0; 10],
    );
    let set: Arc<dyn Dataset> = Arc::new(set.unwrap());
    let config = LoaderConfig {
        batch_size: 4,
        shuffle: false,
        num_workers: 0,
        ..LoaderConfig::default()
    };
    let transforms = Compose::new(vec![TransformConfig::to_tensor()]).unwrap();
    let loader = DataLoader::new(set, transforms, config).unwrap();
    let store = ParamStore::new(DType::F32, &Device::Cpu, 0);
    let root = store.root();
    let model = Normed([
        root.param("weight", 1, Init::Const(1.0)).unwrap(),
        root.param("bias", 1, Init::Const(0.0)).unwrap(),
        root.buffer("running_mean", 1, Init::Const(17.0)).unwrap(),
        root.buffer("running_var", 1, Init::Const(17.0)).unwrap(),
    ]);
    let generator = store.generator().state();
    update_batch_norm(&model, &store, &loader, 3).unwrap();
    let expected = &fixture()["batch_norm"];
    for (var, key) in [(&model.0[2], "mean"), (&model.0[3], "var")] {
        assert_close(&flat(var), &numbers(&expected[key]), 1e-6, key);
    }
    assert_eq!(store.generator().state(), generator);
}

/// A layer with tanh.
struct Tanh(Tensor);

impl ModuleT for Tanh {
    fn forward_t(&self, x: &Tensor, _: bool) -> candle_core::Result<Tensor> {
        (x.flatten_from(1)?.matmul(&self.0.t()?)? / 64.0)?.tanh()
    }
}

#[test]
fn test_time_views_are_those_of_airbench() {
    let images = tensor(&[2, 2, 5, 6], 0);
    let model = Tanh(tensor(&[3, 60], 900));
    let expected = &fixture()["views"];
    for (tta, key) in [(Tta::Flip, "flip"), (Tta::SixView, "six-view")] {
        let logits = WithTta::new(&model, Some(tta)).forward_t(&images, false);
        assert_close(
            &flat(&logits.unwrap()),
            &numbers(&expected[key]),
            1e-13,
            key,
        );
        let name: Tta = serde_json::from_value(key.into()).unwrap();
        assert_eq!(name, tta);
        // In training, the model itself.
        let trained = WithTta::new(&model, Some(tta)).forward_t(&images, true);
        let plain = model.forward_t(&images, true).unwrap();
        assert_eq!(flat(&trained.unwrap()), flat(&plain));
    }
}
