//! Our single operators.

use anyhow::Result;
use candle_core::{DType, Device, Tensor, Var};
use tallow_models::{Model, find};
use tallow_ops::{
    BatchNormConfig, Conv2dConfig, CrossEntropyConfig, Layout, Pool2dConfig, SqueezeExciteConfig,
    Tape, batch_norm_train, conv2d, cross_entropy, gelu, hard_swish, layer_norm, linear,
    max_pool2d, silu, squeeze_excite,
};
use tallow_train::{CrossEntropy, Loss, OptimizerConfig, Target};

use super::case::{Function, Operator};
use super::job::{Job, noise};

/// The operator, with gradients of input and parameters if it says so.
pub fn job(op: &Operator, batch: usize) -> Result<Job> {
    let (forward, backward, multiply_adds) = match *op {
        Operator::Conv {
            input,
            output,
            side,
            kernel,
            stride,
            padding,
            groups,
            backward,
        } => {
            // As in the networks: deep layers channels last, those with few channels along their rows.
            let layout = if input < 16 {
                Layout::Nchw
            } else {
                Layout::Nhwc
            };
            let x = images(batch, input, side, layout, backward)?;
            let weight = normal(&[output, input / groups, kernel, kernel], backward)?;
            let bias = normal(&[output], backward)?;
            let config = Conv2dConfig {
                stride: (stride, stride),
                padding: (padding, padding),
                groups,
                layout,
                ..Default::default()
            };
            let out = (side + 2 * padding - kernel) / stride + 1;
            let products = out * out * output * (input / groups) * kernel * kernel;
            let forward: Forward = Box::new(move || Ok(conv2d(&x, &weight, Some(&bias), &config)?));
            (forward, backward, Some(products))
        }
        Operator::MaxPool {
            maps,
            side,
            backward,
        } => {
            let layout = Layout::Nhwc;
            let x = images(batch, maps, side, layout, backward)?;
            let config = Pool2dConfig {
                layout,
                ..Pool2dConfig::new(2)
            };
            let forward: Forward = Box::new(move || Ok(max_pool2d(&x, &config)?));
            (forward, backward, None)
        }
        Operator::BatchNorm {
            maps,
            side,
            backward,
        } => {
            let layout = Layout::Nhwc;
            let x = images(batch, maps, side, layout, backward)?;
            let (weight, bias) = (normal(&[maps], backward)?, normal(&[maps], backward)?);
            let mean = Var::zeros(maps, DType::F32, &Device::Cpu)?;
            let var = Var::ones(maps, DType::F32, &Device::Cpu)?;
            let config = BatchNormConfig {
                layout,
                ..Default::default()
            };
            let forward: Forward =
                Box::new(move || Ok(batch_norm_train(&x, &weight, &bias, &mean, &var, &config)?));
            (forward, backward, None)
        }
        Operator::LayerNorm {
            maps,
            side,
            backward,
        } => {
            let x = images(batch, maps, side, Layout::Nhwc, backward)?;
            let (weight, bias) = (normal(&[maps], backward)?, normal(&[maps], backward)?);
            let forward: Forward =
                Box::new(move || Ok(layer_norm(&x, Some(&weight), Some(&bias), 1e-5)?));
            (forward, backward, None)
        }
        Operator::Activation {
            function,
            maps,
            side,
            backward,
        } => {
            let x = images(batch, maps, side, Layout::Nhwc, backward)?;
            let function = match function {
                Function::Gelu => gelu,
                Function::Silu => silu,
                Function::HardSwish => hard_swish,
            };
            let forward: Forward = Box::new(move || Ok(function(&x)?));
            (forward, backward, None)
        }
        Operator::SqueezeExcite {
            maps,
            squeezed,
            side,
            backward,
        } => {
            let layout = Layout::Nhwc;
            let x = images(batch, maps, side, layout, backward)?;
            let layer = |outputs: usize, inputs: usize| -> candle_core::Result<_> {
                let weight = normal(&[outputs, inputs], backward)?;
                Ok((weight, normal(&[outputs], backward)?))
            };
            let (fc1, fc2) = (layer(squeezed, maps)?, layer(maps, squeezed)?);
            let config = SqueezeExciteConfig {
                layout,
                ..Default::default()
            };
            let forward: Forward = Box::new(move || {
                let layers = ((&fc1.0, &fc1.1), (&fc2.0, &fc2.1));
                Ok(squeeze_excite(&x, layers.0, layers.1, &config)?)
            });
            (forward, backward, None)
        }
        Operator::Linear {
            inputs,
            outputs,
            backward,
        } => {
            let x = normal(&[batch, inputs], backward)?;
            let weight = normal(&[outputs, inputs], backward)?;
            let bias = normal(&[outputs], backward)?;
            let forward: Forward = Box::new(move || Ok(linear(&x, &weight, Some(&bias))?));
            (forward, backward, Some(inputs * outputs))
        }
        Operator::CrossEntropy { classes, backward } => {
            let x = normal(&[batch, classes], backward)?;
            let labels: Vec<u32> = (0..batch).map(|i| (i * 7 % classes) as u32).collect();
            let labels = Tensor::from_vec(labels, batch, &Device::Cpu)?;
            let config = CrossEntropyConfig::default();
            let forward: Forward = Box::new(move || Ok(cross_entropy(&x, &labels, &config)?));
            (forward, backward, None)
        }
        Operator::Adam { ref network } => return adam(network),
    };
    let passes = if backward { 3.0 } else { 1.0 };
    Ok(Job {
        parameters: None,
        gflop: multiply_adds.map(|n| passes * 2e-9 * batch as f64 * n as f64),
        pieces: 1,
        run: Box::new(move || {
            if !backward {
                forward()?;
                return Ok(None);
            }
            // As the trainer does it. The gradient of the output is ones, which are made in every call; PyTorch's side does likewise.
            let tape = Tape::record();
            let y = forward()?;
            tape.backward(&y)?;
            Ok(None)
        }),
    })
}

type Forward = Box<dyn Fn() -> Result<Tensor>>;

/// The optimizer's step alone, with the gradients of one small batch.
fn adam(network: &str) -> Result<Job> {
    let config = find(network)?.config()?;
    let model = Model::build(network, &config)?;
    let (images, labels) = noise(2, config.input_shape)?;
    let logits = model.forward(&images, true)?;
    let loss = CrossEntropy::default().loss(&logits, &Target::Classes(labels))?;
    let grads = loss.backward()?;
    let mut optimizer = OptimizerConfig::adam(1e-3).build(model.store().parameters())?;
    Ok(Job {
        parameters: None,
        gflop: None,
        pieces: 1,
        run: Box::new(move || {
            optimizer.step(&grads)?;
            Ok(None)
        }),
    })
}

/// Normal noise; a variable where gradients are wanted.
fn normal(shape: &[usize], variable: bool) -> candle_core::Result<Tensor> {
    let noise = Tensor::randn(0f32, 1.0, shape, &Device::Cpu)?;
    Ok(if variable {
        Var::from_tensor(&noise)?.into_inner()
    } else {
        noise
    })
}

fn images(
    batch: usize,
    maps: usize,
    side: usize,
    layout: Layout,
    variable: bool,
) -> candle_core::Result<Tensor> {
    let shape = match layout {
        Layout::Nchw => [batch, maps, side, side],
        Layout::Nhwc => [batch, side, side, maps],
    };
    normal(&shape, variable)
}
