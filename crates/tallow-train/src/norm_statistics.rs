//! Running statistics of batch norm after a step in chunks.

use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};
use serde::{Deserialize, Serialize};
use tallow_ops::ParamStore;

use crate::copies::Copies;
use crate::error::Result;
use crate::sums::{Sums, Term};

/// Statistics of batch norm in a step in chunks: those that normalize a chunk, and the running statistics that are kept. Each chunk updates the
/// running statistics from before the step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum NormStatistics {
    /// Those of the first chunk, as `DistributedDataParallel` keeps those of its first process (`broadcast_buffers`).
    #[default]
    First,
    /// Means over the chunks, each of which counts by its samples.
    Mean,
    /// Those of the whole batch, by which all chunks are normalized, as by `torch.nn.SyncBatchNorm`.
    Sync,
}

/// Buffer after the chunks of a rank.
pub(crate) struct OwnBuffer {
    /// Name of the buffer.
    pub name: String,
    /// The buffer.
    pub var: Var,
    /// Value, or this rank's part of it; the parts of all ranks are added.
    pub value: Option<Tensor>,
}

/// Buffers of a step in chunks, all of which start from the same values. Integers, such as a number of batches, are those of the first chunk.
pub(crate) struct ChunkBuffers {
    keep: NormStatistics,
    buffers: Vec<(String, Var)>,
    before: Copies,
    /// Values after the first chunk.
    first: Option<Vec<Tensor>>,
    /// Sum of the values after each chunk, weighted by samples.
    sums: Sums,
}

impl ChunkBuffers {
    /// Buffers before the first chunk.
    pub fn of(store: &ParamStore, keep: NormStatistics) -> Result<Self> {
        let buffers = store.buffers();
        Ok(Self {
            keep,
            before: Copies::of(buffers.iter().cloned())?,
            first: None,
            sums: Sums::new(buffers.clone()),
            buffers,
        })
    }

    /// Before a chunk: the values from before the step.
    pub fn before_chunk(&self) -> Result<()> {
        match self.first {
            Some(_) => Ok(self.before.restore()?),
            None => Ok(()),
        }
    }

    /// After a chunk with this share of the samples of the batch; without a sample it has its place all the same.
    pub fn after_chunk(&mut self, share: f64) -> Result<()> {
        let averages = self.keep == NormStatistics::Mean;
        if share == 0.0 {
            return match averages {
                true => self.sums.push(None),
                false => Ok(()),
            };
        }
        if !averages && self.first.is_some() {
            return Ok(());
        }
        let copies = (self.buffers.iter()).map(|(_, var)| var.as_detached_tensor().copy());
        let copies: Vec<Tensor> = copies.collect::<candle_core::Result<_>>()?;
        if averages {
            let mut values = GradStore::default();
            for ((_, var), copy) in self.buffers.iter().zip(&copies) {
                if var.dtype().is_float() {
                    values.insert(var, copy.clone());
                }
            }
            self.sums.push(Some(Term::of_values(values, share)?))?;
        }
        self.first.get_or_insert(copies);
        Ok(())
    }

    /// Buffers after the chunks of this rank, which has the first chunk of the batch or not.
    pub fn finish(self, has_first: bool) -> Result<Vec<OwnBuffer>> {
        let mut means = self.sums.finish()?;
        let first = self.first.filter(|_| has_first);
        let mut first = first.map(Vec::into_iter);
        let mut found = Vec::new();
        for (name, var) in self.buffers {
            let first = first.as_mut().and_then(Iterator::next);
            let value = match self.keep == NormStatistics::Mean && var.dtype().is_float() {
                true => means.as_mut().and_then(|means| means.grads.remove(&var)),
                false => first,
            };
            found.push(OwnBuffer { name, var, value });
        }
        Ok(found)
    }
}
