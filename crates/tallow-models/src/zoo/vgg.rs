use tallow_ops::ParamPath;

use crate::nn::{
    AdaptiveAvgPool2d, BatchNorm2d, Conv2d, ConvBnRelu, ConvOptions, Dropout, Flatten, Linear,
    MaxPool2d, Relu, Sequential, WeightInit,
};
use crate::{Error, ModelConfig, Module, Result};

/// What ends a [`Vgg`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Head {
    /// torchvision's: averages over 7 x 7 fields, three linear layers with dropout between them, `classifier.0`, `.3` and `.6`.
    Large,
    /// One linear layer over all that is left of the map, `classifier`.
    Small,
}

/// A VGG (Simonyan and Zisserman 2015), described.
///
/// Names are torchvision's: `features.N`, counted over every layer (convolution, batch norm, rectifier, pooling), and `classifier`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vgg {
    /// 3x3 convolutions a stage, of 64, 128, 256, 512 and 512 maps; a pooling ends each stage.
    pub stages: [usize; 5],
    /// Whether batch norm follows each convolution (Ioffe and Szegedy 2015).
    pub norm: bool,
    /// What ends it.
    pub head: Head,
    /// How the convolutions start.
    pub init: WeightInit,
}

const WIDTHS: [usize; 5] = [64, 128, 256, 512, 512];

impl Vgg {
    /// One of torchvision's, started as torchvision starts it.
    pub(crate) const fn new(stages: [usize; 5], norm: bool, head: Head) -> Self {
        Self {
            stages,
            norm,
            head,
            init: WeightInit::KaimingFanOut,
        }
    }

    pub(crate) fn network(
        &self,
        model: &'static str,
        p: &ParamPath,
        config: &ModelConfig,
    ) -> Result<Box<dyn Module>> {
        let (mut maps, h, w) = config.input_shape;
        let least = 1 << WIDTHS.len();
        if h.min(w) < least {
            let message =
                format!("images of {h} x {w} are too small: the poolings need {least} x {least}");
            return Err(Error::Config { model, message });
        }
        let same = ConvOptions {
            padding: 1,
            init: self.init,
            ..Default::default()
        };
        let mut index = 0;
        let mut place = || {
            index += 1;
            p.pp("features").pp(index - 1)
        };
        let mut net = Sequential::new();
        for (convolutions, width) in self.stages.into_iter().zip(WIDTHS) {
            let width = config.narrowed(model, width)?;
            for last in (0..convolutions).map(|i| i + 1 == convolutions) {
                let conv = Conv2d::with(place(), maps, width, 3, same)?;
                maps = width;
                if !self.norm {
                    net = net.add(conv).add(Relu::new(place()));
                    if last {
                        net = net.add(MaxPool2d::new(place(), 2));
                    }
                    continue;
                }
                let norm = BatchNorm2d::new(place(), width)?;
                let block = ConvBnRelu::new(conv, norm, Relu::new(place()));
                net = net.add(if last {
                    block.pooled(MaxPool2d::new(place(), 2))
                } else {
                    block
                });
            }
        }
        match self.head {
            Head::Large => large_head(model, net, p, maps, config),
            Head::Small => {
                let features = maps * (h / least) * (w / least);
                let classifier = Linear::new(p.pp("classifier"), features, config.classes)?;
                Ok(Box::new(
                    net.add(Flatten::new(p.pp("flatten"))).add(classifier),
                ))
            }
        }
    }
}

fn large_head(
    model: &'static str,
    net: Sequential,
    p: &ParamPath,
    maps: usize,
    config: &ModelConfig,
) -> Result<Box<dyn Module>> {
    let width = config.narrowed(model, 4096)?;
    let dropout = config.dropout.unwrap_or(0.5);
    let normal = WeightInit::Normal { std: 0.01 };
    let net = net
        .add(AdaptiveAvgPool2d::new(p.pp("avgpool"), (7, 7)))
        .add(Flatten::new(p.pp("flatten")));
    let p = p.pp("classifier");
    Ok(Box::new(
        net.add(Linear::with(p.pp(0), maps * 49, width, normal)?)
            .add(Relu::new(p.pp(1)))
            .add(Dropout::new(p.pp(2), dropout))
            .add(Linear::with(p.pp(3), width, width, normal)?)
            .add(Relu::new(p.pp(4)))
            .add(Dropout::new(p.pp(5), dropout))
            .add(Linear::with(p.pp(6), width, config.classes, normal)?),
    ))
}
