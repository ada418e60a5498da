use tallow_ops::{ParamPath, Pool2dConfig};

use crate::nn::{
    AdaptiveAvgPool2d, BasicBlock, BatchNorm2d, Bottleneck, Conv2d, ConvBnRelu, ConvOptions,
    Flatten, Linear, MaxPool2d, PreActBlock, Relu, ResidualOptions, Sequential, Shortcut,
    WeightInit,
};
use crate::{Error, ModelConfig, Module, Result};

/// What a [`ResNet`] is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// [`BasicBlock`].
    Basic,
    /// [`Bottleneck`], whose output is four times as wide as its stage.
    Bottleneck,
    /// [`PreActBlock`]; batch norm and a rectifier follow the last.
    PreAct,
    /// The two convolutions of a [`BasicBlock`] without a shortcut: not a residual network, but what one is compared with.
    Plain,
}

/// What comes before the blocks of a [`ResNet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stem {
    /// A 7x7 convolution of stride 2 and a 3x3 pooling of stride 2, for images of 224 x 224.
    Large,
    /// A 3x3 convolution, for images of 32 x 32.
    Small,
}

/// Whose names and initialisation a [`ResNet`] follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// torchvision's: `downsample`, `fc`; convolutions normal by `fan_out`, linear layers uniform.
    Torchvision,
    /// `pytorch_resnet_cifar10`'s: `shortcut`, `linear`; all normal by `fan_in`.
    Cifar,
}

/// A residual network (He et al. 2016), described; [`ResNet::network`] makes it.
///
/// Every network of this family in the registry is such a description. Others are made from one of them:
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
/// let model = Model::from_network("resnext29", &config, |p, config| resnext.network("resnext29", p, config))?;
/// assert_eq!(model.summary()?.layers.last().unwrap().name, "fc");
/// # Ok::<(), tallow_models::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ResNet<'a> {
    /// What comes first.
    pub stem: Stem,
    /// Maps of the stem.
    pub stem_width: usize,
    /// What it is made of.
    pub block: Block,
    /// Blocks a stage. Each stage after the first halves the map and doubles the width.
    pub depths: &'a [usize],
    /// Maps in the first stage.
    pub width: usize,
    /// Groups of channels in the 3x3 convolutions of bottlenecks (ResNeXt).
    pub groups: usize,
    /// Maps a group has inside a bottleneck for every 64 of its stage (Wide ResNet: 128).
    pub width_per_group: usize,
    /// How the input of a block gets the shape of its output.
    pub shortcut: Shortcut,
    /// What its parts are called and how they start.
    pub naming: Naming,
}

impl<'a> ResNet<'a> {
    /// torchvision's, for ImageNet: 18 layers are basic blocks of depths 2, 2, 2, 2, 50 layers bottlenecks of 3, 4, 6, 3.
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

    /// The same with the stem for small images.
    pub const fn torchvision_cifar(block: Block, depths: &'a [usize]) -> Self {
        let large = Self::torchvision(block, depths);
        Self {
            stem: Stem::Small,
            ..large
        }
    }

    /// The CIFAR network of He et al. 2016 (section 4.2): three stages of 16, 32 and 64 maps, with shortcuts without parameters;
    /// `n` blocks a stage make `6 n + 2` layers.
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

    /// Makes the network, with its parameters under `p`. Of the configuration it reads the channels of the input, the classes and
    /// the width divisor.
    ///
    /// Fails when the width divisor does not divide the widths, when the groups do not divide a bottleneck, or when the sides of the
    /// image are not the multiples that [`Shortcut::Transposed`] needs. `model` is what the error calls it.
    pub fn network(
        &self,
        model: &'static str,
        p: &ParamPath,
        config: &ModelConfig,
    ) -> Result<Box<dyn Module>> {
        self.check_sides(model, config)?;
        let width = config.narrowed(model, self.width)?;
        let mut maps = config.narrowed(model, self.stem_width)?;
        let mut net = self.stem(p, config.input_shape.0, maps)?;
        for (stage, &depth) in self.depths.iter().enumerate() {
            for block in 0..depth {
                let p = p.pp(format_args!("layer{}", stage + 1)).pp(block);
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                (net, maps) = self.add_block(model, net, &p, maps, width << stage, stride)?;
            }
        }
        if self.block == Block::PreAct {
            net = net
                .add(BatchNorm2d::new(p.pp("bn"), maps)?)
                .add(Relu::new(p.pp("relu")));
        }
        let (head, init) = match self.naming {
            Naming::Torchvision => ("fc", WeightInit::Uniform),
            Naming::Cifar => ("linear", WeightInit::KaimingFanIn),
        };
        Ok(Box::new(
            net.add(AdaptiveAvgPool2d::new(p.pp("avgpool"), (1, 1)))
                .add(Flatten::new(p.pp("flatten")))
                .add(Linear::with(p.pp(head), maps, config.classes, init)?),
        ))
    }

    fn init(&self) -> WeightInit {
        match self.naming {
            Naming::Torchvision => WeightInit::KaimingFanOut,
            Naming::Cifar => WeightInit::KaimingFanIn,
        }
    }

    fn stem(&self, p: &ParamPath, channels: usize, width: usize) -> Result<Sequential> {
        let (kernel, stride) = match self.stem {
            Stem::Large => (7, 2),
            Stem::Small => (3, 1),
        };
        let options = ConvOptions {
            stride,
            padding: kernel / 2,
            bias: false,
            init: self.init(),
            ..Default::default()
        };
        let conv = Conv2d::with(p.pp("conv1"), channels, width, kernel, options)?;
        if self.block == Block::PreAct {
            return Ok(Sequential::new().add(conv));
        }
        let norm = BatchNorm2d::new(p.pp("bn1"), width)?;
        let net = Sequential::new().add(ConvBnRelu::new(conv, norm, Relu::new(p.pp("relu"))));
        let overlapping = Pool2dConfig {
            stride: (2, 2),
            padding: (1, 1),
            ..Pool2dConfig::new(3)
        };
        Ok(match self.stem {
            Stem::Large => net.add(MaxPool2d::with(p.pp("maxpool"), overlapping)),
            Stem::Small => net,
        })
    }

    /// `net` with a block at its end, and the number of maps that leave it.
    fn add_block(
        &self,
        model: &'static str,
        net: Sequential,
        p: &ParamPath,
        inputs: usize,
        width: usize,
        stride: usize,
    ) -> Result<(Sequential, usize)> {
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
            Block::Basic => (net.add(BasicBlock::new(p, inputs, width, &options)?), width),
            Block::PreAct => (
                net.add(PreActBlock::new(p, inputs, width, &options)?),
                width,
            ),
            Block::Plain => (plain(net, p, inputs, width, &options)?, width),
            Block::Bottleneck => {
                let inner = self.inner(model, width)?;
                let block = Bottleneck::new(p, inputs, inner, 4 * width, &options)?;
                (net.add(block), 4 * width)
            }
        })
    }

    /// The maps inside a bottleneck of a stage of this width.
    fn inner(&self, model: &'static str, width: usize) -> Result<usize> {
        let product = width * self.width_per_group;
        if product == 0 || !product.is_multiple_of(64) {
            let message = format!(
                "{width} maps in a stage and {} for every 64 of them make no whole number in a group",
                self.width_per_group
            );
            return Err(Error::Config { model, message });
        }
        Ok(product / 64 * self.groups)
    }

    fn check_sides(&self, model: &'static str, config: &ModelConfig) -> Result<()> {
        let (_, h, w) = config.input_shape;
        let least = match self.stem {
            Stem::Small => 1 << self.depths.len(),
            Stem::Large => 4 << self.depths.len(),
        };
        if self.shortcut == Shortcut::Transposed
            && !(h.is_multiple_of(least) && w.is_multiple_of(least))
        {
            let message = format!(
                "transposed shortcuts need images whose sides are multiples of {least}, not {h} x {w}"
            );
            return Err(Error::Config { model, message });
        }
        Ok(())
    }
}

/// The convolutions of a [`BasicBlock`], by the same names.
fn plain(
    net: Sequential,
    p: &ParamPath,
    inputs: usize,
    width: usize,
    options: &ResidualOptions,
) -> Result<Sequential> {
    let conv = |name, inputs, stride| {
        let options = ConvOptions {
            stride,
            padding: 1,
            bias: false,
            init: options.init,
            ..Default::default()
        };
        Conv2d::with(p.pp(name), inputs, width, 3, options)
    };
    Ok(net
        .add(ConvBnRelu::new(
            conv("conv1", inputs, options.stride)?,
            BatchNorm2d::new(p.pp("bn1"), width)?,
            Relu::new(p.pp("relu")),
        ))
        .add(ConvBnRelu::new(
            conv("conv2", width, 1)?,
            BatchNorm2d::new(p.pp("bn2"), width)?,
            Relu::new(p.pp("relu_1")),
        )))
}
