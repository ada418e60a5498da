//! The formulas of `fixtures/make_fixtures.py`.

use std::collections::HashSet;
use std::io::Write;

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Shape, Tensor};
use tallow_models::{Entry, Model, ModelConfig};
use tallow_ops::{CrossEntropyConfig, Tape, cross_entropy};

pub fn wave(shape: impl Into<Shape>, phase: f64, square: f64, line: f64) -> Tensor {
    let shape = shape.into();
    let values: Vec<f64> = (0..shape.elem_count())
        .map(|i| {
            let i = i as f64;
            (square * (i * i) + line * i + phase).sin()
        })
        .collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// The configuration a model was made for, but for smaller images and narrowed as far as is of use here where it can be.
pub fn small(entry: &Entry) -> ModelConfig {
    let (c, h, w) = entry.default_input.unwrap();
    // Groups of four maps for every 64 can only be narrowed so far.
    let divisor = match entry.name() {
        name if name.starts_with("resnext") => 4,
        _ if entry.takes_width_divisor => 8,
        _ => 1,
    };
    ModelConfig {
        width_divisor: divisor,
        input_shape: (c, h.min(64), w.min(64)),
        ..entry.config().unwrap()
    }
}

pub fn images(model: &Model, n: usize, batch: usize, dtype: DType) -> Tensor {
    let (c, h, w) = model.input_shape();
    wave((n, c, h, w), batch as f64, 0.001, 0.)
        .to_dtype(dtype)
        .unwrap()
}

pub fn labels(n: usize, batch: usize) -> Tensor {
    let labels: Vec<u32> = (0..n).map(|i| ((3 * i + batch) % 10) as u32).collect();
    Tensor::from_vec(labels, n, &Device::Cpu).unwrap()
}

/// Scale of weights that keeps values away from the rectifier's kink; 0 where nothing of the kind is done.
pub fn calm(case: &serde_json::Value) -> f64 {
    case["calm"].as_f64().unwrap()
}

/// Whether a norm is the last of a residual branch or of a shortcut, after which there is an addition before the rectifier.
fn ends_branch(layer: &str, norms: &HashSet<String>) -> bool {
    if let Some((block, leaf)) = layer.rsplit_once('.')
        && let Some(number) = leaf.strip_prefix("bn")
        && let Ok(number) = number.parse::<u32>()
    {
        return !norms.contains(&format!("{block}.bn{}", number + 1));
    }
    layer.contains(".downsample.") || layer.contains(".shortcut.")
}

/// Sets every parameter and buffer by the formula, with the scale of [`calm`].
pub fn fill(model: &Model, calm: f64) {
    let state = filled(model.store().state_dict().unwrap(), calm);
    let report = model.store().load_state_dict(&state, true).unwrap();
    assert!(report.is_clean());
}

/// The state dict with the formula's values. With `calm`, norms, or the convolutions of a network without any, have weights of this scale and
/// biases of about 1, and of about -1 in every fourth channel, except where an addition follows.
pub fn filled(state: Vec<(String, Tensor)>, calm: f64) -> Vec<(String, Tensor)> {
    let norms: HashSet<String> = state
        .iter()
        .filter_map(|(name, _)| Some(name.strip_suffix(".running_var")?.to_string()))
        .collect();
    let convolutions = state
        .iter()
        .filter(|(_, tensor)| norms.is_empty() && tensor.rank() == 4)
        .filter_map(|(name, _)| Some(name.strip_suffix(".weight")?.to_string()));
    let calmed: HashSet<String> = convolutions.chain(norms.iter().cloned()).collect();
    state
        .into_iter()
        .enumerate()
        .map(|(k, (name, tensor))| {
            let v = wave(tensor.shape(), k as f64, 0.013, 0.37);
            let dims = tensor.dims();
            let (layer, leaf) = name.rsplit_once('.').unwrap();
            let v = match leaf {
                "num_batches_tracked" => v.zeros_like(),
                "running_var" => v.affine(0.2, 1.),
                "weight" if dims.len() == 1 => v.affine(0.2, 1.),
                "weight" => v.affine(2. / (dims[1..].iter().product::<usize>() as f64).sqrt(), 0.),
                _ => v.affine(0.1, 0.),
            };
            let v = match leaf {
                "weight" if calm > 0. && calmed.contains(layer) => v.unwrap() * calm,
                "bias" if calm > 0. && calmed.contains(layer) => {
                    let negative = if ends_branch(layer, &norms) { 1. } else { -1. };
                    let signs = (0..tensor.elem_count()).map(|c| match c % 4 {
                        3 => negative,
                        _ => 1.,
                    });
                    let signs: Vec<f64> = signs.collect();
                    v.unwrap() + Tensor::from_vec(signs, tensor.shape(), &Device::Cpu).unwrap()
                }
                _ => v,
            };
            (name, v.unwrap())
        })
        .collect()
}

pub fn floats(tensor: &Tensor) -> Vec<f64> {
    tensor
        .to_dtype(DType::F64)
        .unwrap()
        .flatten_all()
        .unwrap()
        .to_vec1()
        .unwrap()
}

/// Logits, loss and gradients of one pass, as the trainer computes them.
pub fn pass(
    model: &Model,
    n: usize,
    batch: usize,
    dtype: DType,
    train: bool,
) -> (Tensor, Tensor, GradStore) {
    let tape = Tape::record();
    let logits = model
        .forward(&images(model, n, batch, dtype), train)
        .unwrap();
    let loss = cross_entropy(&logits, &labels(n, batch), &CrossEntropyConfig::default()).unwrap();
    let gradients = tape.backward(&loss).unwrap();
    (logits, loss, gradients)
}

pub fn norm(values: &[f64]) -> f64 {
    values.iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// The largest difference, relative to the largest value expected.
pub fn difference(ours: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(ours.len(), expected.len());
    let largest = expected.iter().fold(0f64, |m, v| m.max(v.abs()));
    let difference = ours.iter().zip(expected).fold(0f64, |m, (a, b)| {
        assert!(a.is_finite() && b.is_finite());
        m.max((a - b).abs())
    });
    difference / largest.max(f64::MIN_POSITIVE)
}

/// Says that a test did nothing, straight to standard error: what `eprintln` writes is swallowed when a test passes.
pub fn skipped(why: &str) {
    let word = format!("SKIPPED: {why}\n");
    std::io::stderr().write_all(word.as_bytes()).unwrap();
}

/// 64-bit FNV-1a in hexadecimal digits, as `digest` of `fixtures/make_fixtures.py`.
pub fn digest(bytes: &[u8]) -> String {
    let value = bytes.iter().fold(0xcbf2_9ce4_8422_2325u64, |value, byte| {
        (value ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    });
    format!("{value:016x}")
}
