//! Precision of products on a CUDA device.

use std::cell::Cell;
use std::fmt;

use candle_core::Device;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Precision of the products of convolutions and linear layers on a CUDA device; see [`with_precision`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Products and sums in `f32`.
    #[default]
    F32,
    /// Factors rounded to TF32, which has the exponent of `f32` and 10 bits behind the leading one; sums and all else in `f32`.
    Tf32,
    /// Factors and feature maps in `bf16`; sums, statistics, linear layers' results and parameters in `f32`.
    Bf16,
}

impl Precision {
    /// Name, as a recipe has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Tf32 => "tf32",
            Self::Bf16 => "bf16",
        }
    }

    /// Checks that `device` can compute in this precision: every device in `f32`, and a CUDA device with cuDNN in the others.
    ///
    /// # Errors
    /// [`Error::Config`] if it cannot.
    pub fn check(self, device: &Device) -> Result<()> {
        if self == Self::F32 || crate::route::has_gpu_kernels(device, candle_core::DType::F32) {
            return Ok(());
        }
        let reason = match device {
            Device::Cuda(_) if cfg!(feature = "cuda") => "cuDNN 9 was not found",
            Device::Cuda(_) => "this build has no kernels: build with --features cuda",
            _ => "this is no CUDA device",
        };
        let message = format!(
            "\"{self}\" needs a CUDA device with cuDNN 9, and {reason}; \"f32\" works everywhere"
        );
        Err(Error::Config {
            op: "precision",
            message,
        })
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(self.name())
    }
}

thread_local! {
    static PRECISION: Cell<Precision> = const { Cell::new(Precision::F32) };
}

/// Runs `f` with products in this precision, as `torch.autocast`. A backward pass has the precision of its forward pass, wherever it runs.
///
/// It has an effect on tensors of `f32` on a CUDA device for which [`Precision::check`] holds, and none elsewhere. Parameters stay in `f32`, and
/// so do their gradients. In `bf16`, convolutions give feature maps in `bf16`, which norms, pooling, ReLU, dropout and residual sums take and
/// give; linear layers give `f32`. What has no kernel in `bf16` is computed in `f32`.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use tallow_ops::{Precision, linear, with_precision};
///
/// let x = Tensor::new(&[[1f32, 2.0]], &Device::Cpu)?;
/// let weight = Tensor::new(&[[3f32, 4.0]], &Device::Cpu)?;
/// let y = with_precision(Precision::Bf16, || linear(&x, &weight, None))?;
/// assert_eq!(y.to_vec2::<f32>()?, [[11.0]]);
/// assert!(Precision::Bf16.check(&Device::Cpu).is_err());
/// # Ok::<(), tallow_ops::Error>(())
/// ```
pub fn with_precision<R>(precision: Precision, f: impl FnOnce() -> R) -> R {
    struct Guard(Precision);
    impl Drop for Guard {
        fn drop(&mut self) {
            PRECISION.set(self.0);
        }
    }
    let _guard = Guard(PRECISION.replace(precision));
    f()
}

/// Precision of the innermost [`with_precision`].
#[cfg(feature = "cuda")]
pub(crate) fn current() -> tallow_cuda::Precision {
    match PRECISION.get() {
        Precision::F32 => tallow_cuda::Precision::F32,
        Precision::Tf32 => tallow_cuda::Precision::Tf32,
        Precision::Bf16 => tallow_cuda::Precision::Bf16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_call_counts_and_ends_with_its_function() {
        let seen = with_precision(Precision::Bf16, || {
            let inner = with_precision(Precision::Tf32, || PRECISION.get());
            (inner, PRECISION.get())
        });
        assert_eq!(seen, (Precision::Tf32, Precision::Bf16));
        let ended = std::panic::catch_unwind(|| with_precision(Precision::Bf16, || panic!("end")));
        assert!(ended.is_err());
        assert_eq!(PRECISION.get(), Precision::F32);
    }

    #[test]
    fn a_device_that_cannot_is_refused() {
        assert!(Precision::F32.check(&Device::Cpu).is_ok());
        for precision in [Precision::Tf32, Precision::Bf16] {
            let message = precision.check(&Device::Cpu).unwrap_err().to_string();
            assert!(
                message.contains(precision.name()) && message.contains("no CUDA device"),
                "{message}"
            );
        }
    }
}
