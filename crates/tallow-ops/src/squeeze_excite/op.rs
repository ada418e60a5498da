//! Squeeze-and-excitation as a candle operator.

use std::any::Any;
use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};

use crate::cpu;
use crate::custom_op::{self, for_float};
use crate::kernels::fresh::fresh;
use crate::kernels::squeeze_excite::{Block, Excitation, Layer};

const NAME: &str = "squeeze_excite";

/// Operator of one call, with arguments already checked: input, and weight and bias of each layer, one behind the other.
pub(super) struct SqueezeExcite {
    pub(super) block: Block,
    /// An [`Excitation`] of the element type.
    pub(super) excitation: OnceLock<Box<dyn Any + Send + Sync>>,
}

impl CustomOp3 for SqueezeExcite {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        p1: &CpuStorage,
        p1_layout: &Layout,
        p2: &CpuStorage,
        p2_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        for_float!(custom_op::dtype(x), NAME, T => {
            let xs = cpu::slice::<T>(NAME, x, x_layout)?;
            let p1 = cpu::slice::<T>(NAME, p1, p1_layout)?;
            let p2 = cpu::slice::<T>(NAME, p2, p2_layout)?;
            let weights = self.block.extents.c * self.block.squeezed;
            let layers = [p1, p2].map(|p| Layer(&p[..weights], &p[weights..]));
            let mut excitation = None;
            let fill = |y: &mut [T]| excitation = Some(self.block.forward(xs, layers, y));
            // SAFETY: the pass writes every element of its result.
            let y = unsafe { fresh(xs.len(), fill) };
            if let Some(excitation) = excitation {
                custom_op::save(&self.excitation, Box::new(excitation) as _)?;
            }
            Ok((custom_op::storage(y), x_layout.shape().clone()))
        })
    }

    fn bwd(
        &self,
        x: &Tensor,
        p1: &Tensor,
        p2: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let dy = dy.contiguous()?;
        for_float!(x.dtype(), NAME, T => {
            let excitation = custom_op::saved(&self.excitation)?
                .downcast_ref::<Excitation<T>>()
                .ok_or_else(|| candle_core::Error::Msg("backward has another type than forward".into()).bt())?;
            let guards = [x, p1, p2, &dy].map(|t| t.storage_and_layout());
            let [xs, p1s, p2s, dys] = [0, 1, 2, 3].map(|i| cpu::locked::<T>(NAME, &guards[i].0, guards[i].1));
            let (xs, dys) = (xs?, dys?);
            let weights = self.block.extents.c * self.block.squeezed;
            let weights = [&p1s?[..weights], &p2s?[..weights]];
            let mut layers = None;
            let fill = |dx: &mut [T]| layers = Some(self.block.backward(xs, weights, excitation, dys, dx));
            // SAFETY: the pass writes every element of its result.
            let dx = unsafe { fresh(xs.len(), fill) };
            let [g1, g2] = match layers {
                Some(layers) => layers.map(|grads| {
                    let mut grad = grads.0;
                    grad.extend(grads.1);
                    let len = grad.len();
                    custom_op::tensor(grad, len).map(Some)
                }),
                None => [Ok(None), Ok(None)],
            };
            Ok((Some(custom_op::tensor(dx, x.shape())?), g1?, g2?))
        })
    }
}
