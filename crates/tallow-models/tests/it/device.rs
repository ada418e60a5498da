//! Every model on an accelerator gives what it gives on the CPU.
//!
//! Runs in a build for CUDA or Metal where there is a device: `cargo test --release -p tallow-models --test it device --features cuda`. Elsewhere
//! each test says that it was skipped.

use std::sync::OnceLock;

use crate::common::{difference, fill, floats, images, labels, norm, skipped, small};
use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor};
use tallow_models::{Model, ModelConfig, grad_cam, registry};
use tallow_ops::{CrossEntropyConfig, cross_entropy};

fn accelerator() -> Option<Device> {
    // One for all tests, since a device finds its plans anew.
    static DEVICE: OnceLock<Option<Device>> = OnceLock::new();
    let open = || {
        tallow_ops::cuda_device(0)
            .ok()
            .or_else(|| Device::new_metal(0).ok())
    };
    let found = DEVICE.get_or_init(open).clone();
    if found.is_none() {
        skipped("no CUDA or Metal device, or candle was built without");
    }
    found
}

/// On the device in `f32`, on the CPU in `f64`, with equal parameters.
fn both(entry: &tallow_models::Entry, device: &Device) -> [Model; 2] {
    [(device, DType::F32), (&Device::Cpu, DType::F64)].map(|(device, dtype)| {
        let config = ModelConfig {
            // A mask of dropout that falls together for two types is the generator's business.
            dropout: entry.takes_dropout.then_some(0.),
            dtype,
            device: device.clone(),
            ..small(entry)
        };
        let model = Model::build(entry.name(), &config).unwrap();
        fill(&model, 0.4);
        model
    })
}

fn pass(model: &Model, train: bool, batch: usize) -> (Tensor, GradStore) {
    let device = model.store().device();
    let x = images(model, 4, batch, model.store().dtype());
    let logits = model.forward(&x.to_device(device).unwrap(), train).unwrap();
    let labels = labels(4, batch).to_device(device).unwrap();
    let loss = cross_entropy(&logits, &labels, &CrossEntropyConfig::default()).unwrap();
    (logits, loss.backward().unwrap())
}

/// Relative distance of two gradients: the norm of their difference, divided by the norm expected.
///
/// Not the largest difference: a value within rounding of the rectifier's corner, or two in a window that are nearly equal, sends a
/// gradient elsewhere in `f32` than in `f64`, and among so many values there are some.
fn apart(ours: &[f64], expected: &[f64]) -> f64 {
    let difference: Vec<f64> = ours.iter().zip(expected).map(|(a, b)| a - b).collect();
    norm(&difference) / norm(expected)
}

/// Distances on one batch.
struct Compared {
    output: f64,
    gradients: f64,
    statistics: f64,
}

fn compare(ours: &Model, known: &Model, train: bool, batch: usize) -> Compared {
    let ((logits, gradients), (expected, truth)) =
        (pass(ours, train, batch), pass(known, train, batch));
    let mut compared = Compared {
        output: difference(&floats(&logits), &floats(&expected)),
        gradients: 0.0,
        statistics: 0.0,
    };
    let parameters = ours.store().parameters();
    for ((name, a), (_, b)) in parameters.iter().zip(&known.store().parameters()) {
        let (Some(a), Some(b)) = (gradients.get(a), truth.get(b)) else {
            panic!("{name}: no gradient")
        };
        let (a, b) = (floats(a), floats(b));
        // What comes to nothing, as behind a bias that batch norm takes away again, is rounding alone.
        if b.iter().any(|b| b.abs() > 1e-6) {
            let apart = apart(&a, &b);
            // `max` would pass over what is not a number.
            assert!(apart.is_finite(), "{name}: {apart}");
            compared.gradients = compared.gradients.max(apart);
        }
    }
    let buffers = ours.store().buffers();
    for ((_, a), (_, b)) in buffers.iter().zip(&known.store().buffers()) {
        let apart = difference(&floats(a), &floats(b));
        compared.statistics = compared.statistics.max(apart);
    }
    compared
}

#[test]
fn outputs_gradients_and_statistics_are_those_of_the_cpu() {
    let Some(device) = accelerator() else { return };
    let mut wrong = Vec::new();
    for entry in registry() {
        let [ours, known] = both(entry, &device);
        for train in [false, true] {
            // A value at the rectifier's corner in one batch of images is not there in the next; a wrong gradient is in all of them.
            let compared = [0, 1, 2].map(|batch| compare(&ours, &known, train, batch));
            let worst = |of: fn(&Compared) -> f64| compared.iter().map(of).fold(0.0, f64::max);
            let (output, statistics) = (worst(|c| c.output), worst(|c| c.statistics));
            let mut gradients = compared.each_ref().map(|c| c.gradients);
            gradients.sort_by(f64::total_cmp);
            let shown = gradients.map(|g| format!("{g:.1e}")).join(", ");
            let line = format!(
                "{} (train {train}): output {output:.1e}, gradients {shown}, statistics {statistics:.1e}",
                entry.name()
            );
            println!("{line}");
            let good = output < 1e-3 && gradients[1] < 2e-2 && statistics < 1e-4;
            if !good {
                wrong.push(line);
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn heat_maps_are_those_of_the_cpu() {
    let Some(device) = accelerator() else { return };
    let entry = tallow_models::find("vgg16-slim").unwrap();
    let [ours, known] = both(entry, &device);
    let heat = |model: &Model| {
        let x = images(model, 3, 0, model.store().dtype());
        let x = x.to_device(model.store().device()).unwrap();
        grad_cam(model, &x, &[1, 7, 4], None).unwrap()
    };
    let apart = difference(&floats(&heat(&ours)), &floats(&heat(&known)));
    assert!(apart < 1e-3, "{apart}");
}
