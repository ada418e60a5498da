//! Files that show whether exported networks agree with the original: `xtask/pytorch/check_onnx.py` compares them.
//!
//! ```text
//! cargo run --release -p tallow-models --example export -- --list
//! cargo run --release -p tallow-models --example export -- resnet18 OUT [WIDTH_DIVISOR [SIDE]]
//! ```
//!
//! The network has random weights and running statistics near those of its own activations, so that signals neither die nor grow with the
//! depth. In the folder OUT, `NAME.onnx` and `NAME.pt` are the network, and `NAME.safetensors` has `images`
//! and the `logits` that it gives for them. For small networks, `NAME.bytes.onnx` takes bytes, with the mean 0.5 and the standard deviation 0.25.

use std::collections::HashMap;
use std::error::Error;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use tallow_models::{Model, ModelConfig, OnnxInput, OnnxOptions, find, registry};
use tallow_ops::{Generator, no_grad, with_running_momentum};

/// Images that the outputs are compared on; another number than the one that a graph is found with.
const IMAGES: usize = 3;
/// Images from which the running statistics are.
const STATISTICS: usize = 8;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--list"] => {
            for entry in registry() {
                let parameters = entry.parameters.unwrap_or_default();
                println!(
                    "{} {parameters} {}",
                    entry.name(),
                    entry.takes_width_divisor
                );
            }
            Ok(())
        }
        [name, out] => export(name, Path::new(out), 1, None),
        [name, out, divisor] => export(name, Path::new(out), divisor.parse()?, None),
        [name, out, divisor, side] => {
            export(name, Path::new(out), divisor.parse()?, Some(side.parse()?))
        }
        _ => Err("expected --list, or NAME OUT [WIDTH_DIVISOR [SIDE]]".into()),
    }
}

/// Writes the files of a network for its own images, or for others of `side` pixels.
fn export(
    name: &str,
    out: &Path,
    divisor: usize,
    side: Option<usize>,
) -> Result<(), Box<dyn Error>> {
    let mut config = ModelConfig {
        width_divisor: divisor,
        ..find(name)?.config()?
    };
    if let Some(side) = side {
        config.input_shape = (config.input_shape.0, side, side);
    }
    let model = Model::build(name, &config)?;
    let generator = Generator::new(1);
    let uniform = |tensor: &Tensor, lo: f64, up: f64| {
        generator.uniform(lo, up, tensor.dims(), tensor.dtype(), &Device::Cpu)
    };
    let (channels, h, w) = model.input_shape();
    let pictures = |n: usize| {
        let (lo, up) = (-2., 2.);
        generator.uniform(lo, up, (n, channels, h, w), DType::F32, &Device::Cpu)
    };

    let buffers = model.store().buffers();
    let parameters = model.store().parameters();
    let norm = |name: &str| {
        buffers
            .iter()
            .any(|(buffer, _)| buffer == &format!("{name}.running_var"))
    };
    let normed = buffers
        .iter()
        .any(|(name, _)| name.ends_with(".running_var"));
    for (name, var) in &parameters {
        match name.rsplit_once('.') {
            // Of a variance that the layers keep (He et al. 2015); PyTorch's is a sixth of it.
            Some((_, "weight")) if !normed && var.rank() > 1 => {
                let fan_in = var.elem_count() / var.dims()[0];
                let bound = (6. / fan_in as f64).sqrt();
                var.set(&uniform(var, -bound, bound)?)?;
            }
            Some((layer, "weight")) if norm(layer) => var.set(&uniform(var, 0.7, 1.3)?)?,
            // So that rectifiers cut a few values of a hundred. With half of them cut, a difference grows by a fifth with each
            // layer of a random network, and rounding decides the logits of a deep one.
            Some((layer, "bias")) if norm(layer) => var.set(&uniform(var, 1., 2.)?)?,
            // As initialised, blocks would be nearly identities.
            Some((_, "layer_scale")) => var.set(&uniform(var, 0.2, 0.6)?)?,
            _ => {}
        }
    }
    with_running_momentum(1., || {
        no_grad(|| model.forward(&pictures(STATISTICS)?, true))
    })?;
    for (name, mean) in &buffers {
        let Some(layer) = name.strip_suffix(".running_mean") else {
            continue;
        };
        let var = format!("{layer}.running_var");
        let Some((_, var)) = buffers.iter().find(|(name, _)| *name == var) else {
            continue;
        };
        // In proportion: the statistics of a channel may be small.
        let shift = (uniform(mean, -0.1, 0.1)? * var.as_detached_tensor().sqrt()?)?;
        mean.set(&(mean.as_detached_tensor() + shift)?)?;
        let factor = uniform(var, 0.8, 1.25)?;
        var.set(&(var.as_detached_tensor() * factor)?)?;
    }

    let images = pictures(IMAGES)?;
    let logits = no_grad(|| model.forward(&images, false))?;
    let options = OnnxOptions::default();
    std::fs::create_dir_all(out)?;
    std::fs::write(out.join(format!("{name}.onnx")), model.to_onnx(&options)?)?;
    if model.store().num_parameters() < 100_000 {
        let (mean, std) = (vec![0.5; channels], vec![0.25; channels]);
        let input = OnnxInput::Bytes { mean, std };
        let prepared = model.to_onnx(&OnnxOptions { input, ..options })?;
        std::fs::write(out.join(format!("{name}.bytes.onnx")), prepared)?;
    }
    std::fs::write(out.join(format!("{name}.pt")), model.to_torch()?)?;
    let tensors = HashMap::from([("images", images), ("logits", logits)]);
    candle_core::safetensors::save(&tensors, out.join(format!("{name}.safetensors")))?;
    Ok(())
}
