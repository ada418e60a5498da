//! Linear layer by cuBLAS, with a ReLU or without.

use std::sync::OnceLock;

use candle_core::{CpuStorage, DType, Result, Shape, Tensor};
use tallow_cuda::ops::linear::{self, Copies, Sizes};
use tallow_cuda::ops::rows;
use tallow_cuda::{Precision, View};

use crate::cast::cast;
use crate::cuda::{elsewhere, tensor};
use crate::weighted::{Argument, CudaArgument, CudaOutput, Weighted, apply_weighted};
use crate::{custom_op, precision};

const NAME: &str = "linear";

/// Linear layer of checked arguments, and its ReLU if `relu`, in the [current](precision::current) precision. The result is in `f32`.
pub(crate) fn linear(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    relu: bool,
    sizes: Sizes,
) -> crate::error::Result<Tensor> {
    let precision = precision::current();
    // In bf16 the factors are copied if they are not in it.
    let x = match precision {
        Precision::Bf16 => x.clone(),
        Precision::F32 | Precision::Tf32 => cast(x, DType::F32)?,
    };
    let op = Linear {
        sizes,
        relu,
        precision,
        copies: OnceLock::new(),
    };
    Ok(apply_weighted(&x, weight, bias, op)?)
}

/// Operator of one call.
struct Linear {
    sizes: Sizes,
    relu: bool,
    precision: Precision,
    /// Copies that the forward pass made, for the backward pass.
    copies: OnceLock<Copies>,
}

impl Linear {
    /// Gradient before ReLU and bias, of the gradient after them, and that of the bias, if it is needed.
    fn before_bias(
        &self,
        b: Option<&Tensor>,
        y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Tensor, Option<Tensor>)> {
        let b = b.filter(|b| b.track_op());
        let (y_guard, dy_guard) = (y.storage_and_layout(), dy.storage_and_layout());
        let out = match self.relu {
            true => Some(View::locked(NAME, &y_guard.0, y_guard.1)?),
            false => None,
        };
        let dys = View::locked(NAME, &dy_guard.0, dy_guard.1)?;
        let (masked, sums) = rows::gradient(out, dys, self.sizes.outputs, b.is_some())?;
        let db = match (sums, b) {
            (Some(sums), Some(b)) => Some(tensor(sums, b.shape())),
            _ => None,
        };
        let masked = masked.map_or_else(|| dy.clone(), |masked| tensor(masked, dy.shape()));
        Ok((masked, db))
    }
}

impl Weighted for Linear {
    const NAME: &'static str = NAME;

    fn forward(
        &self,
        _: Argument,
        _: Argument,
        _: Option<Argument>,
    ) -> Result<(CpuStorage, Shape)> {
        elsewhere(NAME)
    }

    fn forward_cuda(
        &self,
        (x, x_layout): CudaArgument,
        (w, w_layout): CudaArgument,
        b: Option<CudaArgument>,
    ) -> CudaOutput {
        let x = View::numbers(NAME, x, x_layout)?;
        let w = View::floats(NAME, w, w_layout)?;
        let b = b.map(|(b, b_layout)| View::floats(NAME, b, b_layout));
        let b = b.transpose()?;
        let (y, copies) = linear::forward(x, w, b, self.relu, self.sizes, self.precision)?;
        custom_op::save(&self.copies, copies)?;
        Ok((y, (self.sizes.rows, self.sizes.outputs).into()))
    }

    /// Gradients; `None` for those not needed.
    fn backward(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: Option<&Tensor>,
        y: &Tensor,
        dy: &Tensor,
    ) -> Result<[Option<Tensor>; 3]> {
        let (dy, db) = self.before_bias(b, y, &dy.contiguous()?)?;
        let (x_guard, w_guard, dy_guard) = (
            x.storage_and_layout(),
            w.storage_and_layout(),
            dy.storage_and_layout(),
        );
        let dys = View::locked(NAME, &dy_guard.0, dy_guard.1)?;
        let [dx, dw] = linear::backward(
            View::locked_numbers(NAME, &x_guard.0, x_guard.1)?,
            View::locked(NAME, &w_guard.0, w_guard.1)?,
            custom_op::saved(&self.copies)?,
            dys,
            self.sizes,
            self.precision,
            [x.track_op(), w.track_op()],
        )?;
        let dx = dx.map(|dx| tensor(dx, x.shape()));
        Ok([dx, dw.map(|dw| tensor(dw, w.shape())), db])
    }
}
