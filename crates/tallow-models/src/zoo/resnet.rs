use tallow_ops::{ParamPath, Pool2dConfig};

use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::nn::{
    ConvOptions, ResidualOptions, Sequential, SequentialBuilder, Shortcut, WeightInit,
};

/// Block of a [`ResNet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// [`BasicBlock`](crate::nn::BasicBlock).
    Basic,
    /// [`Bottleneck`](crate::nn::Bottleneck), with an output four times as wide as the stage.
    Bottleneck,
    /// [`PreActBlock`](crate::nn::PreActBlock); batch norm and ReLU follow the last block.
    PreAct,
    /// Two convolutions as in a basic block, without a shortcut: the plain network that residual ones are compared with.
    Plain,
}

/// Layers before the blocks of a [`ResNet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stem {
    /// 7x7 convolution of stride 2 and 3x3 max pooling of stride 2, for images of 224 x 224.
    Large,
    /// 3x3 convolution, for images of 32 x 32.
    Small,
}

/// Names and initialisation of a [`ResNet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// torchvision's: `downsample`, `fc`; convolutions normal by `fan_out`, linear layers uniform.
    Torchvision,
    /// `pytorch_resnet_cifar10`'s: `shortcut`, `linear`; all normal by `fan_in`.
    Cifar,
}

/// Description of a residual network (He et al. 2016); [`ResNet::network`] builds it.
///
/// Every network of this family in the registry is such a description. Others are variants of one of them:
///
/// ```
/// use tallow_models::nn::Shortcut;
/// use tallow_models::{Block, Model, ModelConfig, ResNet};
///
/// // ResNeXt-29, 4x32d, for CIFAR, with average pooling in its shortcuts.
/// let resnext = ResNet {
///     groups: 4,
///     width_per_group: 32,
///     shortcut: Shortcut::PooledProjection,
///     ..ResNet::torchvision_cifar(Block::Bottleneck, &[3, 3, 3])
/// };
/// let config = ModelConfig::new(10, (3, 32, 32));
/// let model = Model::from_network("resnext29", &config, |p, config| resnext.network(p, config))?;
/// assert_eq!(model.summary()?.layers.last().unwrap().name, "fc");
/// # Ok::<(), tallow_models::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ResNet<'a> {
    /// Layers before the blocks.
    pub stem: Stem,
    /// Channels of the stem.
    pub stem_width: usize,
    /// Kind of block.
    pub block: Block,
    /// Number of blocks per stage. Each stage after the first halves height and width and doubles the number of channels.
    pub depths: &'a [usize],
    /// Channels of the first stage.
    pub width: usize,
    /// Groups of channels in the 3x3 convolutions of bottlenecks (ResNeXt); 1 without groups.
    pub groups: usize,
    /// Channels of a group inside a bottleneck per 64 channels of the stage (Wide ResNet: 128).
    pub width_per_group: usize,
    /// Shortcut of a block.
    pub shortcut: Shortcut,
    /// Names and initialisation.
    pub naming: Naming,
}

impl<'a> ResNet<'a> {
    /// torchvision's network for ImageNet. ResNet-18 has basic blocks and depths 2, 2, 2, 2; ResNet-50 bottlenecks and depths 3, 4, 6, 3.
    pub const fn torchvision(block: Block, depths: &'a [usize]) -> Self {
        Self {
            stem: Stem::Large,
            stem_width: 64,
            block,
            depths,
            width: 64,
            groups: 1,
            width_per_group: 64,
            shortcut: Shortcut::Projection,
            naming: Naming::Torchvision,
        }
    }

    /// torchvision's network with the stem for small images.
    pub const fn torchvision_cifar(block: Block, depths: &'a [usize]) -> Self {
        let large = Self::torchvision(block, depths);
        Self {
            stem: Stem::Small,
            ..large
        }
    }

    /// Network for CIFAR of He et al. 2016 (section 4.2): three stages of 16, 32 and 64 channels and shortcuts without parameters.
    /// With `n` blocks per stage it has `6 n + 2` layers.
    pub const fn cifar(block: Block, depths: &'a [usize]) -> Self {
        Self {
            stem: Stem::Small,
            stem_width: 16,
            block,
            depths,
            width: 16,
            groups: 1,
            width_per_group: 64,
            shortcut: Shortcut::ZeroPad,
            naming: Naming::Cifar,
        }
    }

    /// Builds the network with its parameters under `p`. Of the configuration it uses the input shape, the number of classes and the
    /// width divisor.
    ///
    /// # Errors
    /// [`Error::Config`] when the width divisor does not divide the widths, when the channels of a stage do not make whole groups, or
    /// when the height and width of the images are not the multiples that [`Shortcut::Transposed`] needs.
    pub fn network(&self, p: &ParamPath, config: &ModelConfig) -> Result<Sequential> {
        self.check_sides(config)?;
        let mut net = self.stem(p, config)?;
        let width = config.narrowed(self.width)?;
        for (stage, &depth) in self.depths.iter().enumerate() {
            for block in 0..depth {
                let name = format!("layer{}.{block}", stage + 1);
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                net = self.add_block(net, name, width << stage, stride)?;
            }
        }
        if self.block == Block::PreAct {
            net = net.batch_norm2d("bn").named("relu").relu();
        }
        let (head, init) = match self.naming {
            Naming::Torchvision => ("fc", WeightInit::Uniform),
            Naming::Cifar => ("linear", WeightInit::KaimingFanIn),
        };
        net.adaptive_avg_pool2d(1, 1)
            .flatten()
            .linear_with(head, config.classes, init)
            .finish()
    }

    fn init(&self) -> WeightInit {
        match self.naming {
            Naming::Torchvision => WeightInit::KaimingFanOut,
            Naming::Cifar => WeightInit::KaimingFanIn,
        }
    }

    /// Convolution without bias that keeps the size at stride 1.
    fn conv(&self, kernel: usize, stride: usize) -> ConvOptions {
        ConvOptions {
            stride,
            padding: kernel / 2,
            bias: false,
            init: self.init(),
            ..Default::default()
        }
    }

    fn stem(&self, p: &ParamPath, config: &ModelConfig) -> Result<SequentialBuilder> {
        let (kernel, stride) = match self.stem {
            Stem::Large => (7, 2),
            Stem::Small => (3, 1),
        };
        let width = config.narrowed(self.stem_width)?;
        let net = Sequential::build(p, config.input_shape).conv2d_with(
            "conv1",
            width,
            kernel,
            self.conv(kernel, stride),
        );
        if self.block == Block::PreAct {
            return Ok(net);
        }
        let net = net.batch_norm2d("bn1").named("relu").relu();
        let overlapping = Pool2dConfig {
            stride: (2, 2),
            padding: (1, 1),
            ..Pool2dConfig::new(3)
        };
        Ok(match self.stem {
            Stem::Large => net.named("maxpool").max_pool2d_with(overlapping),
            Stem::Small => net,
        })
    }

    fn add_block(
        &self,
        net: SequentialBuilder,
        name: String,
        width: usize,
        stride: usize,
    ) -> Result<SequentialBuilder> {
        let options = ResidualOptions {
            stride,
            groups: self.groups,
            shortcut: self.shortcut,
            shortcut_name: match self.naming {
                Naming::Torchvision => "downsample",
                Naming::Cifar => "shortcut",
            },
            init: self.init(),
        };
        Ok(match self.block {
            Block::Basic => net.basic_block(name, width, &options),
            Block::PreAct => net.pre_act_block(name, width, &options),
            Block::Bottleneck => net.bottleneck(name, self.inner(width)?, 4 * width, &options),
            Block::Plain => net
                .conv2d_with(format!("{name}.conv1"), width, 3, self.conv(3, stride))
                .batch_norm2d(format!("{name}.bn1"))
                .named(format!("{name}.relu"))
                .relu()
                .conv2d_with(format!("{name}.conv2"), width, 3, self.conv(3, 1))
                .batch_norm2d(format!("{name}.bn2"))
                .named(format!("{name}.relu_1"))
                .relu(),
        })
    }

    /// Channels inside a bottleneck of a stage with `width` channels.
    fn inner(&self, width: usize) -> Result<usize> {
        let product = width * self.width_per_group;
        if product == 0 || !product.is_multiple_of(64) {
            return Err(Error::Config {
                message: format!(
                    "a stage of {width} channels with width_per_group {} has no whole number of channels in a group",
                    self.width_per_group
                ),
            });
        }
        Ok(product / 64 * self.groups)
    }

    fn check_sides(&self, config: &ModelConfig) -> Result<()> {
        let (_, h, w) = config.input_shape;
        let least = match self.stem {
            Stem::Small => 1 << self.depths.len(),
            Stem::Large => 4 << self.depths.len(),
        };
        if self.shortcut == Shortcut::Transposed
            && !(h.is_multiple_of(least) && w.is_multiple_of(least))
        {
            return Err(Error::Config {
                message: format!(
                    "transposed shortcuts need images with height and width in multiples of {least}, not {h} x {w}"
                ),
            });
        }
        Ok(())
    }
}
