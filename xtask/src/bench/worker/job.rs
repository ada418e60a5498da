//! Prepared benchmark.

use anyhow::Result;
use candle_core::{Device, Tensor};

/// Prepared benchmark.
pub struct Job {
    /// Number of parameters of a network.
    pub parameters: Option<usize>,
    /// Arithmetic of a run in GFLOP, by direct convolution.
    pub gflop: Option<f64>,
    /// Equal parts of a run; times are for one of them.
    pub pieces: usize,
    /// Runs it. A returned loss or output is checked to be finite after the timing.
    pub run: Box<dyn FnMut() -> Result<Option<Tensor>>>,
}

/// Images of normal noise `(N, C, H, W)` and labels below 10 `(N)`.
pub fn noise(
    batch: usize,
    (c, h, w): (usize, usize, usize),
) -> candle_core::Result<(Tensor, Tensor)> {
    let images = Tensor::randn(0f32, 1.0, (batch, c, h, w), &Device::Cpu)?;
    let labels: Vec<u32> = (0..batch as u32).map(|i| i * 7 % 10).collect();
    Ok((images, Tensor::from_vec(labels, batch, &Device::Cpu)?))
}
