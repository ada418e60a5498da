//! Convolution in (N, H, W, C) by cuDNN.
//!
//! In `bf16` the maps are in it, and the filters, which stay in `f32` as parameters, are copied for the pass; so are their gradients.

use std::sync::{MutexGuard, PoisonError};

use candle_core::cuda_backend::CudaDType;
use candle_core::cuda_backend::cudarc::driver::{DeviceRepr, result};
use candle_core::{CudaDevice, CudaStorage};
use half::bf16;

use super::counted;
use crate::call::{Address, Numbers, Precision};
use crate::calls::convert;
use crate::cudnn::Cudnn;
pub use crate::cudnn::{Convolution, Pass};
use crate::engine::{Engine, Memory};
use crate::error::{Error, Result, driver};
use crate::view::View;

const OP: &str = "conv2d";

/// True if cuDNN can be used on the device, and has plans for all passes of the convolution in this precision.
///
/// # Errors
/// Errors of cuDNN other than that it does not support something.
pub fn is_supported(
    device: &CudaDevice,
    convolution: &Convolution,
    precision: Precision,
) -> Result<bool> {
    let engine = Engine::of(device)?;
    let Some(mut cudnn) = locked(&engine) else {
        return Ok(false);
    };
    for pass in Pass::ALL {
        if !cudnn.has_plan(pass, convolution, precision)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Filters as the passes read them: the parameters themselves, or a copy in `bf16`.
pub struct Filters(Option<Memory<bf16>>);

impl Filters {
    /// Filters of the parameters `w`, `(O, C / groups, KH, KW)` floats.
    pub fn of(w: View, convolution: &Convolution, precision: Precision) -> Result<Self> {
        let [_, weights, _] = convolution.elements();
        let from = floats(w, "the weight", weights)?;
        if precision.numbers() == Numbers::F32 {
            return Ok(Self(None));
        }
        let engine = Engine::of(w.device())?;
        counted(OP, weights)?;
        let copy = engine.uninit::<bf16>(weights)?;
        let call = sizes(convolution).narrow(from, copy.address());
        // SAFETY: both have the numbers of the filters.
        unsafe { engine.launch(&call)? };
        Ok(Self(Some(copy)))
    }
}

/// Output from input and weight.
pub fn forward(
    x: View,
    w: View,
    filters: &Filters,
    convolution: &Convolution,
    precision: Precision,
) -> Result<CudaStorage> {
    let [inputs, _, outputs] = convolution.elements();
    let x = Source::of(x, "the input", inputs, precision)?;
    let w = Source::filters(w, filters, convolution, precision)?;
    let sources = [x.address, w.address];
    run(
        x.device,
        Pass::Forward,
        convolution,
        precision,
        outputs,
        sources,
    )
}

/// Gradient of the input from weight and gradient of the output.
pub fn input_gradient(
    w: View,
    filters: &Filters,
    dy: View,
    convolution: &Convolution,
    precision: Precision,
) -> Result<CudaStorage> {
    let [inputs, _, outputs] = convolution.elements();
    let w = Source::filters(w, filters, convolution, precision)?;
    let dy = Source::of(dy, "the gradient", outputs, precision)?;
    let pass = Pass::InputGradient;
    let sources = [w.address, dy.address];
    run(dy.device, pass, convolution, precision, inputs, sources)
}

/// Gradient of the weight, in floats, from input and gradient of the output.
pub fn weight_gradient(
    x: View,
    dy: View,
    convolution: &Convolution,
    precision: Precision,
) -> Result<CudaStorage> {
    let [inputs, weights, outputs] = convolution.elements();
    let x = Source::of(x, "the input", inputs, precision)?;
    let dy = Source::of(dy, "the gradient", outputs, precision)?;
    let pass = Pass::WeightGradient;
    let sources = [x.address, dy.address];
    if precision.numbers() == Numbers::F32 {
        return run(dy.device, pass, convolution, precision, weights, sources);
    }
    let narrow = pass_into::<bf16>(dy.device, pass, convolution, precision, weights, sources)?;
    let engine = Engine::of(dy.device)?;
    let dw = engine.uninit::<f32>(weights)?;
    let call = sizes(convolution).widen(narrow.address(), dw.address());
    // SAFETY: both have the numbers of the filters.
    unsafe { engine.launch(&call)? };
    Ok(engine.storage(dw))
}

/// Engine that a pass runs, with its notes, for reports; `None` if there is none.
///
/// # Errors
/// As [`is_supported`].
pub fn describe(
    device: &CudaDevice,
    pass: Pass,
    convolution: &Convolution,
    precision: Precision,
) -> Result<Option<String>> {
    let engine = Engine::of(device)?;
    match locked(&engine) {
        Some(mut cudnn) => cudnn.describe(pass, convolution, precision),
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

fn sizes(c: &Convolution) -> convert::Filters {
    convert::Filters {
        outputs: c.out_channels as u32,
        inputs: (c.channels / c.groups) as u32,
        taps: (c.kernel.0 * c.kernel.1) as u32,
    }
}

/// Pass and sizes, for times.
fn title(pass: Pass, c: &Convolution, precision: Precision) -> String {
    format!(
        "{pass:?} {precision:?} {}x{}x{}x{} to {}, {}x{} stride {}",
        c.batch,
        c.channels,
        c.input.0,
        c.input.1,
        c.out_channels,
        c.kernel.0,
        c.kernel.1,
        c.stride.0
    )
}

fn floats(view: View, argument: &'static str, len: usize) -> Result<Address> {
    view.expect_kind(OP, argument, Numbers::F32)?;
    view.expect(OP, argument, len)
}

/// Input of a pass, which lies on 16 bytes as the plans expect.
struct Source<'a> {
    device: &'a CudaDevice,
    address: Address,
    /// Copy of an input that does not lie so.
    _copy: Option<Memory<u8>>,
}

impl<'a> Source<'a> {
    /// Maps of the precision's type.
    fn of(
        view: View<'a>,
        argument: &'static str,
        len: usize,
        precision: Precision,
    ) -> Result<Self> {
        view.expect_kind(OP, argument, precision.numbers())?;
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
        let bytes = len * precision.numbers().bytes();
        let copy = engine.uninit::<u8>(bytes)?;
        let stream = engine.stream();
        driver("cuCtxSetCurrent", stream.context().bind_to_thread())?;
        // SAFETY: both have as many bytes.
        let copied = unsafe {
            result::memcpy_dtod_async(copy.address(), address, bytes, stream.cu_stream())
        };
        driver("cuMemcpyDtoDAsync", copied)?;
        Ok(Self {
            device,
            address: copy.address(),
            _copy: Some(copy),
        })
    }

    fn filters(
        w: View<'a>,
        filters: &Filters,
        convolution: &Convolution,
        precision: Precision,
    ) -> Result<Self> {
        let [_, weights, _] = convolution.elements();
        match &filters.0 {
            None => Self::of(w, "the weight", weights, precision),
            // New memory lies on 256 bytes.
            Some(copy) if precision == Precision::Bf16 && copy.len() == weights => Ok(Self {
                device: w.device(),
                address: copy.address(),
                _copy: None,
            }),
            Some(copy) => Err(Error::Length {
                op: OP,
                argument: "the filters in bf16",
                expected: weights,
                found: copy.len(),
            }),
        }
    }
}

/// Runs a pass into a new result of `len` numbers of the precision's type.
fn run(
    device: &CudaDevice,
    pass: Pass,
    convolution: &Convolution,
    precision: Precision,
    len: usize,
    sources: [Address; 2],
) -> Result<CudaStorage> {
    let engine = Engine::of(device)?;
    Ok(match precision.numbers() {
        Numbers::F32 => {
            let out = pass_into::<f32>(device, pass, convolution, precision, len, sources)?;
            engine.storage(out)
        }
        Numbers::Bf16 => {
            let out = pass_into::<bf16>(device, pass, convolution, precision, len, sources)?;
            engine.storage(out)
        }
    })
}

/// Runs a pass into new memory; `T` is the precision's type.
fn pass_into<T: DeviceRepr + CudaDType>(
    device: &CudaDevice,
    pass: Pass,
    convolution: &Convolution,
    precision: Precision,
    len: usize,
    [a, b]: [Address; 2],
) -> Result<Memory<T>> {
    counted(OP, len)?;
    let engine = Engine::of(device)?;
    let out = engine.uninit::<T>(len)?;
    let tensors = match pass {
        Pass::Forward => [a, b, out.address()],
        Pass::InputGradient => [out.address(), a, b],
        Pass::WeightGradient => [a, out.address(), b],
    };
    let ran = match locked(&engine) {
        None => false,
        Some(mut cudnn) => {
            let queue = || {
                // SAFETY: the sources have the numbers of the convolution, and the result has them too; new memory lies on 256 bytes.
                unsafe { cudnn.run(device, pass, convolution, precision, tensors) }
            };
            let name = || title(pass, convolution, precision);
            engine.clock().time(engine.stream(), name, queue)?
        }
    };
    if !ran {
        let message = format!("cuDNN has no plan for {pass:?} in {precision:?} of {convolution:?}");
        return Err(Error::Argument { op: OP, message });
    }
    Ok(out)
}
