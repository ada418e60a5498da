use tallow_ops::ParamPath;

use crate::config::ModelConfig;
use crate::error::Result;
use crate::nn::{ConvOptions, Sequential, SequentialBuilder, WeightInit};

/// Head of a [`Vgg`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Head {
    /// torchvision's: adaptive average pooling to 7 x 7 and three linear layers with dropout, `classifier.0`, `.3` and `.6`.
    Large,
    /// One linear layer over the remaining map, `classifier`.
    Small,
}

/// VGG (Simonyan and Zisserman 2015) with torchvision's names: `features.N`, counted over all layers, and `classifier`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vgg {
    /// Number of 3x3 convolutions per stage, of 64, 128, 256, 512 and 512 channels; a pooling ends each stage.
    pub stages: [usize; 5],
    /// Whether batch norm follows each convolution (Ioffe and Szegedy 2015).
    pub norm: bool,
    /// Layers after the convolutions.
    pub head: Head,
    /// Initialisation of the convolutions.
    pub init: WeightInit,
}

impl Vgg {
    /// torchvision's network of these stages, with torchvision's initialisation.
    pub(crate) const fn new(stages: [usize; 5], norm: bool, head: Head) -> Self {
        Self {
            stages,
            norm,
            head,
            init: WeightInit::KaimingFanOut,
        }
    }

    pub(crate) fn network(&self, p: &ParamPath, config: &ModelConfig) -> Result<Sequential> {
        let padded = ConvOptions {
            padding: 1,
            init: self.init,
            ..Default::default()
        };
        let width = config.narrowed(64)?;
        let net = Sequential::build(p, config.input_shape).sequential("features", |mut net| {
            for (convolutions, factor) in self.stages.into_iter().zip([1, 2, 4, 8, 8]) {
                for _ in 0..convolutions {
                    net = net.conv2d_with(None, factor * width, 3, padded);
                    if self.norm {
                        net = net.batch_norm2d(None);
                    }
                    net = net.relu();
                }
                net = net.max_pool2d(2);
            }
            net
        });
        match self.head {
            Head::Large => large_head(net, config),
            Head::Small => net.flatten().linear("classifier", config.classes).finish(),
        }
    }
}

fn large_head(net: SequentialBuilder, config: &ModelConfig) -> Result<Sequential> {
    let width = config.narrowed(4096)?;
    let dropout = config.dropout.unwrap_or(0.5);
    let normal = WeightInit::Normal { std: 0.01 };
    net.adaptive_avg_pool2d(7, 7)
        .flatten()
        .sequential("classifier", |net| {
            net.linear_with(None, width, normal)
                .relu()
                .dropout(dropout)
                .linear_with(None, width, normal)
                .relu()
                .dropout(dropout)
                .linear_with(None, config.classes, normal)
        })
        .finish()
}
