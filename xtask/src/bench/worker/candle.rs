//! The same networks as anyone would write them with candle-nn 0.11.1, to compare with.
//!
//! Nothing of ours is in them but the build around: the `gemm` crate's widest vectors, which are to candle's advantage. The allocator is
//! the system's. Their max pooling's gradient is wrong (a quarter of what it should be), which costs no time.

use anyhow::{Result, bail};
use candle_core::{D, DType, Device, ModuleT, Tensor};
use candle_nn::{
    AdamW, BatchNorm, Conv2d, Conv2dConfig, Optimizer, ParamsAdamW, SGD, VarBuilder, VarMap,
    batch_norm, conv2d, conv2d_no_bias, func, linear, loss,
};
use tallow_train::OptimizerConfig;

use super::case::{Case, Kind, Work};
use super::job::{Job, noise};

type Net = candle_core::Result<Layers>;

/// Backward and the optimizer's step, for a loss.
type Step = Box<dyn FnMut(&Tensor) -> candle_core::Result<()>>;

/// candle's own `Sequential` has no training mode.
#[derive(Default)]
struct Layers(Vec<Box<dyn ModuleT>>);

impl Layers {
    fn add(mut self, layer: impl ModuleT + 'static) -> Self {
        self.0.push(Box::new(layer));
        self
    }

    fn add_fn(self, f: fn(&Tensor) -> candle_core::Result<Tensor>) -> Self {
        self.add(func(f))
    }
}

impl ModuleT for Layers {
    fn forward_t(&self, x: &Tensor, train: bool) -> candle_core::Result<Tensor> {
        let mut x = x.clone();
        for layer in &self.0 {
            x = layer.forward_t(&x, train)?;
        }
        Ok(x)
    }
}

/// A network's training step or inference.
pub fn network(case: &Case) -> Result<Job> {
    let Work::Network {
        input, optimizer, ..
    } = &case.work
    else {
        bail!("not a network");
    };
    let map = VarMap::new();
    let vb = VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu);
    let net = match case.name.as_str() {
        "fc" => fc(vb),
        "cnn" => cnn(vb),
        "cifar-cnn" => lenet(vb, 6, 16),
        "lenet" => lenet(vb, 16, 32),
        "vgg16-slim" => vgg(vb, &[64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0]),
        "vgg16-bn" => vgg(
            vb,
            &[
                64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0,
            ],
        ),
        "resnet18" => resnet(vb, &[(64, 2), (128, 2), (256, 2), (512, 2)], Shortcut::Conv),
        "resnet20" => resnet(vb, &[(16, 3), (32, 3), (64, 3)], Shortcut::Pad),
        name => bail!("no network `{name}` for candle"),
    }?;
    // Running statistics are variables of the map too, but not trained.
    let trained: Vec<_> = {
        let data = map.data().lock().unwrap_or_else(|e| e.into_inner());
        let trained = data.iter().filter(|(name, _)| !name.contains("running_"));
        trained.map(|(_, var)| var.clone()).collect()
    };
    let parameters = Some(trained.iter().map(|var| var.elem_count()).sum());
    let (images, labels) = noise(case.batch, *input)?;
    let run: Box<dyn FnMut() -> _> = if case.kind == Kind::Step {
        let mut step: Step = match optimizer {
            // Without the momentum that PyTorch and we have: there is none in candle.
            OptimizerConfig::Sgd(config) => {
                let mut sgd = SGD::new(trained, config.lr)?;
                Box::new(move |loss| sgd.backward_step(loss))
            }
            OptimizerConfig::Adam(_) | OptimizerConfig::AdamW(_) => {
                let params = ParamsAdamW {
                    lr: optimizer.lr(),
                    weight_decay: 0.0,
                    ..Default::default()
                };
                let mut adam = AdamW::new(trained, params)?;
                Box::new(move |loss| adam.backward_step(loss))
            }
            other => bail!("candle has no optimizer like {other:?}"),
        };
        Box::new(move || {
            let logits = net.forward_t(&images, true)?;
            let loss = loss::cross_entropy(&logits, &labels)?;
            step(&loss)?;
            Ok(Some(loss.detach()))
        })
    } else {
        Box::new(move || Ok(Some(net.forward_t(&images, false)?.detach())))
    };
    Ok(Job {
        parameters,
        gflop: None,
        pieces: 1,
        run,
    })
}

fn fc(vb: VarBuilder) -> Net {
    Ok(Layers::default()
        .add_fn(|x| x.flatten_from(1))
        .add(linear(784, 8, vb.pp("fc1"))?)
        .add_fn(Tensor::relu)
        .add(linear(8, 8, vb.pp("fc2"))?)
        .add_fn(Tensor::relu)
        .add(linear(8, 10, vb.pp("fc3"))?))
}

/// A 5x5 convolution, rectifier and pooling.
fn five(net: Layers, inputs: usize, outputs: usize, vb: VarBuilder) -> Net {
    Ok(net
        .add(conv2d(inputs, outputs, 5, Conv2dConfig::default(), vb)?)
        .add_fn(|x| x.relu()?.max_pool2d(2)))
}

fn cnn(vb: VarBuilder) -> Net {
    let net = five(Layers::default(), 1, 6, vb.pp("conv1"))?;
    Ok(five(net, 6, 6, vb.pp("conv2"))?
        .add_fn(|x| x.flatten_from(1))
        .add(linear(6 * 16, 50, vb.pp("fc1"))?)
        .add_fn(Tensor::relu)
        .add(linear(50, 10, vb.pp("fc2"))?))
}

fn lenet(vb: VarBuilder, a: usize, b: usize) -> Net {
    let net = five(Layers::default(), 3, a, vb.pp("conv1"))?;
    Ok(five(net, a, b, vb.pp("conv2"))?
        .add_fn(|x| x.flatten_from(1))
        .add(linear(b * 25, 120, vb.pp("fc1"))?)
        .add_fn(Tensor::relu)
        .add(linear(120, 84, vb.pp("fc2"))?)
        .add_fn(Tensor::relu)
        .add(linear(84, 10, vb.pp("fc3"))?))
}

const SAME: Conv2dConfig = Conv2dConfig {
    padding: 1,
    stride: 1,
    dilation: 1,
    groups: 1,
    cudnn_fwd_algo: None,
};

/// 0 is a pooling.
fn vgg(vb: VarBuilder, widths: &[usize]) -> Net {
    let (mut net, mut maps) = (Layers::default(), 3);
    for (i, &width) in widths.iter().enumerate() {
        if width == 0 {
            net = net.add_fn(|x| x.max_pool2d(2));
        } else {
            let vb = vb.pp(i);
            net = net
                .add(conv2d(maps, width, 3, SAME, vb.pp("conv"))?)
                .add(batch_norm(width, 1e-5, vb.pp("bn"))?)
                .add_fn(Tensor::relu);
            maps = width;
        }
    }
    Ok(net
        .add_fn(|x| x.flatten_from(1))
        .add(linear(512, 10, vb.pp("fc"))?))
}

/// Shortcut of a residual block that changes the size or the number of feature maps.
#[derive(Clone, Copy)]
enum Shortcut {
    /// A 1x1 convolution and batch norm.
    Conv,
    /// Every second pixel, and maps of zeros.
    Pad,
}

/// A 3x3 stem, stages of so many maps and blocks, the mean, and a linear layer.
fn resnet(vb: VarBuilder, stages: &[(usize, usize)], shortcut: Shortcut) -> Net {
    let mut inputs = stages.first().map_or(0, |stage| stage.0);
    let mut net = Layers::default()
        .add(conv2d_no_bias(3, inputs, 3, SAME, vb.pp("conv1"))?)
        .add(batch_norm(inputs, 1e-5, vb.pp("bn1"))?)
        .add_fn(Tensor::relu);
    for (stage, &(maps, blocks)) in stages.iter().enumerate() {
        for block in 0..blocks {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let vb = vb.pp(format!("layer{stage}")).pp(block);
            net = net.add(Block::new(vb, inputs, maps, stride, shortcut)?);
            inputs = maps;
        }
    }
    Ok(net
        .add_fn(|x| x.mean(D::Minus1)?.mean(D::Minus1))
        .add(linear(inputs, 10, vb.pp("fc"))?))
}

struct Block {
    conv1: Conv2d,
    bn1: BatchNorm,
    conv2: Conv2d,
    bn2: BatchNorm,
    skip: Skip,
}

enum Skip {
    Same,
    Conv(Conv2d, BatchNorm),
    Pad { maps: usize },
}

impl Block {
    fn new(
        vb: VarBuilder,
        inputs: usize,
        maps: usize,
        stride: usize,
        shortcut: Shortcut,
    ) -> candle_core::Result<Self> {
        let strided = Conv2dConfig { stride, ..SAME };
        let skip = match shortcut {
            _ if stride == 1 && inputs == maps => Skip::Same,
            Shortcut::Conv => {
                let pixel = Conv2dConfig {
                    padding: 0,
                    ..strided
                };
                Skip::Conv(
                    conv2d_no_bias(inputs, maps, 1, pixel, vb.pp("down"))?,
                    batch_norm(maps, 1e-5, vb.pp("down_bn"))?,
                )
            }
            Shortcut::Pad => Skip::Pad {
                maps: (maps - inputs) / 2,
            },
        };
        Ok(Self {
            conv1: conv2d_no_bias(inputs, maps, 3, strided, vb.pp("conv1"))?,
            bn1: batch_norm(maps, 1e-5, vb.pp("bn1"))?,
            conv2: conv2d_no_bias(maps, maps, 3, SAME, vb.pp("conv2"))?,
            bn2: batch_norm(maps, 1e-5, vb.pp("bn2"))?,
            skip,
        })
    }
}

impl ModuleT for Block {
    fn forward_t(&self, x: &Tensor, train: bool) -> candle_core::Result<Tensor> {
        let y = self.conv1.forward_t(x, train)?;
        let y = self.bn1.forward_t(&y, train)?.relu()?;
        let y = self.conv2.forward_t(&y, train)?;
        let y = self.bn2.forward_t(&y, train)?;
        let x = match &self.skip {
            Skip::Same => x.clone(),
            Skip::Conv(conv, bn) => bn.forward_t(&conv.forward_t(x, train)?, train)?,
            Skip::Pad { maps } => {
                let even = |side: usize| Tensor::arange_step(0u32, side as u32, 2, x.device());
                let (h, w) = (even(x.dim(2)?)?, even(x.dim(3)?)?);
                x.index_select(&h, 2)?
                    .index_select(&w, 3)?
                    .pad_with_zeros(1, *maps, *maps)?
            }
        };
        (y + x)?.relu()
    }
}

#[cfg(test)]
mod tests {
    use tallow_models::{Model, find};

    use super::*;
    use crate::bench::cases;

    #[test]
    fn the_networks_are_ours() {
        let kinds = ["step".to_string(), "inference".to_string()];
        for mut case in cases::select(&kinds).unwrap() {
            let Work::Network { model, .. } = &case.work else {
                panic!("{} is no network", case.name);
            };
            let entry = find(model).unwrap();
            let ours = Model::build(model, &entry.config().unwrap()).unwrap();
            case.batch = 2;
            let mut job = network(&case).unwrap();
            assert_eq!(
                job.parameters,
                Some(ours.store().num_parameters()),
                "{model}"
            );
            let shape: &[usize] = if case.kind == Kind::Step {
                &[]
            } else {
                &[2, 10]
            };
            assert_eq!((job.run)().unwrap().unwrap().dims(), shape, "{model}");
        }
    }
}
