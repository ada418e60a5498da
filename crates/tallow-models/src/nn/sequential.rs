use candle_core::Tensor;

use crate::{Context, Module, Result};

/// Layers one after another, as `torch.nn.Sequential`. It gives no names: each layer has its own.
#[derive(Default)]
pub struct Sequential {
    layers: Vec<Box<dyn Module>>,
}

impl Sequential {
    /// Empty: gives back its input.
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more layer at the end.
    #[expect(clippy::should_implement_trait, reason = "adding a layer is no sum")]
    pub fn add(mut self, layer: impl Module + 'static) -> Self {
        self.layers.push(Box::new(layer));
        self
    }
}

impl Module for Sequential {
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        self.layers
            .iter()
            .try_fold(x.clone(), |x, layer| layer.forward(&x, cx))
    }
}
