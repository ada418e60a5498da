use candle_core::{ModuleT, Tensor};
use tallow_ops::{Layout, ParamPath, to_layout};

use crate::error::Result;
use crate::module::{Context, Module};

/// A `candle_nn::ModuleT` as a layer or as a whole network.
///
/// Inputs and outputs with four axes are handed over in `(N, C, H, W)`. To an observer it is one layer of the kind `ModuleT`, without
/// parameters or multiply-adds.
///
/// ```
/// use candle_core::{ModuleT, Result, Tensor};
/// use tallow_models::nn::FromCandle;
/// use tallow_models::{Model, ModelConfig};
/// use tallow_ops::{Init, linear};
///
/// struct Net {
///     weight: Tensor,
/// }
///
/// impl ModuleT for Net {
///     fn forward_t(&self, images: &Tensor, _train: bool) -> Result<Tensor> {
///         Ok(linear(&images.flatten_from(1)?, &self.weight, None)?)
///     }
/// }
///
/// let config = ModelConfig::new(10, (1, 28, 28));
/// let model = Model::from_network("net", &config, |p, config| {
///     let weight = p.param("weight", (config.classes, 28 * 28), Init::Const(0.))?;
///     Ok(FromCandle::new(p.pp("net"), Net { weight: weight.as_tensor().clone() }))
/// })?;
/// assert_eq!(model.store().num_parameters(), 7840);
/// # Ok::<(), tallow_models::Error>(())
/// ```
pub struct FromCandle<M> {
    name: String,
    module: M,
}

impl<M: ModuleT> FromCandle<M> {
    /// Layer with the name of the path.
    pub fn new(p: ParamPath, module: M) -> Self {
        Self {
            name: p.name().into(),
            module,
        }
    }
}

impl<M: ModuleT + Send + Sync + 'static> Module for FromCandle<M> {
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        let layout = |x: Tensor, from, to| match x.rank() {
            4 => to_layout(&x, from, to),
            _ => Ok(x),
        };
        let x = layout(x.clone(), cx.layout, Layout::Nchw)?;
        let y = self.module.forward_t(&x, cx.train)?;
        let y = layout(y, Layout::Nchw, cx.layout)?;
        cx.report(&self.name, "ModuleT", y, 0, 0)
    }
}
