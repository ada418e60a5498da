//! Our networks: the calls that [`tallow_train::Trainer`] makes for a batch.

use anyhow::{Result, bail};
use candle_core::{Device, ModuleT};
use tallow_models::{Model, ModelConfig, registry};
use tallow_ops::{Tape, no_grad};
use tallow_train::{CrossEntropy, Loss, OptimizerConfig, Target};

use super::job::{Job, noise};

/// A training step, or a forward pass in evaluation mode.
pub fn job(
    name: &str,
    input: (usize, usize, usize),
    optimizer: &OptimizerConfig,
    batch: usize,
    train: bool,
    device: &Device,
) -> Result<Job> {
    if !registry().iter().any(|entry| entry.name() == name) {
        bail!("not in this build: there is no model `{name}`");
    }
    let config = ModelConfig {
        device: device.clone(),
        ..ModelConfig::new(10, input)
    };
    let model = Model::build(name, &config)?;
    let (images, labels) = noise(batch, input)?;
    let (images, labels) = (images.to_device(device)?, labels.to_device(device)?);
    let parameters = Some(model.store().num_parameters());
    // Backward computes the gradients of inputs and of weights, each as much work as forward.
    let passes = if train { 3.0 } else { 1.0 };
    let gflop = Some(passes * 2e-9 * batch as f64 * model.summary()?.multiply_adds as f64);
    let run: Box<dyn FnMut() -> _> = if train {
        let (loss, lr) = (CrossEntropy::default(), optimizer.lr());
        let mut optimizer = optimizer.build(model.store().parameters())?;
        let target = Target::Classes(labels);
        Box::new(move || {
            let tape = Tape::record();
            let output = model.forward_t(&images, true)?;
            let loss = loss.loss(&output, &target)?;
            let grads = tape.backward(&loss)?;
            optimizer.set_lr(lr);
            optimizer.step(&grads)?;
            Ok(Some(loss.detach()))
        })
    } else {
        Box::new(move || Ok(Some(no_grad(|| model.forward_t(&images, false))?.detach())))
    };
    Ok(Job {
        parameters,
        gflop,
        pieces: 1,
        run,
    })
}
