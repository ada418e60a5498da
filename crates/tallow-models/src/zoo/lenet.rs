//! LeNet's lineage before rectifiers.

use candle_core::Tensor;
use tallow_ops::ParamPath;

use super::digits::digit_codes;
use crate::nn::{
    ConstantPad2d, Conv2d, ConvOptions, Flatten, Linear, PartialConv2d, Rbf, ScaledTanh,
    Sequential, Subsampling, Tanh, UnitBias, WeightInit,
};
use crate::{Error, ModelConfig, Module, Result};

/// The network of LeCun et al. 1989 ("Backpropagation applied to handwritten zip code recognition"), as Karpathy's reproduction
/// `lecun1989-repro` fills in what the paper leaves open: `H1`, `H2`, `H3`, `out`.
///
/// Each unit of a map has its own bias, the border is -1, each map of `H2` sees 8 of the 12 before it, and the output is a tanh: train
/// it by mean squared error against targets of 1 and -1. Weights are uniform within `2.4 / sqrt(fan_in)`, biases 0, those of the output -1.
pub(crate) fn lenet_1989(
    _: &'static str,
    p: &ParamPath,
    config: &ModelConfig,
) -> Result<Box<dyn Module>> {
    const EIGHT_OF_TWELVE: [[usize; 8]; 3] = [
        [0, 1, 2, 3, 4, 5, 6, 7],
        [4, 5, 6, 7, 8, 9, 10, 11],
        [0, 1, 2, 3, 8, 9, 10, 11],
    ];
    let table: Vec<&[usize]> = (0..12).map(|map| &EIGHT_OF_TWELVE[map / 4][..]).collect();
    let (channels, h, w) = config.input_shape;
    // A 5x5 convolution of stride 2 over two pixels of border.
    let (h1, w1) = (h.div_ceil(2), w.div_ceil(2));
    let (h2, w2) = (h1.div_ceil(2), w1.div_ceil(2));
    let init = WeightInit::FanInRange {
        scale: 2.4,
        power: 0.5,
    };
    let first = ConvOptions {
        stride: 2,
        bias: false,
        init,
        ..Default::default()
    };
    let net = Sequential::new()
        .add(ConstantPad2d::new(p.pp("pad1"), 2, -1.))
        .add(Conv2d::with(p.pp("H1"), channels, 12, 5, first)?)
        .add(UnitBias::new(p.pp("H1"), (12, h1, w1))?)
        .add(Tanh::new(p.pp("tanh1")))
        .add(ConstantPad2d::new(p.pp("pad2"), 2, -1.))
        .add(PartialConv2d::new(
            p.pp("H2"),
            12,
            &table,
            5,
            2,
            false,
            init,
        )?)
        .add(UnitBias::new(p.pp("H2"), (12, h2, w2))?)
        .add(Tanh::new(p.pp("tanh2")))
        .add(Flatten::new(p.pp("flatten")))
        .add(Linear::with(p.pp("H3"), 12 * h2 * w2, 30, init)?)
        .add(Tanh::new(p.pp("tanh3")));
    let out = Linear::with(p.pp("out"), 30, config.classes, init)?;
    // Nine targets of ten are -1.
    out.fill_bias(-1.)?;
    Ok(Box::new(net.add(out).add(Tanh::new(p.pp("tanh4")))))
}

/// LeNet-5 (LeCun et al. 1998) with a linear layer for the softmax: `C1`, `S2`, `C3`, `S4`, `C5`, `F6`, `output`.
///
/// Subsampling has trained factors and biases, each map of `C3` sees the maps of `S2` that the paper's table I names, and every layer
/// before the output ends in `1.7159 tanh(2 x / 3)`. Weights are uniform within `2.4 / fan_in`, biases 0.
pub(crate) fn lenet5_1998(
    model: &'static str,
    p: &ParamPath,
    config: &ModelConfig,
) -> Result<Box<dyn Module>> {
    let net = up_to_f6(model, p, config)?;
    let output = Linear::with(p.pp("output"), 84, config.classes, RANGE_1998)?;
    Ok(Box::new(net.add(output)))
}

/// The same with the paper's output: the distances from ten fixed codes, pictures of the digits of 7 x 12 pixels.
pub(crate) fn lenet5_1998_rbf(
    model: &'static str,
    p: &ParamPath,
    config: &ModelConfig,
) -> Result<Box<dyn Module>> {
    let codes = digit_codes();
    if config.classes > codes.len() {
        let message = format!(
            "has codes for the ten digits, not for {} classes; lenet5-1998 takes any number",
            config.classes
        );
        return Err(Error::Config { model, message });
    }
    let codes: Vec<f64> = codes[..config.classes].concat();
    let codes = Tensor::from_vec(codes, (config.classes, 84), &candle_core::Device::Cpu)?;
    let net = up_to_f6(model, p, config)?;
    Ok(Box::new(net.add(Rbf::new(p.pp("output"), &codes)?)))
}

const RANGE_1998: WeightInit = WeightInit::FanInRange {
    scale: 2.4,
    power: 1.,
};

/// Table I of the paper: which maps of S2 each map of C3 sees.
#[rustfmt::skip]
const TABLE_1: [&[usize]; 16] = [
    &[0, 1, 2], &[1, 2, 3], &[2, 3, 4], &[3, 4, 5], &[0, 4, 5], &[0, 1, 5],
    &[0, 1, 2, 3], &[1, 2, 3, 4], &[2, 3, 4, 5], &[0, 3, 4, 5], &[0, 1, 4, 5], &[0, 1, 2, 5],
    &[0, 1, 3, 4], &[1, 2, 4, 5], &[0, 2, 3, 5],
    &[0, 1, 2, 3, 4, 5],
];

fn up_to_f6(model: &'static str, p: &ParamPath, config: &ModelConfig) -> Result<Sequential> {
    let (channels, h, w) = config.input_shape;
    let halved = |side: usize| Some(side.checked_sub(4)? / 2);
    let left = |side: usize| {
        halved(halved(side)?)?
            .checked_sub(4)
            .filter(|side| *side > 0)
    };
    let (Some(rows), Some(columns)) = (left(h), left(w)) else {
        let message = format!("images of {h} x {w} are too small: the convolutions need 32 x 32");
        return Err(Error::Config { model, message });
    };
    let convolution = ConvOptions {
        init: RANGE_1998,
        ..Default::default()
    };
    Ok(Sequential::new()
        .add(Conv2d::with(p.pp("C1"), channels, 6, 5, convolution)?)
        .add(ScaledTanh::new(p.pp("tanh1")))
        .add(Subsampling::new(p.pp("S2"), 6, 2, RANGE_1998)?)
        .add(ScaledTanh::new(p.pp("tanh2")))
        .add(PartialConv2d::new(
            p.pp("C3"),
            6,
            &TABLE_1,
            5,
            1,
            true,
            RANGE_1998,
        )?)
        .add(ScaledTanh::new(p.pp("tanh3")))
        .add(Subsampling::new(p.pp("S4"), 16, 2, RANGE_1998)?)
        .add(ScaledTanh::new(p.pp("tanh4")))
        .add(Conv2d::with(p.pp("C5"), 16, 120, 5, convolution)?)
        .add(ScaledTanh::new(p.pp("tanh5")))
        .add(Flatten::new(p.pp("flatten")))
        .add(Linear::with(
            p.pp("F6"),
            120 * rows * columns,
            84,
            RANGE_1998,
        )?)
        .add(ScaledTanh::new(p.pp("tanh6"))))
}
