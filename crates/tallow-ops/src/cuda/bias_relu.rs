//! Bias, ReLU and 2x2 pooling after a convolution without a norm, in (N, H, W, C).

use candle_core::{CudaStorage, CustomOp1, CustomOp2, Layout, Shape, Tensor};
use tallow_cuda::View;
use tallow_cuda::ops::norm::{self, Maps, Tail};

use crate::cuda::norm::{maps, shape};
use crate::cuda::{cuda_only, numbers, tensor};
use crate::error::Result;
use crate::layout::Extents;
use crate::tape;

const NAME: &str = "bias_relu";

/// `relu(y + bias)` and, with `pool`, a 2x2 max pooling, of maps of at least 2x2 pixels.
pub(crate) fn bias_relu(
    y: &Tensor,
    bias: Option<&Tensor>,
    extents: Extents,
    pool: bool,
) -> Result<Tensor> {
    let op = BiasRelu {
        maps: maps(numbers(y), extents),
        tail: if pool { Tail::ReluPool } else { Tail::Relu },
    };
    let y = y.contiguous()?;
    Ok(match bias {
        Some(bias) => tape::apply2(&y, &bias.contiguous()?, op)?,
        None => tape::apply1(&y, op)?,
    })
}

/// Operator of one call, with a bias or without.
struct BiasRelu {
    maps: Maps,
    tail: Tail,
}

impl BiasRelu {
    fn forward(
        &self,
        (y, y_layout): (&CudaStorage, &Layout),
        bias: Option<View>,
    ) -> candle_core::Result<(CudaStorage, Shape)> {
        let y = View::numbers(NAME, y, y_layout)?;
        let out = norm::bias_relu(y, self.maps, bias, self.tail)?;
        Ok((out, shape(self.maps, self.tail)))
    }

    /// Gradients of `y` and of the bias.
    fn backward(
        &self,
        y: &Tensor,
        bias: Option<&Tensor>,
        grad: &Tensor,
    ) -> candle_core::Result<(Tensor, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let (y_guard, grad_guard) = (y.storage_and_layout(), grad.storage_and_layout());
        let bias_guard = bias.map(Tensor::storage_and_layout);
        let bias_view = match &bias_guard {
            Some((storage, layout)) => Some(View::locked(NAME, storage, layout)?),
            None => None,
        };
        let (dy, db) = norm::bias_relu_gradient(
            View::locked_numbers(NAME, &y_guard.0, y_guard.1)?,
            View::locked_numbers(NAME, &grad_guard.0, grad_guard.1)?,
            self.maps,
            bias_view,
            self.tail,
        )?;
        let db = match (db, bias) {
            (Some(db), Some(bias)) => Some(tensor(db, bias.shape())),
            _ => None,
        };
        Ok((tensor(dy, y.shape()), db))
    }
}

impl CustomOp1 for BiasRelu {
    cuda_only!(1);

    fn cuda_fwd(
        &self,
        y: &CudaStorage,
        y_layout: &Layout,
    ) -> candle_core::Result<(CudaStorage, Shape)> {
        self.forward((y, y_layout), None)
    }

    fn bwd(&self, y: &Tensor, _out: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        Ok(Some(self.backward(y, None, grad)?.0))
    }
}

impl CustomOp2 for BiasRelu {
    cuda_only!(2);

    fn cuda_fwd(
        &self,
        y: &CudaStorage,
        y_layout: &Layout,
        bias: &CudaStorage,
        bias_layout: &Layout,
    ) -> candle_core::Result<(CudaStorage, Shape)> {
        let bias = View::floats(NAME, bias, bias_layout)?;
        self.forward((y, y_layout), Some(bias))
    }

    fn bwd(
        &self,
        y: &Tensor,
        bias: &Tensor,
        _out: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let (dy, db) = self.backward(y, Some(bias), grad)?;
        Ok((Some(dy), db))
    }
}
