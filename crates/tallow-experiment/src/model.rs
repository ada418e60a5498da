//! Models of recipes: the only module that asks the registry of tallow-models.

use candle_core::Device;
pub use tallow_models::{Entry, Model, ModelConfig};

use crate::error::Result;
use crate::recipe;

/// Registry of models by name.
///
/// Holds the models of tallow-models.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Registry;

impl Registry {
    /// Model of that name. Fails with the nearest known name.
    pub fn find(&self, name: &str) -> Result<&Entry> {
        Ok(tallow_models::find(name)?)
    }

    /// All models, in the order of the registry.
    pub fn entries(&self) -> &[Entry] {
        tallow_models::registry()
    }

    /// Builds the model of that name with random initialisation.
    pub fn build(&self, name: &str, config: &ModelConfig) -> Result<Model> {
        Ok(Model::build(name, config)?)
    }
}

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
        width_divisor: model.width_divisor,
        seed,
        device: device.clone(),
        ..ModelConfig::new(classes, input_shape)
    }
}

/// Shape `(C, H, W)` of the images that the model of this name was made for.
pub(crate) fn default_input(registry: &Registry, name: &str) -> Result<(usize, usize, usize)> {
    Ok(registry.find(name)?.default_input)
}

/// Keys of `[model]` that a change of `model.name` to this model keeps: those that mean something to it, and its weights.
pub(crate) fn settings(name: &str) -> Vec<&'static str> {
    let mut keys = vec!["weights", "new_head"];
    if let Ok(entry) = tallow_models::find(name) {
        let own = [
            ("hidden", entry.takes_hidden),
            ("dropout", entry.takes_dropout),
            ("width_divisor", entry.takes_width_divisor),
        ];
        keys.extend(own.iter().filter(|(_, takes)| *takes).map(|(key, _)| *key));
    }
    keys
}
