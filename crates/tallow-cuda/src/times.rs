//! Times that the work of a device takes there, by events before and after it.

use std::collections::HashMap;

use candle_core::CudaDevice;

use crate::clock::Span;
use crate::engine::Engine;
use crate::error::{Result, driver};

/// Time of all work of a name.
#[derive(Clone, Debug, PartialEq)]
pub struct Time {
    /// Kernel, or pass of a convolution or product with its sizes.
    pub name: String,
    /// Times that it was queued.
    pub count: usize,
    /// Milliseconds on the device in all.
    pub milliseconds: f64,
}

/// Begins to take the times of what this crate queues on the device. Each event costs the host a few microseconds, so that the whole is slower.
///
/// # Errors
/// If the device cannot be used.
pub fn start(device: &CudaDevice) -> Result<()> {
    Engine::of(device)?.clock().start();
    Ok(())
}

/// Waits for the device, and returns the times since [`start`], the longest first.
///
/// # Errors
/// Errors of the device.
pub fn stop(device: &CudaDevice) -> Result<Vec<Time>> {
    let engine = Engine::of(device)?;
    let spans = engine.clock().stop();
    driver("cuStreamSynchronize", engine.stream().synchronize())?;
    let mut sums: HashMap<String, (usize, f64)> = HashMap::new();
    for Span { name, start, end } in spans {
        let milliseconds = driver("cuEventElapsedTime", start.elapsed_ms(&end))?;
        let sum = sums.entry(name).or_default();
        *sum = (sum.0 + 1, sum.1 + f64::from(milliseconds));
    }
    let time = |(name, (count, milliseconds))| Time {
        name,
        count,
        milliseconds,
    };
    let mut times: Vec<Time> = sums.into_iter().map(time).collect();
    times.sort_by(|a, b| {
        let longer = b.milliseconds.total_cmp(&a.milliseconds);
        longer.then_with(|| a.name.cmp(&b.name))
    });
    Ok(times)
}
