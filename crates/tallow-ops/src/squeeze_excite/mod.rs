//! Squeeze-and-excitation.

pub(crate) mod config;
mod op;

use std::sync::OnceLock;

use candle_core::Tensor;

pub use self::config::SqueezeExciteConfig;
use self::config::check;
use self::op::SqueezeExcite;
use crate::cast::widened;
use crate::error::Result;
use crate::{cpu, reference, tape};

/// Squeeze-and-excitation (Hu, Shen and Sun 2018, arXiv 1709.01507), as `torchvision.ops.SqueezeExcitation`: each channel times a factor
/// that depends on the means of all channels, `x * scale_activation(fc2(activation(fc1(mean(x)))))`.
///
/// `x` is `(N, C, H, W)`, or `(N, H, W, C)` in [`Layout::Nhwc`](crate::Layout::Nhwc). `fc1` and `fc2` are weight and bias of the layers:
/// `(S, C)` and `(S)`, `(C, S)` and `(C)`; weights may have the shape of 1x1 convolutions, `(S, C, 1, 1)`, as torchvision's do.
/// Differentiable in all of them. In `f32` and `f64` on the CPU it is one operator, forward and backward.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) if the shapes differ from these or a size is 0; an error of candle if the element types
/// differ.
pub fn squeeze_excite(
    x: &Tensor,
    fc1: (&Tensor, &Tensor),
    fc2: (&Tensor, &Tensor),
    config: &SqueezeExciteConfig,
) -> Result<Tensor> {
    // Maps in `bf16` beside parameters in `f32` are computed in `f32`.
    let x = &widened(x, fc1.0)?;
    let block = check(x, fc1, fc2, config)?;
    if !cpu::has_kernels(x) {
        let [w1, b1, w2, b2] = [fc1.0, fc1.1, fc2.0, fc2.1].map(tape::input);
        return reference::squeeze_excite::composed(
            &tape::input(x),
            (&w1, &b1),
            (&w2, &b2),
            &block,
        );
    }
    // An operator of candle has three arguments at most.
    let [p1, p2] = [packed(fc1)?, packed(fc2)?];
    let op = SqueezeExcite {
        block,
        excitation: OnceLock::new(),
    };
    Ok(tape::apply3(&x.contiguous()?, &p1, &p2, op)?)
}

/// Weight and bias of a layer, one behind the other.
fn packed((weight, bias): (&Tensor, &Tensor)) -> Result<Tensor> {
    let weight = tape::reshape(&weight.contiguous()?, weight.elem_count())?;
    Ok(tape::cat(&[&weight, &bias.contiguous()?])?)
}
