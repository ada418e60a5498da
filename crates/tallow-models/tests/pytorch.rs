//! Each network against PyTorch: names, shapes, logits, loss, gradients, and the state after three steps.
mod common;

use candle_core::DType;
use common::{difference, fill, floats, norm, pass, wave};
use serde_json::Value;
use tallow_models::{Model, ModelConfig};
use tallow_ops::Layout;

fn numbers(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_f64().unwrap())
        .collect()
}

fn sizes(value: &Value) -> Vec<usize> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_u64().unwrap() as usize)
        .collect()
}

fn build(name: &str, case: &Value, dtype: DType, layout: Layout) -> Model {
    let shape = sizes(&case["input_shape"]);
    let config = ModelConfig {
        hidden: case.get("hidden").map(sizes),
        width_divisor: case
            .get("width_divisor")
            .map_or(1, |v| v.as_u64().unwrap() as usize),
        layout: Some(layout),
        dtype,
        ..ModelConfig::new(10, (shape[0], shape[1], shape[2]))
    };
    Model::build(name, &config).unwrap()
}

/// Ours against the reduced form of PyTorch's tensor. `scale` is what an error is relative to: the norm, unless that is zero but for
/// rounding, as of a bias that batch norm takes away again.
fn check_probe(ours: &[f64], probe: &Value, scale: f64, tolerance: f64, what: &str) {
    let expected_norm = probe["norm"].as_f64().unwrap();
    let allowed = tolerance
        * if expected_norm < 1e-12 {
            scale
        } else {
            expected_norm
        };
    let close = |a: f64, b: f64, part: &str| {
        assert!(
            (a - b).abs() <= allowed,
            "{what}, {part}: {a}, PyTorch {b}, allowed {allowed}"
        );
    };
    close(norm(ours), expected_norm, "norm");
    for (j, expected) in numbers(&probe["projections"]).into_iter().enumerate() {
        let direction = floats(&wave(ours.len(), j as f64, 0., 0.7));
        let projection = ours.iter().zip(direction).map(|(a, b)| a * b).sum();
        close(projection, expected, &format!("projection {j}"));
    }
    let entries = numbers(&probe["entries"]);
    let stride = (ours.len() / 12).max(1);
    for (i, expected) in entries.into_iter().enumerate() {
        close(ours[i * stride], expected, &format!("entry {}", i * stride));
    }
}

fn check_structure(name: &str, case: &Value) {
    let model = build(name, case, DType::F32, Layout::Nchw);
    let state: Vec<(String, Vec<usize>)> = model
        .store()
        .state_dict()
        .unwrap()
        .into_iter()
        .map(|(name, tensor)| (name, tensor.dims().to_vec()))
        .collect();
    let expected: Vec<(String, Vec<usize>)> = case["state"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry[0].as_str().unwrap().to_string(), sizes(&entry[1])))
        .collect();
    assert_eq!(state, expected);
    assert_eq!(
        model.store().num_parameters() as u64,
        case["parameters"].as_u64().unwrap()
    );
    for layout in [Layout::Nchw, Layout::Nhwc] {
        let summary = build(name, case, DType::F32, layout).summary().unwrap();
        let layers: Vec<Value> = summary
            .layers
            .iter()
            .map(|l| {
                serde_json::json!([
                    l.name,
                    l.kind,
                    l.output_shape,
                    l.parameters,
                    l.multiply_adds
                ])
            })
            .collect();
        assert_eq!(Value::from(layers), case["layers"], "{layout:?}");
        assert_eq!(summary.parameters, model.store().num_parameters());
        assert_eq!(
            summary.parameters,
            summary.layers.iter().map(|l| l.parameters).sum::<usize>()
        );
    }
}

fn check_pass(name: &str, case: &Value, mode: &str, dtype: DType, layout: Layout, tolerance: f64) {
    let what = format!("{name} {mode} {dtype:?} {layout:?}");
    let model = build(name, case, dtype, layout);
    fill(&model);
    let n = case["batch"].as_u64().unwrap() as usize;
    let (logits, loss, gradients) = pass(&model, n, 0, dtype, mode == "train");
    let expected = &case[mode];
    let error = difference(&floats(&logits), &numbers(&expected["logits"]));
    assert!(error <= tolerance, "{what} logits: {error}");
    let error = difference(&floats(&loss), &[expected["loss"].as_f64().unwrap()]);
    assert!(error <= tolerance, "{what} loss: {error}");
    let gradient_norm = |name: &str| expected["gradients"][name]["norm"].as_f64().unwrap();
    for (name, var) in model.store().parameters() {
        let ours = floats(gradients.get(&var).unwrap());
        let scale = gradient_norm(&name.replace(".bias", ".weight"));
        check_probe(
            &ours,
            &expected["gradients"][&name],
            scale,
            tolerance,
            &format!("{what} {name}"),
        );
    }
}

fn check_steps(name: &str, case: &Value, dtype: DType, layout: Layout, tolerance: f64) {
    let what = format!("{name} after three steps {dtype:?} {layout:?}");
    let model = build(name, case, dtype, layout);
    fill(&model);
    let n = case["batch"].as_u64().unwrap() as usize;
    for batch in 0..3 {
        let (_, _, gradients) = pass(&model, n, batch, dtype, true);
        for (_, var) in model.store().parameters() {
            let step = (gradients.get(&var).unwrap() * 0.01).unwrap();
            var.set(&(var.as_tensor() - step).unwrap()).unwrap();
        }
    }
    let expected = &case["after_three_steps"];
    for (name, tensor) in model.store().state_dict().unwrap() {
        let ours = floats(&tensor);
        check_probe(
            &ours,
            &expected["state"][&name],
            1.,
            tolerance,
            &format!("{what} {name}"),
        );
        if name.ends_with("num_batches_tracked") {
            assert_eq!(ours, [3.]);
        }
    }
    let logits = model
        .forward(&common::images(&model, n, 0, dtype), false)
        .unwrap();
    let error = difference(&floats(&logits), &numbers(&expected["logits"]));
    assert!(error <= tolerance, "{what} logits: {error}");
}

fn check(name: &str, fixture: &str) {
    let case: Value = serde_json::from_str(fixture).unwrap();
    check_structure(name, &case);
    // In double precision nothing but rounding may differ; in single precision 1e-4.
    for (dtype, tolerance) in [(DType::F64, 1e-12), (DType::F32, 1e-4)] {
        for layout in [Layout::Nchw, Layout::Nhwc] {
            for mode in ["eval", "train"] {
                check_pass(name, &case, mode, dtype, layout, tolerance);
            }
            check_steps(name, &case, dtype, layout, tolerance);
        }
    }
}

#[test]
fn mlp() {
    check("mlp", include_str!("fixtures/mlp.json"));
}

#[test]
fn mlp_of_other_widths() {
    check("mlp", include_str!("fixtures/mlp-wide.json"));
}

#[test]
fn cnn() {
    check("cnn", include_str!("fixtures/cnn.json"));
}

#[test]
fn cifar_cnn() {
    check("cifar-cnn", include_str!("fixtures/cifar-cnn.json"));
}

#[test]
fn lenet() {
    check("lenet", include_str!("fixtures/lenet.json"));
}

#[test]
fn vgg16_slim_narrowed() {
    check(
        "vgg16-slim",
        include_str!("fixtures/vgg16-slim-narrow.json"),
    );
}

#[test]
fn vgg16_slim_structure() {
    let case: Value = serde_json::from_str(include_str!("fixtures/vgg16-slim.json")).unwrap();
    check_structure("vgg16-slim", &case);
}
