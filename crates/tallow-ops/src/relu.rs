use candle_core::{CpuStorage, CustomOp1, Shape, Tensor};
#[cfg(feature = "cuda")]
use tallow_cuda::{View, ops::elementwise};

use crate::cpu;
use crate::custom_op::{self, for_float};
use crate::error::Result;
use crate::kernels::elementwise::{map1, map2};
use crate::kernels::fresh::fresh;
use crate::{reference, route, tape};

/// ReLU: `max(x, 0)` of a tensor of any shape, as `torch.nn.functional.relu`.
///
/// The gradient at 0 is 0 (it is 1 in candle's own `relu`). NaN gives NaN.
pub fn relu(x: &Tensor) -> Result<Tensor> {
    if !route::has_map_kernels(x) {
        return reference::relu(&tape::input(x));
    }
    Ok(tape::apply1(&x.contiguous()?, Relu)?)
}

struct Relu;

impl CustomOp1 for Relu {
    fn name(&self) -> &'static str {
        "relu"
    }

    fn cpu_fwd(
        &self,
        storage: &CpuStorage,
        layout: &candle_core::Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        for_float!(custom_op::dtype(storage), self.name(), T => {
            let x = cpu::slice::<T>(self.name(), storage, layout)?;
            // SAFETY: a map writes every element of its result.
            let y = unsafe { fresh(x.len(), |y| map1(x, y, #[inline(always)] |x| if x <= 0. { 0. } else { x })) };
            Ok((custom_op::storage(y), layout.shape().clone()))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        storage: &candle_core::CudaStorage,
        layout: &candle_core::Layout,
    ) -> candle_core::Result<(candle_core::CudaStorage, Shape)> {
        let x = View::numbers(self.name(), storage, layout)?;
        Ok((elementwise::relu(x)?, layout.shape().clone()))
    }

    fn bwd(&self, _x: &Tensor, y: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        backward(self.name(), y, grad).map(Some)
    }
}

/// Gradient of a ReLU, from its output.
pub(crate) fn backward(op: &'static str, y: &Tensor, grad: &Tensor) -> candle_core::Result<Tensor> {
    let grad = grad.contiguous()?;
    #[cfg(feature = "cuda")]
    if grad.device().is_cuda() {
        let (outputs, gradients) = (y.storage_and_layout(), grad.storage_and_layout());
        let outputs = View::locked_numbers(op, &outputs.0, outputs.1)?;
        let gradients = View::locked_numbers(op, &gradients.0, gradients.1)?;
        let dx = elementwise::relu_gradient(outputs, gradients)?;
        return Ok(crate::cuda::tensor(dx, grad.shape()));
    }
    for_float!(grad.dtype(), op, T => {
        let (y_storage, y_layout) = y.storage_and_layout();
        let (grad_storage, grad_layout) = grad.storage_and_layout();
        let y = cpu::locked::<T>(op, &y_storage, y_layout)?;
        let grads = cpu::locked::<T>(op, &grad_storage, grad_layout)?;
        // SAFETY: a map writes every element of its result.
        let gx = unsafe { fresh(y.len(), |gx| map2(y, grads, gx, #[inline(always)] |y, g| if y <= 0. { 0. } else { g })) };
        custom_op::tensor(gx, grad.shape())
    })
}
