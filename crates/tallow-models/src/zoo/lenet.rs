//! LeNet before ReLU.

use candle_core::{Device, Tensor};
use tallow_ops::ParamPath;

use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::nn::{ConvOptions, Linear, Rbf, Sequential, SequentialBuilder, WeightInit};
use crate::zoo::digits::digit_codes;

/// Network of LeCun et al. 1989 ("Backpropagation applied to handwritten zip code recognition"), with the details that the paper leaves
/// open as in Karpathy's reproduction `lecun1989-repro`: `H1`, `H2`, `H3`, `out`.
///
/// Every unit of a map has its own bias, the border is -1, each channel of `H2` is connected to 8 of the 12 before it, and the output is
/// a tanh: train it with the mean squared error against targets of 1 and -1. Weights are uniform in `±2.4 / sqrt(fan_in)`, biases 0,
/// those of the output -1.
pub(crate) fn lenet_1989(p: &ParamPath, config: &ModelConfig) -> Result<Sequential> {
    const EIGHT_OF_TWELVE: [[usize; 8]; 3] = [
        [0, 1, 2, 3, 4, 5, 6, 7],
        [4, 5, 6, 7, 8, 9, 10, 11],
        [0, 1, 2, 3, 8, 9, 10, 11],
    ];
    let table: Vec<&[usize]> = (0..12).map(|map| &EIGHT_OF_TWELVE[map / 4][..]).collect();
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
    Sequential::build(p, config.input_shape)
        .constant_pad2d(2, -1.)
        .conv2d_with("H1", 12, 5, first)
        .unit_bias("H1")
        .tanh()
        .constant_pad2d(2, -1.)
        .partial_conv2d("H2", &table, 5, 2, false, init)
        .unit_bias("H2")
        .tanh()
        .flatten()
        .linear_with("H3", 30, init)
        .tanh()
        .layer("out", |p, _| {
            let out = Linear::with(p, 30, config.classes, init)?;
            // Nine targets of ten are -1.
            out.fill_bias(-1.)?;
            Ok((out, vec![config.classes]))
        })
        .tanh()
        .finish()
}

/// LeNet-5 (LeCun et al. 1998) with a linear layer for the softmax: `C1`, `S2`, `C3`, `S4`, `C5`, `F6`, `output`.
///
/// Subsampling has trained factors and biases, each channel of `C3` is connected to the channels of `S2` in the paper's table I, and
/// every layer before the output ends in `1.7159 tanh(2 x / 3)`. Weights are uniform in `±2.4 / fan_in`, biases 0.
pub(crate) fn lenet5_1998(p: &ParamPath, config: &ModelConfig) -> Result<Sequential> {
    up_to_f6(p, config)
        .linear_with("output", config.classes, RANGE_1998)
        .finish()
}

/// `lenet5-1998` with the paper's output: the distances from ten fixed codes, images of the digits of 7 x 12 pixels.
pub(crate) fn lenet5_1998_rbf(p: &ParamPath, config: &ModelConfig) -> Result<Sequential> {
    let (codes, classes) = (digit_codes(), config.classes);
    if classes > codes.len() {
        return Err(Error::Config {
            message: format!(
                "has codes for the ten digits, not for {classes} classes; lenet5-1998 takes any number"
            ),
        });
    }
    let codes = Tensor::from_vec(codes[..classes].concat(), (classes, 84), &Device::Cpu)?;
    up_to_f6(p, config)
        .layer("output", |p, _| Ok((Rbf::new(p, &codes)?, vec![classes])))
        .finish()
}

const RANGE_1998: WeightInit = WeightInit::FanInRange {
    scale: 2.4,
    power: 1.,
};

/// Table I of the paper: the channels of S2 that each channel of C3 is connected to.
#[rustfmt::skip]
const TABLE_1: [&[usize]; 16] = [
    &[0, 1, 2], &[1, 2, 3], &[2, 3, 4], &[3, 4, 5], &[0, 4, 5], &[0, 1, 5],
    &[0, 1, 2, 3], &[1, 2, 3, 4], &[2, 3, 4, 5], &[0, 3, 4, 5], &[0, 1, 4, 5], &[0, 1, 2, 5],
    &[0, 1, 3, 4], &[1, 2, 4, 5], &[0, 2, 3, 5],
    &[0, 1, 2, 3, 4, 5],
];

fn up_to_f6(p: &ParamPath, config: &ModelConfig) -> SequentialBuilder {
    let options = ConvOptions {
        init: RANGE_1998,
        ..Default::default()
    };
    Sequential::build(p, config.input_shape)
        .conv2d_with("C1", 6, 5, options)
        .scaled_tanh()
        .subsampling("S2", 2, RANGE_1998)
        .scaled_tanh()
        .partial_conv2d("C3", &TABLE_1, 5, 1, true, RANGE_1998)
        .scaled_tanh()
        .subsampling("S4", 2, RANGE_1998)
        .scaled_tanh()
        .conv2d_with("C5", 120, 5, options)
        .scaled_tanh()
        .flatten()
        .linear_with("F6", 84, RANGE_1998)
        .scaled_tanh()
}
