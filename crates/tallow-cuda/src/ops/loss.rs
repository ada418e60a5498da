//! Cross entropy with labels.

use candle_core::CudaStorage;

use super::counted;
use crate::calls::loss as calls;
use crate::engine::{Engine, Memory};
use crate::error::{Error, Result};
use crate::view::View;

const OP: &str = "cross_entropy";

/// Softmax of the logits, for the backward pass.
pub struct Softmax {
    values: Memory<f32>,
    rows: u32,
    classes: u32,
    smoothing: f64,
}

/// Mean cross entropy, one float. A label that is not below the number of classes makes it NaN.
pub fn cross_entropy(
    logits: View,
    labels: View,
    classes: usize,
    smoothing: f64,
) -> Result<(CudaStorage, Softmax)> {
    let engine = Engine::of(logits.device())?;
    counted(OP, logits.len())?;
    let labels = labels.beside(OP, "labels", &logits)?;
    let rows = labels.len();
    let z = logits.expect(OP, "logits", rows * classes)?;
    let softmax = Softmax {
        values: engine.uninit(logits.len())?,
        rows: counted(OP, rows)?,
        classes: counted(OP, classes)?,
        smoothing,
    };
    let (losses, loss) = (engine.uninit::<f64>(rows)?, engine.uninit::<f32>(1)?);
    let sizes = (softmax.rows, softmax.classes);
    let calls = [
        calls::cross_entropy(
            z,
            labels.address(),
            softmax.values.address(),
            losses.address(),
            sizes,
            smoothing,
        ),
        calls::mean(losses.address(), loss.address(), softmax.rows),
    ];
    for call in &calls {
        // SAFETY: logits and softmax have `rows * classes` floats, labels and losses `rows` values.
        unsafe { engine.launch(call)? };
    }
    Ok((engine.storage(loss), softmax))
}

/// Gradient of the logits; `upstream` is the gradient of the loss, which stays on the device.
pub fn gradient(softmax: &Softmax, labels: View, upstream: View) -> Result<CudaStorage> {
    let engine = Engine::of(upstream.device())?;
    let labels = labels.beside(OP, "labels", &upstream)?;
    let labels = labels.expect(OP, "labels", softmax.rows as usize)?;
    if upstream.is_empty() {
        return Err(Error::Size {
            op: OP,
            elements: 0,
        });
    }
    let dz = engine.uninit::<f32>(softmax.values.len())?;
    let call = calls::gradient(
        softmax.values.address(),
        labels,
        upstream.address(),
        dz.address(),
        (softmax.rows, softmax.classes),
        softmax.smoothing,
    );
    // SAFETY: softmax and result have `rows * classes` floats, the labels `rows` values, and upstream at least one.
    unsafe { engine.launch(&call)? };
    Ok(engine.storage(dz))
}
