//! Initialisation.
use crate::common;
use crate::common::floats;
use candle_core::DType;
use candle_nn::ModuleT;
use tallow_models::{Model, ModelConfig, find, registry};
use tallow_ops::{Tape, cross_entropy};

#[test]
fn the_seed_decides_every_bit() {
    for entry in registry() {
        let build = |seed| {
            let config = ModelConfig {
                seed,
                ..common::small(entry)
            };
            let state = Model::build(entry.name(), &config)
                .unwrap()
                .store()
                .state_dict()
                .unwrap();
            state
                .iter()
                .map(|(name, t)| (name.clone(), floats(t)))
                .collect::<Vec<_>>()
        };
        let first = build(5);
        assert!(first == build(5), "{}", entry.name());
        for ((name, a), (_, b)) in first.iter().zip(build(6)) {
            // Constants, prototypes, and convolutions that begin as identities are not drawn.
            let identity = a.iter().all(|v| *v == 0. || *v == 1.);
            let drawn = a.iter().any(|v| *v != a[0]) && !identity && !name.ends_with("codes");
            assert!((*a != b) == drawn, "{} {name}", entry.name());
        }
    }
}

/// A parameter without one would not be trained, and a trainer refuses it.
#[test]
fn every_parameter_has_a_gradient_in_the_first_step() {
    for entry in registry() {
        let model = Model::build(entry.name(), &common::small(entry)).unwrap();
        let images = common::images(&model, 2, 0, DType::F32);
        let tape = Tape::record();
        let logits = model.forward_t(&images, true).unwrap();
        let loss = cross_entropy(&logits, &common::labels(2, 0), &Default::default()).unwrap();
        let grads = tape.backward(&loss).unwrap();
        for (name, var) in model.store().parameters() {
            assert!(grads.get(&var).is_some(), "{} {name}", entry.name());
        }
    }
}

/// `reset_parameters` of PyTorch's layers: uniform within `1 / sqrt(fan_in)`; batch norm at 1 and 0.
#[test]
fn initialisation_is_pytorchs() {
    for name in ["mlp", "cnn", "cifar-cnn", "lenet", "vgg16-slim"] {
        let entry = find(name).unwrap();
        let model = Model::build(entry.name(), &entry.config().unwrap()).unwrap();
        let state = model.store().state_dict().unwrap();
        for (i, (name, tensor)) in state.iter().enumerate() {
            let values = floats(tensor);
            let constant = |c: f64| assert!(values.iter().all(|v| *v == c), "{name} is not {c}");
            let leaf = name.rsplit('.').next().unwrap();
            let after_norm_weight = leaf == "bias" && state[i - 1].1.rank() == 1;
            match leaf {
                "running_mean" | "num_batches_tracked" => constant(0.),
                "running_var" => constant(1.),
                "weight" if tensor.rank() == 1 => constant(1.),
                "bias" if after_norm_weight => constant(0.),
                _ => {
                    let weight = if leaf == "bias" {
                        &state[i - 1].1
                    } else {
                        tensor
                    };
                    let fan_in: usize = weight.dims()[1..].iter().product();
                    let bound = 1. / (fan_in as f64).sqrt();
                    let largest = values.iter().fold(0f64, |m, v| m.max(v.abs()));
                    // Rounding the bound to f32 may lift it by half a unit in the last place.
                    assert!(
                        largest <= bound * (1. + 6e-8),
                        "{name}: {largest} > {bound}"
                    );
                    let n = values.len() as f64;
                    let mean = values.iter().sum::<f64>() / n;
                    let second = values.iter().map(|v| v * v).sum::<f64>() / n;
                    // Five standard errors: bound / sqrt(3 n), and (bound^2 / 3) sqrt(0.8 / n).
                    assert!(
                        mean.abs() < 5. * bound / (3. * n).sqrt(),
                        "{name}: mean {mean}"
                    );
                    let ratio = second / (bound * bound / 3.);
                    assert!(
                        (ratio - 1.).abs() < 5. * (0.8 / n).sqrt(),
                        "{name}: variance ratio {ratio}"
                    );
                }
            }
        }
    }
}

/// The deviation of each family's weights: mostly that of `kaiming_normal_` by `fan_in` or `fan_out`, of the linear layers' uniform range,
/// as the code that each follows sets them.
#[test]
fn deep_networks_start_as_the_code_they_follow() {
    let fan_in = |dims: &[usize]| (2. / dims[1..].iter().product::<usize>() as f64).sqrt();
    let fan_out =
        |dims: &[usize]| (2. / (dims[0] * dims[2..].iter().product::<usize>()) as f64).sqrt();
    let uniform = |dims: &[usize]| (1. / (3 * dims[1]) as f64).sqrt();
    type Deviation<'a> = &'a dyn Fn(&[usize]) -> f64;
    // Uniform within 2.4 over the root of the fan-in, and over the fan-in.
    let root = |dims: &[usize]| 2.4 / (3. * dims[1..].iter().product::<usize>() as f64).sqrt();
    let range = |dims: &[usize]| 2.4 / (3f64.sqrt() * dims[1..].iter().product::<usize>() as f64);
    let cases: [(&str, Deviation, Deviation); 10] = [
        ("vgg16-bn-cifar", &fan_out, &uniform),
        ("vgg11", &fan_out, &|_| 0.01),
        ("resnet18-cifar", &fan_out, &uniform),
        ("resnext50-32x4d", &fan_out, &uniform),
        ("resnet20", &fan_in, &fan_in),
        ("preact-resnet20", &fan_in, &fan_in),
        ("nin", &|_| 0.05, &|_| 0.05),
        ("nin-fc", &|_| 0.05, &|_| 0.05),
        ("lenet-1989", &root, &root),
        ("lenet5-1998", &range, &range),
    ];
    for (name, conv, linear) in cases {
        let config = common::small(find(name).unwrap());
        let divisor = if config.width_divisor == 1 { 1 } else { 2 };
        let model = Model::build(
            name,
            &ModelConfig {
                width_divisor: divisor,
                ..config
            },
        )
        .unwrap();
        for (name, tensor) in model.store().state_dict().unwrap() {
            let (values, dims) = (floats(&tensor), tensor.dims());
            let expected = match dims.len() {
                4 => conv(dims),
                2 => linear(dims),
                _ => continue,
            };
            let n = values.len() as f64;
            let deviation = (values.iter().map(|v| v * v).sum::<f64>() / n).sqrt();
            // Five standard errors of a normal's deviation.
            let allowed = 5. / (2. * n).sqrt();
            assert!(
                (deviation / expected - 1.).abs() < allowed,
                "{name}: {deviation}, expected {expected}"
            );
        }
    }
}
