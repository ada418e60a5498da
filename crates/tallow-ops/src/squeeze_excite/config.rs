use candle_core::Tensor;

use crate::error::{Error, Result};
use crate::kernels::activation::Activation;
use crate::kernels::squeeze_excite::Block;
use crate::layout::{Extents, Layout};

const OP: &str = "squeeze_excite";

/// Hyper-parameters of squeeze-and-excitation, with the names of `torchvision.ops.SqueezeExcitation`.
///
/// The default is ReLU and sigmoid, as in the paper, in [`Layout::Nchw`]. MobileNetV3 has ReLU and
/// [`HardSigmoid`](Activation::HardSigmoid), EfficientNet [`Silu`](Activation::Silu) and sigmoid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SqueezeExciteConfig {
    /// Activation between the two layers.
    pub activation: Activation,
    /// Activation of the factors.
    pub scale_activation: Activation,
    /// Layout of input and output.
    pub layout: Layout,
}

impl Default for SqueezeExciteConfig {
    fn default() -> Self {
        Self {
            activation: Activation::Relu,
            scale_activation: Activation::Sigmoid,
            layout: Layout::Nchw,
        }
    }
}

/// Checks the arguments and collects the sizes.
pub(crate) fn check(
    x: &Tensor,
    fc1: (&Tensor, &Tensor),
    fc2: (&Tensor, &Tensor),
    config: &SqueezeExciteConfig,
) -> Result<Block> {
    let extents = Extents::of(OP, x, config.layout)?;
    let squeezed = match *fc1.0.dims() {
        [s, _] | [s, _, 1, 1] if s > 0 => s,
        _ => 0,
    };
    let c = extents.c;
    for (argument, parameter, (outputs, inputs)) in [
        ("fc1 weight", fc1.0, (squeezed, c)),
        ("fc2 weight", fc2.0, (c, squeezed)),
    ] {
        let dims = parameter.dims();
        if squeezed == 0 || (dims != [outputs, inputs] && dims != [outputs, inputs, 1, 1]) {
            let squeezed = match squeezed {
                0 => "S".to_string(),
                s => s.to_string(),
            };
            let (outputs, inputs) = match argument {
                "fc1 weight" => (squeezed, c.to_string()),
                _ => (c.to_string(), squeezed),
            };
            return Err(Error::Shape {
                op: OP,
                argument,
                expected: format!("({outputs}, {inputs}) or ({outputs}, {inputs}, 1, 1)"),
                found: parameter.shape().clone(),
            });
        }
    }
    for (argument, parameter, outputs) in [("fc1 bias", fc1.1, squeezed), ("fc2 bias", fc2.1, c)] {
        if parameter.dims() != [outputs] {
            return Err(Error::Shape {
                op: OP,
                argument,
                expected: format!("({outputs})"),
                found: parameter.shape().clone(),
            });
        }
    }
    for other in [fc1.0, fc1.1, fc2.0, fc2.1] {
        if other.dtype() != x.dtype() {
            let (lhs, rhs) = (x.dtype(), other.dtype());
            return Err(candle_core::Error::DTypeMismatchBinaryOp { lhs, rhs, op: OP }.into());
        }
    }
    Ok(Block {
        extents,
        layout: config.layout,
        squeezed,
        activation: config.activation,
        gate: config.scale_activation,
    })
}
