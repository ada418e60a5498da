//! Weights with timm's names against timm's own outputs.
use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use serde_json::Value;
use tallow_models::{LoadWeights, Model, ModelConfig, find, pretrained};

use crate::common::{difference, filled, floats, wave};

fn fixture() -> HashMap<String, Value> {
    serde_json::from_str(include_str!("../fixtures/timm.json")).unwrap()
}

/// A state dict with timm's names, filled by formula as the fixture's.
fn state(case: &Value, calm: f64) -> Vec<(String, Tensor)> {
    let names: Vec<(String, Vec<usize>)> = serde_json::from_value(case["state"].clone()).unwrap();
    let empty = names.into_iter().map(|(name, shape)| {
        (
            name,
            Tensor::zeros(shape, DType::F64, &Device::Cpu).unwrap(),
        )
    });
    filled(empty.collect(), calm)
}

fn write(state: Vec<(String, Tensor)>, path: &std::path::Path) {
    let state: HashMap<String, Tensor> = state.into_iter().collect();
    candle_core::safetensors::save(&state, path).unwrap();
}

fn check(name: &str) {
    let case = &fixture()[name];
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    write(
        state(case, if name == "convnext-tiny" { 0. } else { 0.4 }),
        &path,
    );
    let config = ModelConfig {
        dtype: DType::F64,
        ..ModelConfig::new(1000, (3, 64, 64))
    };
    let model = Model::build(name, &config).unwrap();
    let loaded = model.load_weights(&path, &LoadWeights::default()).unwrap();
    assert!(loaded.is_clean() && loaded.ignored.is_empty(), "{loaded:?}");
    let x = wave((1, 3, 64, 64), 0., 0.001, 0.);
    let logits = floats(&model.forward(&x, false).unwrap());
    let some: Vec<f64> = logits.into_iter().step_by(50).collect();
    let expected: Vec<f64> = serde_json::from_value(case["logits"].clone()).unwrap();
    // The running variances of MobileNetV3 pass through single precision.
    let error = difference(&some, &expected);
    let allowed = if name.starts_with("mobilenet") {
        1e-6
    } else {
        1e-9
    };
    assert!(error < allowed, "{name}: {error}");
}

#[test]
fn mobilenet_v3_small() {
    check("mobilenet-v3-small");
}

#[test]
fn mobilenet_v3_large() {
    check("mobilenet-v3-large");
}

#[test]
fn efficientnet_b0() {
    check("efficientnet-b0");
}

#[test]
fn convnext_tiny() {
    check("convnext-tiny");
}

/// VGG in small: its linear layers are convolutions in timm.
#[test]
fn vgg16() {
    let config = ModelConfig {
        width_divisor: 16,
        ..ModelConfig::new(10, (3, 32, 32))
    };
    let model = Model::build("vgg16-bn", &config).unwrap();
    let theirs = |name: &str| {
        name.replace("classifier.0", "pre_logits.fc1")
            .replace("classifier.3", "pre_logits.fc2")
            .replace("classifier.6", "head.fc")
    };
    let ours = model.store().state_dict().unwrap();
    let state = ours.iter().map(|(name, tensor)| {
        let tensor = match name.as_str() {
            "classifier.0.weight" => tensor.reshape((256, 32, 7, 7)).unwrap(),
            "classifier.3.weight" => tensor.reshape((256, 256, 1, 1)).unwrap(),
            _ => tensor.clone(),
        };
        (theirs(name), tensor)
    });
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    write(state.collect(), &path);
    let other = Model::build("vgg16-bn", &ModelConfig { seed: 9, ..config }).unwrap();
    let loaded = other.load_weights(&path, &LoadWeights::default()).unwrap();
    assert!(loaded.is_clean());
    for ((name, a), (_, b)) in ours.iter().zip(other.store().state_dict().unwrap()) {
        assert_eq!(floats(a), floats(&b), "{name}");
    }
}

/// A file for another network is refused with names, not silently renamed.
#[test]
fn another_network_is_refused() {
    let case = &fixture()["mobilenet-v3-small"];
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    write(state(case, 0.2), &path);
    for name in ["mobilenet-v3-large", "efficientnet-b0", "resnet18"] {
        let model = Model::build(name, &ModelConfig::new(1000, (3, 64, 64))).unwrap();
        let error = model.load_weights(&path, &LoadWeights::default());
        let error = error.err().unwrap().to_string();
        assert!(error.contains("do not fit the model"), "{name}: {error}");
    }
}

#[test]
fn pretrained_weights_are_of_built_in_models() {
    for known in pretrained() {
        let entry = find(known.name).unwrap();
        assert_eq!(entry.default_classes, Some(1000), "{}", known.name);
        assert_eq!(entry.default_input, Some((3, known.crop, known.crop)));
        assert!(known.resize >= known.crop && known.repository.contains('/'));
    }
    assert_eq!(
        tallow_models::Pretrained::find("resnet18").unwrap().name,
        "resnet18"
    );
    let error = tallow_models::Pretrained::find("resnet81").unwrap_err();
    assert!(error.contains("did you mean `resnet18`?"), "{error}");
}
