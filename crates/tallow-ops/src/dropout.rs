use candle_core::{CpuStorage, CustomOp2, Shape, Tensor};

use crate::cpu;
use crate::custom_op::{self, for_float};
use crate::error::{Error, Result};
use crate::generator::Generator;
use crate::kernels::elementwise::map2;
use crate::kernels::fresh::fresh;
use crate::{reference, tape};

/// Dropout in training, as `torch.nn.functional.dropout` with `training=True` (Srivastava et al. 2014).
///
/// Each element of `x`, of any shape, becomes 0 with probability `p`; the others are divided by `1 - p`, so that the expectation
/// is the same. The mask is drawn from `generator`, one word per element in row-major order. With `p = 0` nothing is drawn and
/// `x` is returned. In evaluation, do not call it.
///
/// # Errors
/// [`Error::Config`] if `p` is outside `[0, 1)`.
pub fn dropout(x: &Tensor, p: f64, generator: &Generator) -> Result<Tensor> {
    if !(0. ..1.).contains(&p) {
        return Err(Error::Config {
            op: "dropout",
            message: format!("p must be in [0, 1), got {p}"),
        });
    }
    if p == 0. {
        return Ok(x.clone());
    }
    #[cfg(feature = "cuda")]
    if crate::route::maps_on_cuda(x) {
        return crate::cuda::dropout::dropout(x, p, generator);
    }
    let mask = (generator.bernoulli(1. - p, x.shape(), x.dtype(), x.device())? * (1. / (1. - p)))?;
    if !cpu::has_kernels(x) {
        return reference::masked(&tape::input(x), &mask);
    }
    Ok(tape::apply2(&x.contiguous()?, &mask, Masked)?)
}

/// `x * mask`. The mask has no gradient.
struct Masked;

impl CustomOp2 for Masked {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &candle_core::Layout,
        mask: &CpuStorage,
        mask_layout: &candle_core::Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        for_float!(custom_op::dtype(x), self.name(), T => {
            let x = cpu::slice::<T>(self.name(), x, x_layout)?;
            let mask = cpu::slice::<T>(self.name(), mask, mask_layout)?;
            // SAFETY: the map writes every element.
            let y = unsafe { fresh(x.len(), |y| map2(x, mask, y, #[inline(always)] |x, m| x * m)) };
            Ok((custom_op::storage(y), x_layout.shape().clone()))
        })
    }

    fn bwd(
        &self,
        _x: &Tensor,
        mask: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((Some(grad.contiguous()?.apply_op2_no_bwd(mask, self)?), None))
    }
}
