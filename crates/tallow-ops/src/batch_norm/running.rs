//! Running statistics and their momentum.

use std::cell::Cell;

use candle_core::{DType, Tensor, Var};

use super::BatchNormConfig;
use crate::error::Result;

thread_local! {
    /// Momentum in place of that of the layers.
    static MOMENTUM: Cell<Option<f64>> = const { Cell::new(None) };
}

/// Runs `f` with another momentum of the running statistics in every batch norm of this crate in this thread, in `[0, 1]`.
///
/// With momentum `1 / n` for the `n`-th batch the running statistics become the plain means over the batches, as those of
/// `torch.nn.BatchNorm2d` with `momentum=None`.
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// use tallow_ops::{BatchNormConfig, batch_norm_train, with_running_momentum};
///
/// let channel = |value: f32| Var::new(&[value], &Device::Cpu);
/// let (weight, bias) = (channel(1.0)?, channel(0.0)?);
/// let (mean, var) = (channel(7.0)?, channel(7.0)?);
/// for (n, values) in [[1f32, 3.0], [4.0, 8.0]].iter().enumerate() {
///     let x = Tensor::new(values, &Device::Cpu)?.reshape((2, 1, 1, 1))?;
///     with_running_momentum(1.0 / (n + 1) as f64, || {
///         batch_norm_train(&x, &weight, &bias, &mean, &var, &BatchNormConfig::default())
///     })?;
/// }
/// assert_eq!((mean.to_vec1::<f32>()?, var.to_vec1::<f32>()?), (vec![4.0], vec![5.0]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn with_running_momentum<R>(momentum: f64, f: impl FnOnce() -> R) -> R {
    struct Guard(Option<f64>);
    impl Drop for Guard {
        fn drop(&mut self) {
            MOMENTUM.set(self.0);
        }
    }
    let _guard = Guard(MOMENTUM.replace(Some(momentum.clamp(0.0, 1.0))));
    f()
}

/// Momentum of the running statistics of a layer with these settings.
pub(crate) fn momentum(config: &BatchNormConfig) -> f64 {
    MOMENTUM.get().unwrap_or(config.momentum)
}

pub(crate) fn to_f64(x: &Tensor) -> Result<Vec<f64>> {
    Ok(x.to_dtype(DType::F64)?.to_vec1()?)
}

/// Moves the running mean and variance towards the mean and the unbiased variance of `count` values of a channel.
pub(crate) fn move_running(
    [running_mean, running_var]: [&Var; 2],
    mean: &[f64],
    variance: &[f64],
    count: f64,
    config: &BatchNormConfig,
) -> Result<()> {
    let momentum = momentum(config);
    move_towards(running_mean, mean, 1., momentum)?;
    move_towards(running_var, variance, count / (count - 1.), momentum)
}

/// `running = (1 - momentum) * running + momentum * factor * batch`.
fn move_towards(running: &Var, batch: &[f64], factor: f64, momentum: f64) -> Result<()> {
    let moved: Vec<f64> = to_f64(running)?
        .iter()
        .zip(batch)
        .map(|(r, b)| (1. - momentum) * r + momentum * factor * b)
        .collect();
    let moved = Tensor::from_vec(moved, running.shape(), running.device())?;
    Ok(running.set(&moved.to_dtype(running.dtype())?)?)
}
