//! Comparison of gradients with central finite differences, as `torch.autograd.gradcheck`.
//!
//! Everything runs in `f64`, where a step of `1e-6` leaves about nine correct digits.

use candle_core::{DType, Device, Tensor, Var};

use crate::error::{Error, Result};

/// Step of [`max_relative_error`].
pub const STEP: f64 = 1e-6;

/// Largest difference between autograd and central finite differences over all elements of all inputs of `function`.
///
/// `function` takes the tensors in the order of `inputs` and may return a tensor of any shape. Its output is projected on a fixed
/// direction, so that one backward pass gives one number per input element, which is compared with
/// `(f(x + STEP) - f(x - STEP)) / (2 * STEP)`. The error of an element is `|a - n| / max(1, |a|, |n|)`: relative for gradients
/// above one, absolute below. The gradient of an input that autograd does not reach is zero.
///
/// The function is called twice per input element, so keep the tensors small. It must be differentiable at the inputs:
/// avoid ties of maxima and zeros before a ReLU. The inputs are contiguous; permute inside `function` to check views.
///
/// # Errors
/// [`Error::Config`] if an input is not `f64` on the CPU, and the errors of `function`.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use tallow_ops::gradcheck;
///
/// let x = Tensor::new(&[0.5f64, -1.5, 2.0], &Device::Cpu)?;
/// let error = gradcheck::max_relative_error(|t| Ok(t[0].sqr()?.tanh()?), &[x])?;
/// assert!(error < 1e-8);
/// # Ok::<(), tallow_ops::Error>(())
/// ```
pub fn max_relative_error(
    function: impl Fn(&[Tensor]) -> Result<Tensor>,
    inputs: &[Tensor],
) -> Result<f64> {
    for input in inputs {
        if input.dtype() != DType::F64 || !input.device().is_cpu() {
            let message = format!(
                "inputs must be f64 on the CPU, found {:?} on {:?}",
                input.dtype(),
                input.device().location()
            );
            return Err(Error::Config {
                op: "gradcheck",
                message,
            });
        }
    }
    let project = |inputs: &[Tensor]| -> Result<Tensor> {
        let output = function(inputs)?;
        let direction: Vec<f64> = (1..=output.elem_count())
            .map(|i| (i as f64).sin())
            .collect();
        let direction = Tensor::from_vec(direction, output.shape(), &Device::Cpu)?;
        Ok((output * direction)?.sum_all()?)
    };

    let variables = inputs
        .iter()
        .map(Var::from_tensor)
        .collect::<candle_core::Result<Vec<_>>>()?;
    let tensors: Vec<Tensor> = variables.iter().map(|v| v.as_tensor().clone()).collect();
    let gradients = project(&tensors)?.backward()?;

    let mut worst = 0f64;
    for (i, input) in inputs.iter().enumerate() {
        let values = input.flatten_all()?.to_vec1::<f64>()?;
        let analytic = match gradients.get(&tensors[i]) {
            Some(gradient) => gradient.flatten_all()?.to_vec1::<f64>()?,
            None => vec![0.0; values.len()],
        };
        let at = |element: usize, value: f64| -> Result<f64> {
            let mut moved = values.clone();
            moved[element] = value;
            let mut arguments = inputs.to_vec();
            arguments[i] = Tensor::from_vec(moved, input.shape(), &Device::Cpu)?;
            Ok(project(&arguments)?.to_scalar::<f64>()?)
        };
        for (element, (&value, &a)) in values.iter().zip(&analytic).enumerate() {
            let n = (at(element, value + STEP)? - at(element, value - STEP)?) / (2.0 * STEP);
            let error = (a - n).abs() / a.abs().max(n.abs()).max(1.0);
            // NaN must not pass: `f64::max` would drop it.
            worst = if error.is_nan() {
                f64::INFINITY
            } else {
                worst.max(error)
            };
        }
    }
    Ok(worst)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_gradient_passes_and_a_wrong_one_does_not() {
        let x = Tensor::new(&[[0.3f64, -0.7], [1.1, 2.0]], &Device::Cpu).unwrap();
        let y = Tensor::new(&[[0.9f64, 0.2], [-1.0, 0.4]], &Device::Cpu).unwrap();
        let product = |t: &[Tensor]| Ok(t[0].matmul(&t[1])?.sqr()?);
        assert!(max_relative_error(product, &[x.clone(), y.clone()]).unwrap() < 1e-8);
        let half_detached = |t: &[Tensor]| Ok((t[0].detach() * &t[0])?);
        assert!(max_relative_error(half_detached, std::slice::from_ref(&x)).unwrap() > 0.1);
        let unreached = |t: &[Tensor]| Ok((t[0].detach() * &t[1])?);
        assert!(max_relative_error(unreached, &[x, y]).unwrap() > 0.1);
    }

    #[test]
    fn f32_is_refused() {
        let x = Tensor::new(&[1f32], &Device::Cpu).unwrap();
        assert!(matches!(
            max_relative_error(|t| Ok(t[0].clone()), &[x]),
            Err(Error::Config { .. })
        ));
    }
}
