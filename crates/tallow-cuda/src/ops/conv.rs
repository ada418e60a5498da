//! Convolution in (N, H, W, C) by cuDNN.

use std::sync::{MutexGuard, PoisonError};

use candle_core::cuda_backend::cudarc::driver::result;
use candle_core::{CudaDevice, CudaStorage};

use super::counted;
use crate::call::Address;
use crate::cudnn::Cudnn;
pub use crate::cudnn::{Convolution, Pass};
use crate::engine::{Engine, Memory};
use crate::error::{Error, Result, driver};
use crate::view::View;

const OP: &str = "conv2d";

/// True if cuDNN can be used on the device, and has plans for all passes of the convolution.
///
/// # Errors
/// Errors of cuDNN other than that it does not support something.
pub fn is_supported(device: &CudaDevice, convolution: &Convolution) -> Result<bool> {
    let engine = Engine::of(device)?;
    let Some(mut cudnn) = locked(&engine) else {
        return Ok(false);
    };
    for pass in Pass::ALL {
        if !cudnn.has_plan(pass, convolution)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Output from input and weight.
pub fn forward(x: View, w: View, convolution: &Convolution) -> Result<CudaStorage> {
    let [inputs, weights, outputs] = convolution.elements();
    let (x, w) = (
        Source::of(x, "the input", inputs)?,
        Source::of(w, "the weight", weights)?,
    );
    run(Pass::Forward, convolution, outputs, x, w)
}

/// Gradient of the input from weight and gradient of the output.
pub fn input_gradient(w: View, dy: View, convolution: &Convolution) -> Result<CudaStorage> {
    let [inputs, weights, outputs] = convolution.elements();
    let (w, dy) = (
        Source::of(w, "the weight", weights)?,
        Source::of(dy, "the gradient", outputs)?,
    );
    run(Pass::InputGradient, convolution, inputs, w, dy)
}

/// Gradient of the weight from input and gradient of the output.
pub fn weight_gradient(x: View, dy: View, convolution: &Convolution) -> Result<CudaStorage> {
    let [inputs, weights, outputs] = convolution.elements();
    let (x, dy) = (
        Source::of(x, "the input", inputs)?,
        Source::of(dy, "the gradient", outputs)?,
    );
    run(Pass::WeightGradient, convolution, weights, x, dy)
}

/// Engine that a pass runs, with its notes, for reports; `None` if there is none.
///
/// # Errors
/// As [`is_supported`].
pub fn describe(
    device: &CudaDevice,
    pass: Pass,
    convolution: &Convolution,
) -> Result<Option<String>> {
    let engine = Engine::of(device)?;
    match locked(&engine) {
        Some(mut cudnn) => cudnn.describe(pass, convolution),
        None => Ok(None),
    }
}

/// Version of cuDNN, as 91900 for 9.19.0; `None` if it cannot be used.
///
/// # Errors
/// If the device cannot be used.
pub fn cudnn_version(device: &CudaDevice) -> Result<Option<usize>> {
    let engine = Engine::of(device)?;
    Ok(locked(&engine).map(|cudnn| cudnn.version()))
}

/// Description of the device in cuDNN's words, a JSON text, from version 9.8 on; `None` without cuDNN.
///
/// # Errors
/// Errors of cuDNN.
pub fn device_description(device: &CudaDevice) -> Result<Option<String>> {
    let engine = Engine::of(device)?;
    locked(&engine)
        .map(|cudnn| cudnn.device_description())
        .transpose()
}

fn locked(engine: &Engine) -> Option<MutexGuard<'_, Cudnn>> {
    let cudnn = engine.cudnn()?;
    Some(cudnn.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Input of a pass, which lies on 16 bytes as the plans expect.
struct Source<'a> {
    device: &'a CudaDevice,
    address: Address,
    /// Copy of an input that does not lie so.
    _copy: Option<Memory<f32>>,
}

impl<'a> Source<'a> {
    fn of(view: View<'a>, argument: &'static str, len: usize) -> Result<Self> {
        let device = view.device();
        let address = view.expect(OP, argument, len)?;
        if address.is_multiple_of(16) {
            return Ok(Self {
                device,
                address,
                _copy: None,
            });
        }
        let engine = Engine::of(device)?;
        let copy = engine.uninit::<f32>(len)?;
        let stream = engine.stream();
        driver("cuCtxSetCurrent", stream.context().bind_to_thread())?;
        // SAFETY: both have `len` floats.
        let copied = unsafe {
            result::memcpy_dtod_async(copy.address(), address, 4 * len, stream.cu_stream())
        };
        driver("cuMemcpyDtoDAsync", copied)?;
        Ok(Self {
            device,
            address: copy.address(),
            _copy: Some(copy),
        })
    }
}

/// Runs a pass into a new result of `len` floats.
fn run(
    pass: Pass,
    convolution: &Convolution,
    len: usize,
    a: Source,
    b: Source,
) -> Result<CudaStorage> {
    counted(OP, len)?;
    let engine = Engine::of(a.device)?;
    let out = engine.uninit::<f32>(len)?;
    let tensors = match pass {
        Pass::Forward => [a.address, b.address, out.address()],
        Pass::InputGradient => [out.address(), a.address, b.address],
        Pass::WeightGradient => [a.address, out.address(), b.address],
    };
    let ran = match locked(&engine) {
        None => false,
        Some(mut cudnn) => {
            // SAFETY: the sources have the floats of the convolution, and the result has them too; new memory lies on 256 bytes.
            unsafe { cudnn.run(a.device, pass, convolution, tensors)? }
        }
    };
    if !ran {
        let message = format!("cuDNN has no plan for {pass:?} of {convolution:?}");
        return Err(Error::Argument { op: OP, message });
    }
    Ok(engine.storage(out))
}
