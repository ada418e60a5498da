//! Analyses besides training: `facts = ["conv1x1-vs-linear"]` of an experiment's file.

use std::collections::BTreeMap;

use candle_core::{DType, Device};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tallow_models::nn::{Conv2d, ConvOptions, Flatten, Linear, Sequential};
use tallow_models::{Context, Module};
use tallow_ops::{Generator, Init, Layout, ParamStore};

use crate::error::{Error, Result};
use crate::model::{Model, ModelConfig, Registry};

/// Analysis besides training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Analysis {
    /// A 1x1 convolution on a 1x1 map beside a fully connected layer of the same weights; the parameters of both on a map of 8x8;
    /// and a 3x3 convolution with and without 1x1 convolutions that narrow its input and widen its output.
    Conv1x1VsLinear,
    /// Whether a model's parameters fit images of another size: the metric `accepts_other_size` of each variant.
    OtherSizes,
}

impl Analysis {
    /// Names of its figures; claims call them `facts.name`.
    pub fn names(self) -> &'static [&'static str] {
        match self {
            Analysis::Conv1x1VsLinear => &[
                "conv1x1_linear_difference",
                "conv1x1_parameters",
                "linear_parameters",
                "conv3x3_direct_macs",
                "conv3x3_reduced_macs",
            ],
            Analysis::OtherSizes => &[],
        }
    }
}

/// Figures of these analyses, by name.
pub fn compute(analyses: &[Analysis]) -> Result<BTreeMap<String, f64>> {
    let mut figures = BTreeMap::new();
    for analysis in analyses {
        match analysis {
            Analysis::Conv1x1VsLinear => {
                let values = conv1x1_vs_linear()?;
                let names = analysis.names().iter().map(|name| name.to_string());
                figures.extend(names.zip(values));
            }
            Analysis::OtherSizes => {}
        }
    }
    Ok(figures)
}

/// The figures in the order of their names.
fn conv1x1_vs_linear() -> Result<[f64; 5]> {
    const MAPS: usize = 256;
    const CLASSES: usize = 10;
    const SIDE: usize = 8;
    let store = ParamStore::new(DType::F32, &Device::Cpu, 0);
    let p = store.root();
    let conv = Conv2d::new(p.pp("conv"), MAPS, CLASSES, 1)?;
    let linear = Linear::new(p.pp("linear"), MAPS, CLASSES)?;
    let var = |name: &str| {
        let mut all = store.parameters().into_iter();
        let found = all.find_map(|(n, var)| (n == name).then_some(var));
        found.ok_or_else(|| Error::Data(format!("there is no parameter {name}")))
    };
    let weight = var("conv.weight")?.reshape((CLASSES, MAPS))?;
    var("linear.weight")?.set(&weight)?;
    var("linear.bias")?.set(&var("conv.bias")?.detach())?;
    let normal = Init::Normal {
        mean: 0.0,
        std: 1.0,
    };
    let generator = Generator::new(0);
    let inputs = normal.tensor((64, MAPS, 1, 1), DType::F32, &Device::Cpu, &generator)?;
    let mut cx = Context::new(false, Layout::Nchw);
    let by_conv = Flatten::new(p.pp("a")).forward(&conv.forward(&inputs, &mut cx)?, &mut cx)?;
    let by_linear = linear.forward(&Flatten::new(p.pp("b")).forward(&inputs, &mut cx)?, &mut cx)?;
    let difference = (by_conv - by_linear)?
        .abs()?
        .max_all()?
        .to_scalar::<f32>()?;

    // The same number of maps of the same size, from a 1x1 convolution and from a layer that joins all with all.
    let (conv_parameters, linear_parameters) = (
        MAPS * CLASSES + CLASSES,
        MAPS * SIDE * SIDE * CLASSES * SIDE * SIDE + CLASSES * SIDE * SIDE,
    );
    let direct = multiply_adds(&[(MAPS, MAPS, 3)], SIDE)?;
    let narrow = MAPS / 4;
    let reduced = multiply_adds(
        &[(MAPS, narrow, 1), (narrow, narrow, 3), (narrow, MAPS, 1)],
        SIDE,
    )?;
    Ok([
        f64::from(difference),
        conv_parameters as f64,
        linear_parameters as f64,
        direct as f64,
        reduced as f64,
    ])
}

/// Of convolutions `(inputs, outputs, kernel)` one after the other on a map of `side` x `side`.
fn multiply_adds(convolutions: &[(usize, usize, usize)], side: usize) -> Result<u64> {
    let maps = convolutions.first().map_or(0, |c| c.0);
    let config = ModelConfig::new(1, (maps, side, side));
    let model = Model::from_network("convolutions", &config, |p, _| {
        let mut net = Sequential::new();
        for (i, &(inputs, outputs, kernel)) in convolutions.iter().enumerate() {
            let options = ConvOptions {
                padding: kernel / 2,
                ..Default::default()
            };
            net = net.add(Conv2d::with(p.pp(i), inputs, outputs, kernel, options)?);
        }
        Ok(Box::new(net))
    })?;
    Ok(model.summary()?.multiply_adds)
}

/// Whether the parameters of a model built for `config` also fit images 8 pixels higher and wider.
pub(crate) fn accepts_other_size(
    registry: &Registry,
    name: &str,
    config: &ModelConfig,
    model: &Model,
) -> bool {
    let (c, h, w) = config.input_shape;
    let config = ModelConfig {
        input_shape: (c, h + 8, w + 8),
        ..config.clone()
    };
    let Ok(other) = registry.skip_init(name, &config) else {
        return false;
    };
    let shapes = |model: &Model| {
        let all = model.store().parameters().into_iter();
        all.map(|(name, var)| (name, var.dims().to_vec()))
            .collect::<Vec<_>>()
    };
    shapes(&other) == shapes(model)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conv1x1_is_linear_on_one_pixel() {
        let facts = compute(&[Analysis::Conv1x1VsLinear]).unwrap();
        assert!(facts["conv1x1_linear_difference"] < 1e-5, "{facts:?}");
        assert_eq!(facts["conv1x1_parameters"], 2_570.0);
        assert_eq!(facts["linear_parameters"], 10_486_400.0);
        // 9 C^2 against (1/4 + 9/16 + 1/4) C^2, on 64 pixels.
        assert_eq!(facts["conv3x3_direct_macs"], 37_748_736.0);
        assert_eq!(facts["conv3x3_reduced_macs"], 4_456_448.0);
    }

    #[test]
    fn other_sizes() {
        for (name, accepts) in [("convnet-gap", true), ("convnet-fc", false), ("mlp", false)] {
            let config = ModelConfig::new(10, (3, 32, 32));
            let registry = Registry::default();
            let model = registry.build(name, &config).unwrap();
            let found = accepts_other_size(&registry, name, &config, &model);
            assert_eq!(found, accepts, "{name}");
        }
    }
}
