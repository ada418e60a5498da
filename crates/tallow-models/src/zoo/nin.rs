use tallow_ops::{ParamPath, Pool2dConfig};

use crate::nn::{
    AdaptiveAvgPool2d, AvgPool2d, Conv2d, ConvOptions, Dropout, Flatten, Linear, MaxPool2d, Relu,
    Sequential, WeightInit,
};
use crate::{ModelConfig, Module, Result};

/// Network in network (Lin et al. 2014) for CIFAR, whose head is a 1x1 convolution and the average over the map: `features.N`,
/// `classifier`.
///
/// The rectifier that some versions put behind the last convolution is left out: it would keep the head from being linear.
/// Convolutions start normal with deviation 0.05, biases at 0.
pub(crate) fn nin(
    model: &'static str,
    p: &ParamPath,
    config: &ModelConfig,
) -> Result<Box<dyn Module>> {
    let (net, maps) = features(model, p, config)?;
    let classifier = Conv2d::with(p.pp("classifier"), maps, config.classes, 1, options(0))?;
    Ok(Box::new(
        net.add(classifier)
            .add(AdaptiveAvgPool2d::new(p.pp("avgpool"), (1, 1)))
            .add(Flatten::new(p.pp("flatten"))),
    ))
}

/// The same with the average first and a linear layer behind it; [`crate::conv_head_to_linear`] makes its state of `nin`'s.
pub(crate) fn nin_fc(
    model: &'static str,
    p: &ParamPath,
    config: &ModelConfig,
) -> Result<Box<dyn Module>> {
    let (net, maps) = features(model, p, config)?;
    let classifier = Linear::with(p.pp("classifier"), maps, config.classes, INIT)?;
    Ok(Box::new(
        net.add(AdaptiveAvgPool2d::new(p.pp("avgpool"), (1, 1)))
            .add(Flatten::new(p.pp("flatten")))
            .add(classifier),
    ))
}

const INIT: WeightInit = WeightInit::Normal { std: 0.05 };

fn options(padding: usize) -> ConvOptions {
    ConvOptions {
        padding,
        init: INIT,
        ..Default::default()
    }
}

/// Three times a convolution and two of 1x1, a pooling and dropout between them, and the number of maps at the end.
fn features(
    model: &'static str,
    p: &ParamPath,
    config: &ModelConfig,
) -> Result<(Sequential, usize)> {
    let mut maps = config.input_shape.0;
    let mut index = 0;
    let mut place = || {
        index += 1;
        p.pp("features").pp(index - 1)
    };
    let dropout = config.dropout.unwrap_or(0.5);
    let overlapping = Pool2dConfig {
        stride: (2, 2),
        padding: (1, 1),
        ..Pool2dConfig::new(3)
    };
    // Kernels and widths of each stage.
    let stages: [&[(usize, usize)]; 3] = [
        &[(5, 192), (1, 160), (1, 96)],
        &[(5, 192), (1, 192), (1, 192)],
        &[(3, 192), (1, 192)],
    ];
    let mut net = Sequential::new();
    for (stage, convolutions) in stages.into_iter().enumerate() {
        net = match stage {
            0 => net,
            1 => net.add(MaxPool2d::with(place(), overlapping)),
            _ => net.add(AvgPool2d::with(place(), overlapping)),
        };
        if stage > 0 {
            net = net.add(Dropout::new(place(), dropout));
        }
        for &(kernel, width) in convolutions {
            let width = config.narrowed(model, width)?;
            net = net
                .add(Conv2d::with(
                    place(),
                    maps,
                    width,
                    kernel,
                    options(kernel / 2),
                )?)
                .add(Relu::new(place()));
            maps = width;
        }
    }
    Ok((net, maps))
}
