//! Cross entropy with labels, and the count of right predictions.

use candle_core::cuda_backend::cudarc::driver::CudaSlice;
use candle_core::{CudaDevice, CudaStorage};

use super::counted;
use crate::call::Numbers;
use crate::calls::loss as calls;
use crate::engine::{Engine, Memory};
use crate::error::{Error, Result};
use crate::view::{View, address};

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

/// Loss and right predictions of batches, which stay on the device until they are read together.
pub struct Tally {
    device: CudaDevice,
    /// Two floats a batch.
    values: CudaSlice<f32>,
    batches: usize,
}

impl Tally {
    /// Tally for `room` batches at a time.
    pub fn new(device: &CudaDevice, room: usize) -> Result<Self> {
        Ok(Self {
            device: device.clone(),
            values: device.alloc_zeros::<f32>(2 * room.max(1))?,
            batches: 0,
        })
    }

    /// Counts a batch: its loss, one float, and its logits and labels.
    pub fn add(&mut self, loss: View, logits: View, labels: View) -> Result<()> {
        let wrong = |message: &str| {
            let message = message.to_string();
            Err(Error::Argument {
                op: "tally",
                message,
            })
        };
        if self.values.len() < 2 * (self.batches + 1) {
            return wrong("there is no room for another batch: read the others");
        }
        if logits.device().id() != self.device.id() {
            return wrong("the logits are on another device than the tally");
        }
        let loss = loss.beside("tally", "the loss", &logits)?;
        let labels = labels.beside("tally", "labels", &logits)?;
        let (rows, count) = (labels.len(), logits.len());
        counted("tally", count)?;
        let rows = counted("tally", rows)?;
        if !count.is_multiple_of(rows as usize) {
            return wrong("the rows of the logits are not as many as the labels");
        }
        let classes = (count / rows as usize) as u32;
        logits.expect_kind("tally", "the logits", Numbers::F32)?;
        loss.expect_kind("tally", "the loss", Numbers::F32)?;
        let call = calls::tally(
            loss.expect("tally", "the loss", 1)?,
            logits.address(),
            labels.address(),
            address(&self.values) + (8 * self.batches) as u64,
            (rows, classes),
        );
        // SAFETY: the logits have `rows * classes` floats, there is a label for each row, and there is room for two floats.
        unsafe { Engine::of(&self.device)?.launch(&call)? };
        self.batches += 1;
        Ok(())
    }

    /// Loss and number of right predictions of each batch since the last time, in their order. Waits for them.
    pub fn read(&mut self) -> Result<Vec<(f32, u64)>> {
        if self.batches == 0 {
            return Ok(Vec::new());
        }
        let values: Vec<f32> = self.device.clone_dtoh(&self.values)?;
        let batches = std::mem::take(&mut self.batches);
        let pairs = values.chunks_exact(2).take(batches);
        Ok(pairs.map(|pair| (pair[0], pair[1] as u64)).collect())
    }
}
