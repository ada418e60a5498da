//! Momentum of running statistics.

use std::cell::Cell;

use super::BatchNormConfig;

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
