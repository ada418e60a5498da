//! Smooth and piecewise activation functions.

use candle_core::{CpuStorage, CustomOp1, Shape, Tensor};

use crate::custom_op::{self, for_float};
use crate::error::Result;
pub use crate::kernels::activation::Activation;
use crate::kernels::fresh::fresh;
use crate::{cpu, reference, relu, tape};

/// Logistic sigmoid: `1 / (1 + e^-x)` of a tensor of any shape, as `torch.sigmoid`.
pub fn sigmoid(x: &Tensor) -> Result<Tensor> {
    Activation::Sigmoid.apply(x)
}

/// SiLU, also called swish: `x * sigmoid(x)` of a tensor of any shape, as `torch.nn.functional.silu` (Elfwing et al. 2017, arXiv
/// 1702.03118).
pub fn silu(x: &Tensor) -> Result<Tensor> {
    Activation::Silu.apply(x)
}

/// Hard sigmoid: `min(max(x + 3, 0), 6) / 6` of a tensor of any shape, as `torch.nn.functional.hardsigmoid` (Howard et al. 2019,
/// arXiv 1905.02244).
///
/// The gradient at -3 and at 3 is 0.
pub fn hard_sigmoid(x: &Tensor) -> Result<Tensor> {
    Activation::HardSigmoid.apply(x)
}

/// Hard swish: `x * hard_sigmoid(x)` of a tensor of any shape, as `torch.nn.functional.hardswish` (Howard et al. 2019, arXiv
/// 1905.02244).
///
/// The gradient at -3 is 0 and at 3 it is 1.
pub fn hard_swish(x: &Tensor) -> Result<Tensor> {
    Activation::HardSwish.apply(x)
}

/// GELU: `x` times the cumulative distribution of the standard normal, of a tensor of any shape, as
/// `torch.nn.functional.gelu` (Hendrycks and Gimpel 2016, arXiv 1606.08415).
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    Activation::Gelu.apply(x)
}

/// GELU in the approximation with the hyperbolic tangent, as `torch.nn.functional.gelu` with `approximate="tanh"`:
/// `x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3)))`, of a tensor of any shape.
pub fn gelu_tanh(x: &Tensor) -> Result<Tensor> {
    Activation::GeluTanh.apply(x)
}

impl Activation {
    /// The function of a tensor of any shape.
    pub fn apply(self, x: &Tensor) -> Result<Tensor> {
        match self {
            // It has kernels on more devices.
            Self::Relu => relu(x),
            _ if !cpu::has_kernels(x) => self.reference(&tape::input(x)),
            _ => Ok(tape::apply1(&x.contiguous()?, Op(self))?),
        }
    }

    /// [`Activation::apply`], composed of candle tensor operations.
    pub(crate) fn reference(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Relu => reference::relu(x),
            Self::Sigmoid => reference::sigmoid(x),
            Self::Silu => reference::silu(x),
            Self::HardSigmoid => reference::hard_sigmoid(x),
            Self::HardSwish => reference::hard_swish(x),
            Self::Gelu => reference::gelu(x),
            Self::GeluTanh => reference::gelu_tanh(x),
        }
    }
}

struct Op(Activation);

impl CustomOp1 for Op {
    fn name(&self) -> &'static str {
        match self.0 {
            Activation::Relu => "relu",
            Activation::Sigmoid => "sigmoid",
            Activation::Silu => "silu",
            Activation::HardSigmoid => "hard_sigmoid",
            Activation::HardSwish => "hard_swish",
            Activation::Gelu => "gelu",
            Activation::GeluTanh => "gelu_tanh",
        }
    }

    fn cpu_fwd(
        &self,
        storage: &CpuStorage,
        layout: &candle_core::Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        for_float!(custom_op::dtype(storage), self.name(), T => {
            let x = cpu::slice::<T>(self.name(), storage, layout)?;
            // SAFETY: the pass writes every element of its result.
            let y = unsafe { fresh(x.len(), |y| self.0.forward::<T>(x, y)) };
            Ok((custom_op::storage(y), layout.shape().clone()))
        })
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        for_float!(grad.dtype(), self.name(), T => {
            let (x_storage, x_layout) = x.storage_and_layout();
            let (grad_storage, grad_layout) = grad.storage_and_layout();
            let xs = cpu::locked::<T>(self.name(), &x_storage, x_layout)?;
            let grads = cpu::locked::<T>(self.name(), &grad_storage, grad_layout)?;
            // SAFETY: the pass writes every element of its result.
            let dx = unsafe { fresh(xs.len(), |dx| self.0.backward::<T>(xs, grads, dx)) };
            custom_op::tensor(dx, x.shape()).map(Some)
        })
    }
}
