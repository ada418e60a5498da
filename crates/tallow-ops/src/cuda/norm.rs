//! Batch norm with what follows it, in (N, H, W, C).

use std::sync::OnceLock;

use candle_core::{CudaStorage, CustomOp3, Layout, Shape, Tensor, Var};
use tallow_cuda::ops::norm::{self, Constants, Gradients, Maps, Running, Tail, Weights};
use tallow_cuda::{Numbers, View};

use crate::batch_norm::config::{BatchNormConfig, Norm};
use crate::batch_norm::running::momentum;
use crate::cast::cast;
use crate::cuda::{cuda_only, numbers, tensor};
use crate::error::Result;
use crate::layout::Extents;
use crate::{custom_op, tape};

/// Statistics by which a norm normalizes.
pub(crate) enum Statistics {
    /// Those of the batch, which move the running ones.
    Batch(Running),
    /// Running mean and variance.
    Running([Tensor; 2]),
}

impl Statistics {
    /// Those of the batch.
    pub(crate) fn of_batch(mean: &Var, var: &Var, config: &BatchNormConfig) -> Self {
        Self::Batch(Running {
            mean: mean.clone(),
            var: var.clone(),
            momentum: momentum(config),
        })
    }

    /// The running ones.
    pub(crate) fn running(mean: &Tensor, var: &Tensor) -> Self {
        Self::Running([mean.detach(), var.detach()])
    }

    /// Those of a norm in training or in evaluation.
    pub(crate) fn of(norm: &Norm, train: bool) -> Self {
        match train {
            true => Self::of_batch(norm.running_mean, norm.running_var, &norm.config),
            false => Self::running(norm.running_mean, norm.running_var),
        }
    }
}

/// Norm of `y` with a tail. `conv_bias` is the bias of the convolution that `y` is of, which was left out of it.
pub(crate) fn apply(
    y: &Tensor,
    [weight, bias]: [&Tensor; 2],
    conv_bias: Option<&Tensor>,
    extents: Extents,
    eps: f64,
    statistics: Statistics,
    tail: Tail,
) -> Result<Tensor> {
    let op = NormTail(Op::new(numbers(y), extents, eps, statistics, tail));
    // An operator has three arguments at most, so the second bias is appended to the first.
    let bias = match conv_bias {
        Some(conv_bias) => tape::cat(&[bias, conv_bias])?,
        None => bias.contiguous()?,
    };
    let (y, weight) = (y.contiguous()?, weight.contiguous()?);
    Ok(tape::apply3(&y, &weight, &bias, op)?)
}

/// `relu(norm(y) + shortcut)`.
pub(crate) fn apply_add_relu(
    y: &Tensor,
    shortcut: &Tensor,
    [weight, bias]: [&Tensor; 2],
    conv_bias: Option<&Tensor>,
    extents: Extents,
    eps: f64,
    statistics: Statistics,
) -> Result<Tensor> {
    let op = NormAddRelu(Op::new(numbers(y), extents, eps, statistics, Tail::AddRelu));
    let parameters: Vec<&Tensor> = [weight, bias].into_iter().chain(conv_bias).collect();
    let parameters = tape::cat(&parameters)?;
    let shortcut = cast(shortcut, y.dtype())?;
    let (y, shortcut) = (y.contiguous()?, shortcut.contiguous()?);
    Ok(tape::apply3(&y, &shortcut, &parameters, op)?)
}

/// Maps of these sizes.
pub(super) fn maps(numbers: Numbers, extents: Extents) -> Maps {
    let Extents { n, c, h, w } = extents;
    Maps {
        numbers,
        n,
        h,
        w,
        c,
    }
}

/// Shape of what a tail makes of maps.
pub(super) fn shape(maps: Maps, tail: Tail) -> Shape {
    let Maps { n, h, w, c, .. } = match tail {
        Tail::ReluPool => maps.pooled(),
        _ => maps,
    };
    (n, h, w, c).into()
}

/// Operator of one call.
struct Op {
    numbers: Numbers,
    extents: Extents,
    eps: f64,
    statistics: Statistics,
    tail: Tail,
    constants: OnceLock<Constants>,
}

const NAME: &str = "batch_norm";

impl Op {
    fn new(
        numbers: Numbers,
        extents: Extents,
        eps: f64,
        statistics: Statistics,
        tail: Tail,
    ) -> Self {
        Self {
            numbers,
            extents,
            eps,
            statistics,
            tail,
            constants: OnceLock::new(),
        }
    }

    fn maps(&self) -> Maps {
        maps(self.numbers, self.extents)
    }

    /// Parameters that lie one behind the other: weight and bias, and the bias of the convolution if there is one.
    fn weights<'a>(&self, all: View<'a>) -> tallow_cuda::Result<Weights<'a>> {
        let c = self.extents.c;
        self.weights_of(all.part(NAME, 0, c)?, all.part(NAME, c, all.len() - c)?)
    }

    /// Weight, and bias with the bias of the convolution behind it if there is one.
    fn weights_of<'a>(
        &self,
        weight: View<'a>,
        biases: View<'a>,
    ) -> tallow_cuda::Result<Weights<'a>> {
        let c = self.extents.c;
        let conv_bias = match biases.len() > c {
            true => Some(biases.part(NAME, c, biases.len() - c)?),
            false => None,
        };
        Ok(Weights {
            weight,
            bias: biases.part(NAME, 0, c)?,
            conv_bias,
        })
    }

    fn forward(
        &self,
        y: View,
        weights: &Weights,
        shortcut: Option<View>,
    ) -> candle_core::Result<(CudaStorage, Shape)> {
        let (maps, eps) = (self.maps(), self.eps);
        let constants = match &self.statistics {
            Statistics::Batch(running) => norm::of_batch(y, maps, weights, running, eps)?,
            Statistics::Running([mean, var]) => {
                let (mean, var) = (mean.storage_and_layout(), var.storage_and_layout());
                let mean = View::locked(NAME, &mean.0, mean.1)?;
                let var = View::locked(NAME, &var.0, var.1)?;
                norm::of_running(weights, mean, var, maps, eps)?
            }
        };
        let out = norm::apply(y, maps, &constants, self.tail, shortcut)?;
        custom_op::save(&self.constants, constants)?;
        Ok((out, shape(maps, self.tail)))
    }

    fn backward(
        &self,
        y: &Tensor,
        out: &Tensor,
        grad: &Tensor,
        zeros: usize,
    ) -> candle_core::Result<Gradients> {
        let grad = grad.contiguous()?;
        let (y, out, grad) = (
            y.storage_and_layout(),
            out.storage_and_layout(),
            grad.storage_and_layout(),
        );
        let constants = custom_op::saved(&self.constants)?;
        Ok(norm::backward(
            View::locked_numbers(NAME, &y.0, y.1)?,
            View::locked_numbers(NAME, &grad.0, grad.1)?,
            Some(View::locked_numbers(NAME, &out.0, out.1)?),
            self.maps(),
            constants,
            self.tail,
            zeros,
        )?)
    }
}

/// Norm and a tail without a shortcut. The third argument is the bias, and behind it the bias of the convolution if there is one.
struct NormTail(Op);

impl CustomOp3 for NormTail {
    cuda_only!(3);

    fn cuda_fwd(
        &self,
        y: &CudaStorage,
        y_layout: &Layout,
        weight: &CudaStorage,
        weight_layout: &Layout,
        biases: &CudaStorage,
        biases_layout: &Layout,
    ) -> candle_core::Result<(CudaStorage, Shape)> {
        let y = View::numbers(NAME, y, y_layout)?;
        let weight = View::floats(NAME, weight, weight_layout)?;
        let biases = View::floats(NAME, biases, biases_layout)?;
        self.0.forward(y, &self.0.weights_of(weight, biases)?, None)
    }

    fn bwd(
        &self,
        y: &Tensor,
        _weight: &Tensor,
        biases: &Tensor,
        out: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (c, len) = (self.0.extents.c, biases.elem_count());
        let gradients = self.0.backward(y, out, grad, len - c)?;
        let parameters = tensor(gradients.parameters, c + len);
        Ok((
            Some(tensor(gradients.input, y.shape())),
            Some(parameters.narrow(0, 0, c)?),
            Some(parameters.narrow(0, c, len)?),
        ))
    }
}

/// Norm, addition and ReLU. The third argument is weight and bias, and behind them the bias of the convolution if there is one.
struct NormAddRelu(Op);

impl CustomOp3 for NormAddRelu {
    cuda_only!(3);

    fn cuda_fwd(
        &self,
        y: &CudaStorage,
        y_layout: &Layout,
        shortcut: &CudaStorage,
        shortcut_layout: &Layout,
        parameters: &CudaStorage,
        parameters_layout: &Layout,
    ) -> candle_core::Result<(CudaStorage, Shape)> {
        let y = View::numbers(NAME, y, y_layout)?;
        let shortcut = View::numbers(NAME, shortcut, shortcut_layout)?;
        let parameters = View::floats(NAME, parameters, parameters_layout)?;
        self.0
            .forward(y, &self.0.weights(parameters)?, Some(shortcut))
    }

    fn bwd(
        &self,
        y: &Tensor,
        shortcut: &Tensor,
        parameters: &Tensor,
        out: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let zeros = parameters.elem_count() - 2 * self.0.extents.c;
        let gradients = self.0.backward(y, out, grad, zeros)?;
        Ok((
            Some(tensor(gradients.input, y.shape())),
            gradients.shortcut.map(|g| tensor(g, shortcut.shape())),
            Some(tensor(gradients.parameters, parameters.shape())),
        ))
    }
}
