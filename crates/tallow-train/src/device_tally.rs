//! Counts of training batches by a kernel of a CUDA device.

use candle_core::Tensor;

use crate::error::Result;

/// Loss and right predictions of batches on a CUDA device, in one launch a batch.
#[derive(Default)]
pub(crate) struct DeviceTally {
    #[cfg(feature = "cuda")]
    tally: Option<tallow_cuda::ops::loss::Tally>,
}

#[cfg(feature = "cuda")]
impl DeviceTally {
    /// Counts a batch, of at most `room` until they are read. False if there is no kernel for it.
    pub fn add(
        &mut self,
        room: usize,
        loss: &Tensor,
        output: &Tensor,
        labels: &Tensor,
    ) -> Result<bool> {
        use candle_core::{DType, Device};
        use tallow_cuda::View;
        use tallow_cuda::ops::loss::Tally;

        const OP: &str = "tally";
        let Device::Cuda(device) = output.device() else {
            return Ok(false);
        };
        let there = [loss, output, labels]
            .iter()
            .all(|t| t.device().is_cuda() && t.is_contiguous());
        let types = [loss.dtype(), output.dtype(), labels.dtype()];
        let rows = output.rank() == 2 && output.dims()[0] == labels.elem_count();
        let fits = tallow_cuda::count(output.elem_count()).is_some_and(|count| count > 0);
        if !there || types != [DType::F32, DType::F32, DType::U32] || !rows || !fits {
            return Ok(false);
        }
        let (l, o, y) = (
            loss.storage_and_layout(),
            output.storage_and_layout(),
            labels.storage_and_layout(),
        );
        let mut count = || {
            let tally = match &mut self.tally {
                Some(tally) => tally,
                none => none.insert(Tally::new(device, room)?),
            };
            tally.add(
                View::locked(OP, &l.0, l.1)?,
                View::locked(OP, &o.0, o.1)?,
                View::locked_words(OP, &y.0, y.1)?,
            )
        };
        count().map_err(candle_core::Error::from)?;
        Ok(true)
    }

    /// Loss and right predictions of each batch since the last time. Waits for them.
    pub fn read(&mut self) -> Result<Vec<(f32, u64)>> {
        let Some(tally) = &mut self.tally else {
            return Ok(Vec::new());
        };
        Ok(tally.read().map_err(candle_core::Error::from)?)
    }
}

#[cfg(not(feature = "cuda"))]
impl DeviceTally {
    /// Counts a batch. False, since this build has no kernel for it.
    pub fn add(&mut self, _: usize, _: &Tensor, _: &Tensor, _: &Tensor) -> Result<bool> {
        Ok(false)
    }

    /// Nothing.
    pub fn read(&mut self) -> Result<Vec<(f32, u64)>> {
        Ok(Vec::new())
    }
}
