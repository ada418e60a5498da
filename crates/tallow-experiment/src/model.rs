//! Models of recipes.

use candle_core::Device;
pub use tallow_models::{Model, ModelConfig, Registry};

use crate::error::Result;
use crate::recipe;

/// Configuration of a recipe's model for `classes` classes and input of shape `(C, H, W)`.
///
/// `seed` initialises the parameters; a model whose weights are loaded does not depend on it.
pub fn config(
    model: &recipe::Model,
    classes: usize,
    input_shape: (usize, usize, usize),
    seed: u64,
    device: &Device,
) -> ModelConfig {
    ModelConfig {
        hidden: model.hidden.clone(),
        dropout: model.dropout,
        stochastic_depth: model.stochastic_depth,
        width_divisor: model.width_divisor,
        seed,
        device: device.clone(),
        ..ModelConfig::new(classes, input_shape)
    }
}

/// Shape `(C, H, W)` of the images that the model of this name was made for.
pub(crate) fn default_input(registry: &Registry, name: &str) -> Result<(usize, usize, usize)> {
    Ok(registry.find(name)?.config()?.input_shape)
}

/// Keys of `[model]` that a change of `model.name` to this model keeps: the settings that it takes, and its weights. A model that is
/// not built in keeps all settings.
pub(crate) fn settings(name: &str) -> Vec<&'static str> {
    let mut keys = vec!["weights", "weights_key", "new_head", "pretrained"];
    let (hidden, dropout, width_divisor, stochastic_depth) = match Registry::default().find(name) {
        Ok(entry) => (
            entry.takes_hidden,
            entry.takes_dropout,
            entry.takes_width_divisor,
            entry.takes_stochastic_depth,
        ),
        Err(_) => (true, true, true, true),
    };
    let own = [
        ("hidden", hidden),
        ("dropout", dropout),
        ("width_divisor", width_divisor),
        ("stochastic_depth", stochastic_depth),
    ];
    keys.extend(own.iter().filter(|(_, takes)| *takes).map(|(key, _)| *key));
    keys
}
