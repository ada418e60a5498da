//! The whitening layer: its filters against numpy, and what they do to patches.
use candle_core::{DType, Device, Tensor};
use serde_json::Value;
use tallow_models::{Model, ModelConfig, whitening_filters};
use tallow_ops::{Conv2dConfig, conv2d};

use crate::common::{floats, wave};

fn fixture() -> Value {
    serde_json::from_str(include_str!("../fixtures/whitening.json")).unwrap()
}

/// Images of `make_whitening.py`.
fn images(shape: &[usize]) -> Tensor {
    let fast = wave(shape, 0., 0.013, 0.37);
    let slow = (wave(shape, 0., 0., 0.05) * 0.5).unwrap();
    (fast + slow).unwrap().to_dtype(DType::F32).unwrap()
}

#[test]
fn filters_are_numpys() {
    let fixture = fixture();
    let numbers = |key: &str| -> Vec<f64> { serde_json::from_value(fixture[key].clone()).unwrap() };
    let shape: Vec<usize> = serde_json::from_value(fixture["shape"].clone()).unwrap();
    let filters = whitening_filters(&images(&shape), 2).unwrap();
    assert_eq!(filters.dims(), [24, 3, 2, 2]);
    for (ours, expected) in floats(&filters).into_iter().zip(numbers("filters")) {
        assert!((ours - expected).abs() < 1e-9, "{ours} {expected}");
    }
}

#[test]
fn whitened_patches_have_no_correlation() {
    let x = images(&[4, 3, 12, 10]);
    let filters = whitening_filters(&x, 2)
        .unwrap()
        .to_dtype(DType::F32)
        .unwrap();
    let y = conv2d(&x, &filters, None, &Conv2dConfig::default()).unwrap();
    let channels: Vec<Vec<f64>> = (0..12)
        .map(|c| floats(&y.narrow(1, c, 1).unwrap()))
        .collect();
    for (i, a) in channels.iter().enumerate() {
        for (j, b) in channels.iter().enumerate() {
            let moment = a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() / a.len() as f64;
            let expected = if i == j { 1. } else { 0. };
            // The constant below the root takes a little away.
            assert!((moment - expected).abs() < 5e-3, "{i} {j}: {moment}");
        }
    }
}

#[test]
fn a_model_is_whitened_once_and_trains_the_rest() {
    let config = ModelConfig {
        width_divisor: 8,
        ..ModelConfig::new(10, (3, 32, 32))
    };
    let model = Model::build("cifar-speedrun", &config).unwrap();
    assert!(model.has_whitening());
    let x = images(&[3, 3, 9, 7]);
    model.whiten(&x).unwrap();
    let expected = whitening_filters(&x, 2).unwrap();
    let state = model.store().state_dict().unwrap();
    let weight = &state
        .iter()
        .find(|(name, _)| name == "whiten.weight")
        .unwrap()
        .1;
    for (ours, expected) in floats(weight).into_iter().zip(floats(&expected)) {
        assert!((ours - expected).abs() <= 1e-6 * expected.abs().max(1.));
    }
    let trained: Vec<String> = (model.store().parameters().into_iter())
        .map(|(name, _)| name)
        .collect();
    assert_eq!(trained[0], "whiten.bias");
    assert!(
        !trained.iter().any(|name| name.ends_with("norm1.weight")),
        "{trained:?}"
    );

    let grey = Tensor::zeros((2, 1, 8, 8), DType::F32, &Device::Cpu).unwrap();
    let error = model.whiten(&grey).unwrap_err().to_string();
    assert!(error.contains("3 channels"), "{error}");
    let other = Model::build("cifar-cnn", &ModelConfig::new(10, (3, 32, 32))).unwrap();
    assert!(!other.has_whitening());
    let error = other.whiten(&x).unwrap_err().to_string();
    assert!(error.contains("no whitening layer"), "{error}");
}

#[test]
fn images_without_a_patch_or_with_nan_are_refused() {
    let nan = Tensor::full(f32::NAN, (1, 3, 4, 4), &Device::Cpu).unwrap();
    assert!(
        whitening_filters(&nan, 2)
            .unwrap_err()
            .to_string()
            .contains("not finite")
    );
    for shape in [vec![0, 3, 4, 4], vec![1, 3, 1, 4], vec![3, 4, 4]] {
        let images = Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
        let error = whitening_filters(&images, 2).unwrap_err().to_string();
        assert!(error.contains("found ["), "{error}");
    }
    // Images of one colour vary in one direction: the rest is held by the constant.
    let flat = Tensor::ones((2, 3, 4, 4), DType::F32, &Device::Cpu).unwrap();
    let filters = floats(&whitening_filters(&flat, 2).unwrap());
    assert!(filters.iter().all(|value| value.is_finite()));
}
