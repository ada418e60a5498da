use candle_core::{DType, Shape, Tensor, Var};

use crate::error::{Error, Result};
use crate::layout::{Extents, Layout};

const OP: &str = "batch_norm";

/// Hyper-parameters of a batch norm, with PyTorch's defaults.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNormConfig {
    /// Constant added to the variance before the square root; 1e-5.
    pub eps: f64,
    /// Weight of the newest batch in the running statistics, in `[0, 1]`; 0.1.
    pub momentum: f64,
    /// Layout of input and output.
    pub layout: Layout,
}

impl Default for BatchNormConfig {
    fn default() -> Self {
        Self {
            eps: 1e-5,
            momentum: 0.1,
            layout: Layout::default(),
        }
    }
}

/// Parameters and statistics of a batch norm, each `(C)`.
#[derive(Clone, Copy, Debug)]
pub struct Norm<'a> {
    /// Factor of the normalized values (gamma).
    pub weight: &'a Tensor,
    /// Shift of the normalized values (beta).
    pub bias: &'a Tensor,
    /// Running mean, updated in training.
    pub running_mean: &'a Var,
    /// Running variance (unbiased), updated in training.
    pub running_var: &'a Var,
    /// Hyper-parameters.
    pub config: BatchNormConfig,
}

pub(crate) fn check(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    running_mean: &Tensor,
    running_var: &Tensor,
    config: &BatchNormConfig,
) -> Result<Extents> {
    let extents = Extents::of(OP, x, config.layout)?;
    check_parameters(
        extents.c,
        x.dtype(),
        [weight, bias, running_mean, running_var],
        config,
    )?;
    Ok(extents)
}

/// Checks weight, bias, running mean and running variance against the input's channels and type.
pub(crate) fn check_parameters(
    channels: usize,
    dtype: DType,
    tensors: [&Tensor; 4],
    config: &BatchNormConfig,
) -> Result<()> {
    for (argument, tensor) in ["weight", "bias", "running_mean", "running_var"]
        .into_iter()
        .zip(tensors)
    {
        if tensor.dims() != [channels] {
            let expected = format!("({channels}), one value per channel");
            return Err(Error::Shape {
                op: OP,
                argument,
                expected,
                found: tensor.shape().clone(),
            });
        }
    }
    let bad = |message| Err(Error::Config { op: OP, message });
    for (name, tensor) in ["weight", "bias"].into_iter().zip(tensors) {
        if tensor.dtype() != dtype {
            return bad(format!(
                "{name} has type {:?}, expected {dtype:?} as the input",
                tensor.dtype()
            ));
        }
    }
    if !(config.eps >= 0. && config.eps.is_finite()) {
        return bad(format!(
            "expected a finite eps of at least 0, found {}",
            config.eps
        ));
    }
    if !(0. ..=1.).contains(&config.momentum) {
        return bad(format!(
            "expected a momentum in [0, 1], found {}",
            config.momentum
        ));
    }
    Ok(())
}

pub(crate) fn check_train(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    running_mean: &Var,
    running_var: &Var,
    config: &BatchNormConfig,
) -> Result<Extents> {
    let extents = check(x, weight, bias, running_mean, running_var, config)?;
    check_count(extents, x.shape())?;
    Ok(extents)
}

/// Checks that there are two values per channel: one has no variance.
pub(crate) fn check_count(extents: Extents, found: &Shape) -> Result<()> {
    if extents.n * extents.h * extents.w < 2 {
        let expected = "more than 1 value per channel in training".into();
        return Err(Error::Shape {
            op: OP,
            argument: "input",
            expected,
            found: found.clone(),
        });
    }
    Ok(())
}
