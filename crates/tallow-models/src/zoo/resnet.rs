use tallow_ops::ParamPath;

use crate::nn::{
    AdaptiveAvgPool2d, BasicBlock, BatchNorm2d, Conv2d, ConvBnRelu, ConvOptions, Flatten, Linear,
    Relu, ResidualOptions, Sequential, Shortcut, WeightInit,
};
use crate::{ModelConfig, Module, Result};

/// What tells one residual network from another.
struct ResNet {
    model: &'static str,
    /// Blocks a stage. Each stage after the first halves the map and doubles the width.
    depths: &'static [usize],
    /// Maps in the first stage.
    width: usize,
    shortcut: Shortcut,
    shortcut_name: &'static str,
    head: &'static str,
    init: WeightInit,
    head_init: WeightInit,
}

/// torchvision's `resnet18` with a stem for small images: a 3x3 convolution of stride 1 and no pooling. Its names are torchvision's.
pub(crate) fn resnet18_cifar(p: &ParamPath, config: &ModelConfig) -> Result<Box<dyn Module>> {
    ResNet {
        model: "resnet18-cifar",
        depths: &[2, 2, 2, 2],
        width: 64,
        shortcut: Shortcut::Projection,
        shortcut_name: "downsample",
        head: "fc",
        init: WeightInit::KaimingFanOut,
        head_init: WeightInit::Uniform,
    }
    .build(p, config)
}

/// The CIFAR network of He et al. 2016 (section 4.2), with the names of the well-known `pytorch_resnet_cifar10`.
pub(crate) fn resnet20(p: &ParamPath, config: &ModelConfig) -> Result<Box<dyn Module>> {
    ResNet {
        model: "resnet20",
        depths: &[3, 3, 3],
        width: 16,
        shortcut: Shortcut::ZeroPad,
        shortcut_name: "shortcut",
        head: "linear",
        init: WeightInit::KaimingFanIn,
        head_init: WeightInit::KaimingFanIn,
    }
    .build(p, config)
}

impl ResNet {
    fn build(&self, p: &ParamPath, config: &ModelConfig) -> Result<Box<dyn Module>> {
        let width = config.narrowed(self.model, self.width)?;
        let stem = ConvOptions {
            padding: 1,
            bias: false,
            init: self.init,
            ..Default::default()
        };
        let mut net = Sequential::new().add(ConvBnRelu::new(
            Conv2d::with(p.pp("conv1"), config.input_shape.0, width, 3, stem)?,
            BatchNorm2d::new(p.pp("bn1"), width)?,
            Relu::new(p.pp("relu")),
        ));
        let mut maps = width;
        for (stage, &depth) in self.depths.iter().enumerate() {
            for block in 0..depth {
                let options = ResidualOptions {
                    stride: if stage > 0 && block == 0 { 2 } else { 1 },
                    shortcut: self.shortcut,
                    shortcut_name: self.shortcut_name,
                    init: self.init,
                };
                let p = p.pp(format_args!("layer{}", stage + 1)).pp(block);
                net = net.add(BasicBlock::new(&p, maps, width << stage, &options)?);
                maps = width << stage;
            }
        }
        Ok(Box::new(
            net.add(AdaptiveAvgPool2d::new(p.pp("avgpool"), (1, 1)))
                .add(Flatten::new(p.pp("flatten")))
                .add(Linear::with(
                    p.pp(self.head),
                    maps,
                    config.classes,
                    self.head_init,
                )?),
        ))
    }
}
