//! Recorder of a CUDA device.

use candle_core::CudaDevice;
use tallow_cuda::graph;

use super::recorder::{Kept, Launch, Recorder};
use crate::error::Result;
use crate::step::StepOutput;

/// CUDA device that records steps as CUDA graphs.
pub(super) struct OnCuda(pub CudaDevice);

impl Recorder for OnCuda {
    fn warm_up(&mut self, step: &mut dyn FnMut() -> Result<StepOutput>) -> Result<StepOutput> {
        graph::warm_up(&self.0, step)
    }

    fn record(&mut self, step: &mut dyn FnMut() -> Result<Kept>) -> Result<(Kept, Launch)> {
        let (mut graph, kept) = graph::record(&self.0, step).map_err(candle_core::Error::from)?;
        let launch = move |moved: u64| -> Result<()> {
            Ok(graph.launch(moved).map_err(candle_core::Error::from)?)
        };
        Ok((kept, Box::new(launch)))
    }
}
