use candle_core::Tensor;

use crate::error::{Error, Result};
use crate::kernels::linear::Shape;
use crate::route;

const OP: &str = "linear";

/// Checks the arguments of a linear layer.
pub(crate) fn shape(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Shape> {
    let bad = |argument, expected: String, found: &Tensor| {
        Err(Error::Shape {
            op: OP,
            argument,
            expected,
            found: found.shape().clone(),
        })
    };
    let &[batch, inputs] = x.dims() else {
        return bad("x", "two dimensions, (N, I)".into(), x);
    };
    let &[outputs, weight_inputs] = weight.dims() else {
        return bad("weight", "two dimensions, (O, I)".into(), weight);
    };
    if inputs != weight_inputs || inputs == 0 || outputs == 0 {
        return bad(
            "weight",
            format!("(O, {inputs}), neither of size 0"),
            weight,
        );
    }
    if let Some(bias) = bias.filter(|bias| bias.dims() != [outputs]) {
        return bad("bias", format!("({outputs})"), bias);
    }
    for other in [Some(weight), bias].into_iter().flatten() {
        if other.dtype() != x.dtype() && !route::is_mixed(x, other) {
            let (lhs, rhs) = (x.dtype(), other.dtype());
            return Err(candle_core::Error::DTypeMismatchBinaryOp { lhs, rhs, op: OP }.into());
        }
    }
    Ok(Shape {
        batch,
        inputs,
        outputs,
    })
}
