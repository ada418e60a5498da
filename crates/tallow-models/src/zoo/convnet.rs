use tallow_ops::ParamPath;

use crate::nn::{
    AdaptiveAvgPool2d, BatchNorm2d, Conv2d, ConvBnRelu, ConvOptions, Flatten, Linear, MaxPool2d,
    Relu, Sequential,
};
use crate::{Error, ModelConfig, Module, Result};

/// Three convolutions and a linear layer over all that is left of the map: `conv1` to `conv3`, `bn1` to `bn3`, `classifier`.
pub(crate) fn convnet_fc(
    model: &'static str,
    p: &ParamPath,
    config: &ModelConfig,
) -> Result<Box<dyn Module>> {
    let (_, h, w) = config.input_shape;
    let (net, maps) = features(model, p, config)?;
    let classifier = Linear::new(p.pp("classifier"), maps * (h / 8) * (w / 8), config.classes)?;
    Ok(Box::new(
        net.add(Flatten::new(p.pp("flatten"))).add(classifier),
    ))
}

/// The same with a 1x1 convolution and the average over the map (Lin et al. 2014) in place of the linear layer. Its parameters do not
/// depend on the size of the image.
pub(crate) fn convnet_gap(
    model: &'static str,
    p: &ParamPath,
    config: &ModelConfig,
) -> Result<Box<dyn Module>> {
    let (net, maps) = features(model, p, config)?;
    Ok(Box::new(
        net.add(Conv2d::new(p.pp("classifier"), maps, config.classes, 1)?)
            .add(AdaptiveAvgPool2d::new(p.pp("avgpool"), (1, 1)))
            .add(Flatten::new(p.pp("flatten"))),
    ))
}

/// 3x3 convolutions of 32, 64 and 128 maps, each with batch norm, rectifier and pooling; and the number of maps at the end.
fn features(
    model: &'static str,
    p: &ParamPath,
    config: &ModelConfig,
) -> Result<(Sequential, usize)> {
    let (mut maps, h, w) = config.input_shape;
    if h.min(w) < 8 {
        let message = format!("images of {h} x {w} are too small: the poolings need 8 x 8");
        return Err(Error::Config { model, message });
    }
    let same = ConvOptions {
        padding: 1,
        ..Default::default()
    };
    let mut net = Sequential::new();
    for (i, width) in [32, 64, 128].into_iter().enumerate() {
        let width = config.narrowed(model, width)?;
        let place = |layer: &str| p.pp(format!("{layer}{}", i + 1));
        let conv = Conv2d::with(place("conv"), maps, width, 3, same)?;
        let norm = BatchNorm2d::new(place("bn"), width)?;
        let block = ConvBnRelu::new(conv, norm, Relu::new(place("relu")));
        net = net.add(block.pooled(MaxPool2d::new(place("pool"), 2)));
        maps = width;
    }
    Ok((net, maps))
}
