//! Blocks of samples that are read together.

use crate::error::{Error, Result};

/// Blocks in which a dataset reads its samples: reading one sample reads all of its block, which stays in memory for a while. An order that
/// keeps the samples of a block near each other reads each block about once an epoch: [`BlockSampler`](crate::BlockSampler).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocks {
    of: Vec<u32>,
    bytes: Vec<u64>,
    window: u64,
}

impl Blocks {
    /// Blocks from the number of each sample's block and the size of each block in bytes; samples of about `window` bytes of blocks are
    /// shuffled together.
    ///
    /// # Errors
    /// [`Error::Argument`] for a sample in a block without a size.
    pub fn new(of: Vec<u32>, bytes: Vec<u64>, window: u64) -> Result<Self> {
        if let Some(sample) = of.iter().position(|&block| block as usize >= bytes.len()) {
            return Err(Error::Argument(format!(
                "sample {sample} is in block {}, counted from 0, and there are {} blocks",
                of[sample],
                bytes.len()
            )));
        }
        Ok(Self { of, bytes, window })
    }

    /// Block of each sample.
    pub fn of(&self) -> &[u32] {
        &self.of
    }

    /// Size of each block in bytes.
    pub fn bytes(&self) -> &[u64] {
        &self.bytes
    }

    /// Bytes of blocks whose samples are shuffled together.
    pub fn window(&self) -> u64 {
        self.window
    }

    /// Blocks of the samples `indices`, in their order. `None` for an index beyond the end.
    pub(crate) fn select(self, indices: &[usize]) -> Option<Self> {
        let of = indices.iter().map(|&index| self.of.get(index).copied());
        Some(Self {
            of: of.collect::<Option<_>>()?,
            ..self
        })
    }
}
