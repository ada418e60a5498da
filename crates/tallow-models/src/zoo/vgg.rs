use tallow_ops::ParamPath;

use crate::nn::{
    BatchNorm2d, Conv2d, ConvBnRelu, ConvOptions, Flatten, Linear, MaxPool2d, Relu, Sequential,
    WeightInit,
};
use crate::{Error, ModelConfig, Module, Result};

use Step::{Conv, Pool};

enum Step {
    /// A 3x3 convolution to this many maps, batch norm, rectifier.
    Conv(usize),
    /// Halves the map.
    Pool,
}

#[rustfmt::skip]
const SLIM: [Step; 13] = [
    Conv(64), Pool, Conv(128), Pool, Conv(256), Conv(256), Pool, Conv(512), Conv(512), Pool, Conv(512), Conv(512), Pool,
];

#[rustfmt::skip]
const VGG16: [Step; 18] = [
    Conv(64), Conv(64), Pool, Conv(128), Conv(128), Pool, Conv(256), Conv(256), Conv(256), Pool,
    Conv(512), Conv(512), Conv(512), Pool, Conv(512), Conv(512), Conv(512), Pool,
];

/// A VGG of eight convolutions with batch norm (Simonyan and Zisserman 2015; Ioffe and Szegedy 2015) and one linear layer.
///
/// Names are torchvision's: `features.N`, counted over every layer (convolution, batch norm, rectifier, pooling), and `classifier`.
pub(crate) fn vgg16_slim(p: &ParamPath, config: &ModelConfig) -> Result<Box<dyn Module>> {
    vgg("vgg16-slim", &SLIM, WeightInit::Uniform, p, config)
}

/// torchvision's `vgg16_bn` with a head for small images: one linear layer, `classifier`.
pub(crate) fn vgg16_bn_cifar(p: &ParamPath, config: &ModelConfig) -> Result<Box<dyn Module>> {
    vgg(
        "vgg16-bn-cifar",
        &VGG16,
        WeightInit::KaimingFanOut,
        p,
        config,
    )
}

fn vgg(
    model: &'static str,
    layers: &[Step],
    init: WeightInit,
    p: &ParamPath,
    config: &ModelConfig,
) -> Result<Box<dyn Module>> {
    let (mut maps, mut h, mut w) = config.input_shape;
    let same = ConvOptions {
        padding: 1,
        init,
        ..Default::default()
    };
    let mut index = 0;
    let mut place = || {
        index += 1;
        p.pp("features").pp(index - 1)
    };
    let mut net = Sequential::new();
    let mut steps = layers.iter().peekable();
    while let Some(step) = steps.next() {
        match *step {
            Conv(width) => {
                let width = config.narrowed(model, width)?;
                let mut block = ConvBnRelu::new(
                    Conv2d::with(place(), maps, width, 3, same)?,
                    BatchNorm2d::new(place(), width)?,
                    Relu::new(place()),
                );
                if let Some(Pool) = steps.next_if(|step| matches!(step, Pool)) {
                    block = block.pooled(MaxPool2d::new(place(), 2));
                    (h, w) = (h / 2, w / 2);
                }
                net = net.add(block);
                maps = width;
            }
            Pool => {
                net = net.add(MaxPool2d::new(place(), 2));
                (h, w) = (h / 2, w / 2);
            }
        }
    }
    if h * w == 0 {
        let (_, h, w) = config.input_shape;
        let least = 1 << layers.iter().filter(|step| matches!(step, Pool)).count();
        let message =
            format!("images of {h} x {w} are too small: the poolings need {least} x {least}");
        return Err(Error::Config { model, message });
    }
    net = net.add(Flatten::new(p.pp("flatten")));
    Ok(Box::new(net.add(Linear::new(
        p.pp("classifier"),
        maps * h * w,
        config.classes,
    )?)))
}
