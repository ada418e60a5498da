use tallow_ops::ParamPath;

use crate::config::ModelConfig;
use crate::error::Result;
use crate::nn::Sequential;

/// Linear layers with ReLU between them: `fc1`, `fc2`, ... By default two hidden layers of 8; with dropout after each of them if set.
pub(crate) fn mlp(p: &ParamPath, config: &ModelConfig) -> Result<Sequential> {
    let mut net = Sequential::build(p, config.input_shape).flatten();
    for &width in config.hidden.as_deref().unwrap_or(&[8, 8]) {
        net = net.linear(None, width).relu();
        if let Some(probability) = config.dropout {
            net = net.dropout(probability);
        }
    }
    net.linear(None, config.classes).finish()
}
