//! Each network against PyTorch: names, shapes, logits, loss, gradients, and the state after three steps.
use crate::common;
use crate::common::{difference, fill, floats, norm, pass, wave};
use candle_core::{DType, Tensor};
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
        dropout: case.get("dropout").map(|v| v.as_f64().unwrap()),
        stochastic_depth: case.get("stochastic_depth").map(|v| v.as_f64().unwrap()),
        layout: Some(layout),
        dtype,
        ..ModelConfig::new(10, (shape[0], shape[1], shape[2]))
    };
    Model::build(name, &config).unwrap()
}

/// Error of our values against the reduced form of PyTorch's tensor, if it exceeds the tolerance. `scale` is what it is relative to: the norm,
/// unless that is zero but for rounding, as of a bias that batch norm takes away again.
fn probe_error(
    ours: &[f64],
    probe: &Value,
    entries: &Value,
    scale: f64,
    tolerance: f64,
) -> Result<(), String> {
    let expected_norm = probe["norm"].as_f64().unwrap();
    let allowed = tolerance * scale_of(expected_norm, scale);
    let close = |a: f64, b: f64, part: &str| match (a - b).abs() <= allowed {
        true => Ok(()),
        false => Err(format!("{part}: {a}, PyTorch {b}, allowed {allowed}")),
    };
    close(norm(ours), expected_norm, "norm")?;
    for (j, expected) in numbers(&probe["projections"]).into_iter().enumerate() {
        let direction = floats(&wave(ours.len(), j as f64, 0., 0.7));
        let projection = ours.iter().zip(direction).map(|(a, b)| a * b).sum();
        close(projection, expected, &format!("projection {j}"))?;
    }
    let stride = (ours.len() / entries.as_u64().unwrap() as usize).max(1);
    for (i, expected) in numbers(&probe["entries"]).into_iter().enumerate() {
        close(ours[i * stride], expected, &format!("entry {}", i * stride))?;
    }
    Ok(())
}

fn scale_of(norm: f64, otherwise: f64) -> f64 {
    if norm < 1e-12 { otherwise } else { norm }
}

/// Checks our values, and that the same check finds an error of 1 % in them.
fn check_probe(
    ours: &[f64],
    probe: &Value,
    entries: &Value,
    scale: f64,
    tolerance: f64,
    what: &str,
) {
    let error = |values: &[f64]| probe_error(values, probe, entries, scale, tolerance);
    error(ours).unwrap_or_else(|error| panic!("{what}, {error}"));
    let size = 0.01 * scale_of(probe["norm"].as_f64().unwrap(), scale);
    assert!(
        size == 0. || error(&with_error(ours, size)).is_err(),
        "{what}: an error of 1 % is not found"
    );
}

/// `values` and an error of this norm, in all entries and of changing sign, so that it hardly changes the norm.
fn with_error(values: &[f64], size: f64) -> Vec<f64> {
    let error = floats(&wave(values.len(), 0.3, 0.017, 1.1));
    let scale = size / norm(&error);
    values
        .iter()
        .zip(error)
        .map(|(v, e)| v + scale * e)
        .collect()
}

/// Checks that the largest relative error is within the tolerance, and that an error of 1 % would not be.
fn check_difference(ours: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    let error = difference(ours, expected);
    assert!(error <= tolerance, "{what}: {error}");
    for i in 0..ours.len() {
        let mut wrong = ours.to_vec();
        wrong[i] += 0.01 * expected.iter().fold(0f64, |m, v| m.max(v.abs()));
        assert!(
            difference(&wrong, expected) > tolerance,
            "{what}: an error of 1 % is not found"
        );
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
        let mut expected = case["layers"].as_array().unwrap().clone();
        // What PyTorch code does without a module: additions, products, and in some networks flattening.
        let without_module = |kind| ["Add", "Mul", "LayerScale"].contains(&kind);
        let flattens = expected.iter().any(|row| row[1] == "Flatten");
        let residual = summary.layers.iter().any(|l| l.kind == "Add");
        let mut layers: Vec<Value> = summary
            .layers
            .iter()
            .filter(|l| !without_module(l.kind) && (flattens || l.kind != "Flatten"))
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
        if residual {
            // Which of the two ways through a block runs first is nobody's business.
            for rows in [&mut layers, &mut expected] {
                rows.sort_by_key(|row| row[0].as_str().unwrap().to_string());
            }
        }
        assert_eq!(layers, expected, "{layout:?}");
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
    fill(&model, common::calm(case));
    let n = case["batch"].as_u64().unwrap() as usize;
    let (logits, loss, gradients) = pass(&model, n, 0, dtype, mode == "train");
    let expected = &case[mode];
    let check = |ours: &Tensor, expected: &[f64], part: &str| {
        check_difference(
            &floats(ours),
            expected,
            tolerance,
            &format!("{what} {part}"),
        );
    };
    check(&logits, &numbers(&expected["logits"]), "logits");
    check(&loss, &[expected["loss"].as_f64().unwrap()], "loss");
    let gradient_norm = |name: &str| expected["gradients"][name]["norm"].as_f64();
    for (name, var) in model.store().parameters() {
        let ours = floats(gradients.get(&var).unwrap());
        // A batch norm may have a fixed weight.
        let of_weight = gradient_norm(&name.replace(".bias", ".weight"));
        let scale = of_weight.or_else(|| gradient_norm(&name)).unwrap();
        check_probe(
            &ours,
            &expected["gradients"][&name],
            &case["entries"],
            scale,
            tolerance,
            &format!("{what} {name}"),
        );
    }
}

fn check_steps(name: &str, case: &Value, dtype: DType, layout: Layout, tolerance: f64) {
    let what = format!("{name} after three steps {dtype:?} {layout:?}");
    let model = build(name, case, dtype, layout);
    fill(&model, common::calm(case));
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
            &case["entries"],
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
    let logits_expected = numbers(&expected["logits"]);
    check_difference(
        &floats(&logits),
        &logits_expected,
        tolerance,
        &format!("{what} logits"),
    );
}

fn check(name: &str, fixture: &str, tolerances: [(DType, f64); 2]) {
    let case: Value = serde_json::from_str(fixture).unwrap();
    check_structure(name, &case);
    for (dtype, tolerance) in tolerances {
        for layout in [Layout::Nchw, Layout::Nhwc] {
            for mode in ["eval", "train"] {
                check_pass(name, &case, mode, dtype, layout, tolerance);
            }
            check_steps(name, &case, dtype, layout, tolerance);
        }
    }
}

/// In double precision nothing but rounding may differ; in single precision 1e-4.
const SHALLOW: [(DType, f64); 2] = [(DType::F64, 1e-12), (DType::F32, 1e-4)];

/// Rounding grows with the depth.
const DEEP: [(DType, f64); 2] = [(DType::F64, 1e-9), (DType::F32, 1e-4)];

macro_rules! cases {
    ($($test:ident: $name:literal, $file:literal, $tolerances:expr;)*) => {
        $(
            #[test]
            fn $test() {
                check($name, include_str!(concat!("../fixtures/", $file, ".json")), $tolerances);
            }
        )*
    };
}

cases! {
    mlp: "mlp", "mlp", SHALLOW;
    mlp_of_other_widths: "mlp", "mlp-wide", SHALLOW;
    cnn: "cnn", "cnn", SHALLOW;
    cifar_cnn: "cifar-cnn", "cifar-cnn", SHALLOW;
    lenet: "lenet", "lenet", SHALLOW;
    cifar_cnn_bn: "cifar-cnn-bn", "cifar-cnn-bn", SHALLOW;
    convnet_fc: "convnet-fc", "convnet-fc", SHALLOW;
    convnet_gap: "convnet-gap", "convnet-gap", SHALLOW;
    lenet_1989: "lenet-1989", "lenet-1989", SHALLOW;
    lenet5_1998: "lenet5-1998", "lenet5-1998", SHALLOW;
    lenet5_1998_rbf: "lenet5-1998-rbf", "lenet5-1998-rbf", SHALLOW;
    lenet5: "lenet5", "lenet5", SHALLOW;
    nin: "nin", "nin", DEEP;
    nin_fc: "nin-fc", "nin-fc", DEEP;
    vgg16_slim: "vgg16-slim", "vgg16-slim", SHALLOW;
    vgg11: "vgg11", "vgg11", DEEP;
    vgg16_bn: "vgg16-bn", "vgg16-bn", DEEP;
    vgg13_cifar: "vgg13-cifar", "vgg13-cifar", DEEP;
    vgg16_bn_cifar: "vgg16-bn-cifar", "vgg16-bn-cifar", DEEP;
    resnet18: "resnet18", "resnet18", DEEP;
    resnet18_cifar: "resnet18-cifar", "resnet18-cifar", DEEP;
    resnet50: "resnet50", "resnet50", DEEP;
    wide_resnet50_2: "wide-resnet50-2", "wide-resnet50-2", DEEP;
    resnext50_32x4d: "resnext50-32x4d", "resnext50-32x4d", DEEP;
    resnet20: "resnet20", "resnet20", DEEP;
    resnet20_option_b: "resnet20-b", "resnet20-b", DEEP;
    resnet20_option_c: "resnet20-c", "resnet20-c", DEEP;
    resnet20_pooled: "resnet20-d", "resnet20-d", DEEP;
    resnet20_transposed: "resnet20-t", "resnet20-t", DEEP;
    plain_20: "plain-20", "plain-20", DEEP;
    preact_resnet20: "preact-resnet20", "preact-resnet20", DEEP;
    preact_resnet18_cifar: "preact-resnet18-cifar", "preact-resnet18-cifar", DEEP;
    wrn_28_10: "wrn-28-10", "wrn-28-10", DEEP;
    mobilenet_v3_small: "mobilenet-v3-small", "mobilenet-v3-small", DEEP;
    mobilenet_v3_large: "mobilenet-v3-large", "mobilenet-v3-large", DEEP;
    efficientnet_b0: "efficientnet-b0", "efficientnet-b0", DEEP;
    convnext_tiny: "convnext-tiny", "convnext-tiny", DEEP;
    mnist_cnn: "mnist-cnn", "mnist-cnn", DEEP;
    cifar_speedrun: "cifar-speedrun", "cifar-speedrun", DEEP;
}
