use tallow_ops::ParamPath;

use crate::nn::{Dropout, Flatten, Linear, Relu, Sequential};
use crate::{ModelConfig, Module, Result};

/// Fully connected layers with rectifiers between them: `fc1.{weight,bias}`, `fc2.*`, ... Two hidden layers of 8 unless told;
/// dropout behind each of them if asked for.
pub(crate) fn mlp(_: &'static str, p: &ParamPath, config: &ModelConfig) -> Result<Box<dyn Module>> {
    let (c, h, w) = config.input_shape;
    let hidden = config.hidden.as_deref().unwrap_or(&[8, 8]);
    let mut net = Sequential::new().add(Flatten::new(p.pp("flatten")));
    let mut width = c * h * w;
    for (i, &next) in (1..).zip(hidden) {
        net = net
            .add(Linear::new(p.pp(format_args!("fc{i}")), width, next)?)
            .add(Relu::new(p.pp(format_args!("relu{i}"))));
        if let Some(dropout) = config.dropout {
            net = net.add(Dropout::new(p.pp(format_args!("dropout{i}")), dropout));
        }
        width = next;
    }
    let last = hidden.len() + 1;
    Ok(Box::new(net.add(Linear::new(
        p.pp(format_args!("fc{last}")),
        width,
        config.classes,
    )?)))
}
