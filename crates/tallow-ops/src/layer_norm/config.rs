use candle_core::Tensor;

use crate::error::{Error, Result};
use crate::layout::{Extents, Layout};

const OP: &str = "layer_norm";

/// Checks the arguments of a layer norm over the last dimension and gives its size.
pub(crate) fn check(
    x: &Tensor,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    eps: f64,
) -> Result<usize> {
    let size = match x.dims().last() {
        Some(&size) if size > 0 => size,
        _ => {
            return Err(Error::Shape {
                op: OP,
                argument: "input",
                expected: "at least one dimension, the last one above 0".into(),
                found: x.shape().clone(),
            });
        }
    };
    check_parameters(x, size, weight, bias, eps)?;
    Ok(size)
}

/// Checks the arguments of a layer norm over the channels of images.
pub(crate) fn check_2d(
    x: &Tensor,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    eps: f64,
    layout: Layout,
) -> Result<Extents> {
    let extents = Extents::of(OP, x, layout)?;
    check_parameters(x, extents.c, weight, bias, eps)?;
    Ok(extents)
}

fn check_parameters(
    x: &Tensor,
    size: usize,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    eps: f64,
) -> Result<()> {
    for (argument, parameter) in [("weight", weight), ("bias", bias)] {
        let Some(parameter) = parameter else { continue };
        if parameter.dims() != [size] {
            return Err(Error::Shape {
                op: OP,
                argument,
                expected: format!("({size}), one value per normalized element"),
                found: parameter.shape().clone(),
            });
        }
        if parameter.dtype() != x.dtype() {
            let (lhs, rhs) = (x.dtype(), parameter.dtype());
            return Err(candle_core::Error::DTypeMismatchBinaryOp { lhs, rhs, op: OP }.into());
        }
    }
    if !(eps >= 0. && eps.is_finite()) {
        let message = format!("expected a finite eps of at least 0, found {eps}");
        return Err(Error::Config { op: OP, message });
    }
    Ok(())
}
