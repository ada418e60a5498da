//! Training on several ranks: processes, or threads of one.

mod buckets;
mod communicator;
mod device_sums;
mod digests;
#[cfg(test)]
mod fake_device;
mod link;
#[cfg(feature = "cuda")]
mod nccl;
mod reduction;
#[cfg(any(feature = "cuda", test))]
mod rendezvous;
mod sum;
mod threads;
mod waiting;
mod wishes;

use std::sync::Arc;
use std::time::Duration;

use candle_core::DType;
use serde::Serialize;
use serde_json::Value;
use tallow_datasets::{BatchSlice, DataLoader};
use tallow_ops::ParamStore;

use crate::differences::differences;
use crate::error::{Error, Result};
use crate::sums::OpenSum;
use communicator::confused;
pub use communicator::{Alone, BUCKET_BYTES, Communicator};
pub use device_sums::{DeviceSum, DeviceSums};
#[cfg(feature = "cuda")]
pub use nccl::{Nccl, WithNccl, cuda_device_count};
pub(crate) use reduction::{Order, Reduction};
pub use threads::Threads;
use waiting::Waiting;
pub(crate) use wishes::Wishes;

/// Ranks that train one model together, from the point of view of one of them. Alone, it sends nothing.
#[derive(Clone, Debug)]
pub(crate) struct Ranks {
    communicator: Arc<dyn Communicator>,
    waiting: Waiting,
}

impl Default for Ranks {
    /// One rank, alone.
    fn default() -> Self {
        Self::new(Arc::new(Alone))
    }
}

impl Ranks {
    pub fn new(communicator: Arc<dyn Communicator>) -> Self {
        Self {
            communicator,
            waiting: Waiting::default(),
        }
    }

    /// Whether there is no other rank.
    pub fn is_alone(&self) -> bool {
        self.communicator.world() <= 1
    }

    /// Whether this is the rank that writes files.
    pub fn is_first(&self) -> bool {
        self.communicator.rank() == 0
    }

    /// Chunks of a batch that this rank computes, of so many.
    pub fn own_chunks(&self, chunks: usize) -> std::ops::Range<usize> {
        tallow_datasets::chunk_range(chunks, self.communicator.world(), self.communicator.rank())
    }

    /// Checks that so many ranks can share out so many chunks, and that the sums of these parameters have the bits of a single process.
    pub fn check(&self, chunks: usize, store: &ParamStore) -> Result<()> {
        if self.is_alone() {
            return Ok(());
        }
        let world = self.communicator.world();
        if !fits(world, chunks) {
            return Err(Error::config("chunks", no_fit(world, chunks)));
        }
        let exact = |dtype: DType| matches!(dtype, DType::F32 | DType::F64);
        match store
            .parameters()
            .iter()
            .find(|(_, var)| !exact(var.dtype()))
        {
            None => Ok(()),
            Some((name, var)) => Err(Error::Ranks(format!(
                "training on {world} ranks needs parameters of f32 or f64, but `{name}` is {:?}",
                var.dtype()
            ))),
        }
    }

    /// Loader of this rank's part of each batch; `with_previous` as in [`BatchSlice`].
    pub fn slice(
        &self,
        loader: &DataLoader,
        chunks: usize,
        with_previous: bool,
    ) -> Result<DataLoader> {
        if self.is_alone() {
            return Ok(loader.clone());
        }
        Ok(loader.clone().slice(BatchSlice {
            rank: self.communicator.rank(),
            world: self.communicator.world(),
            chunks,
            with_previous,
        })?)
    }

    /// Loader of the batches that this rank evaluates.
    pub fn deal(&self, loader: &DataLoader) -> Result<DataLoader> {
        if self.is_alone() {
            return Ok(loader.clone());
        }
        Ok(loader
            .clone()
            .deal(self.communicator.rank(), self.communicator.world())?)
    }

    /// Wishes of all ranks together.
    pub fn agree(&self, wishes: Wishes) -> Result<Wishes> {
        if self.is_alone() {
            return Ok(wishes);
        }
        let all = self.communicator.all_gather(&wishes.encode())?;
        let all = all.iter().map(|bytes| Wishes::decode(bytes));
        Ok(all.fold(Wishes::default(), Wishes::and))
    }

    /// Sum of a number over the ranks.
    pub fn sum(&self, number: u64) -> Result<u64> {
        let all = self.communicator.all_gather(&number.to_le_bytes())?;
        let read = |(rank, bytes): (usize, &Vec<u8>)| {
            <[u8; 8]>::try_from(bytes.as_slice())
                .map(u64::from_le_bytes)
                .map_err(|_| confused(rank, "a number"))
        };
        all.iter().enumerate().map(read).sum()
    }

    /// Numbers of all ranks in a training step, in their order; each passes `own.len()` of them.
    pub fn gather(&self, own: &[f64]) -> Result<Vec<f64>> {
        let bytes: Vec<u8> = own.iter().flat_map(|number| number.to_le_bytes()).collect();
        let mut numbers = Vec::new();
        let all = self.waiting.during(|| self.communicator.all_gather(&bytes));
        for (rank, bytes) in all?.iter().enumerate() {
            let (parts, rest) = bytes.as_chunks::<8>();
            if parts.len() != own.len() || !rest.is_empty() {
                return Err(confused(rank, "numbers"));
            }
            numbers.extend(parts.iter().map(|part| f64::from_le_bytes(*part)));
        }
        Ok(numbers)
    }

    /// Lists of numbers of all ranks in a training step, in their order; each passes `own.len()` of them, of any lengths.
    pub fn gather_lists(&self, own: &[Vec<f64>]) -> Result<Vec<Vec<f64>>> {
        if self.is_alone() {
            return Ok(own.to_vec());
        }
        let mut bytes = Vec::new();
        for list in own {
            bytes.extend((list.len() as u64).to_le_bytes());
            bytes.extend(list.iter().flat_map(|number| number.to_le_bytes()));
        }
        let all = self
            .waiting
            .during(|| self.communicator.all_gather(&bytes))?;
        let mut lists = Vec::new();
        for (rank, bytes) in all.iter().enumerate() {
            let read = read_lists(bytes, own.len());
            lists.extend(read.ok_or_else(|| confused(rank, "lists of numbers"))?);
        }
        Ok(lists)
    }

    /// Bytes of each rank, in the order of the ranks.
    pub fn all_gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        self.communicator.all_gather(bytes)
    }

    /// Bytes of the first rank.
    pub fn of_first(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        self.communicator.broadcast(0, bytes)
    }

    /// Begins the sum of a step over the ranks, in a binary tree. `own` is that of the chunks of this rank, to which the gradients of the last
    /// one come; a rank without chunks in this batch has none.
    ///
    /// Until it is finished or dropped, nothing else may be sent.
    pub fn reduce<'a>(
        &self,
        store: &ParamStore,
        order: &'a mut Order,
        own: Option<OpenSum>,
    ) -> Reduction<'a> {
        let communicator = Arc::clone(&self.communicator);
        Reduction::new(communicator, self.waiting.clone(), store, order, own)
    }

    /// Time that training steps have waited for other ranks since the last call.
    pub fn take_waited(&self) -> Duration {
        self.waiting.take()
    }

    /// Checks that all ranks have the same settings, which are compared by their fields.
    ///
    /// # Errors
    /// [`Error::Ranks`] names the first rank that differs from rank 0, and the fields.
    pub fn check_same(&self, settings: &impl Serialize) -> Result<()> {
        check_same(&*self.communicator, settings)
    }

    /// Checks that all ranks have the same parameters and buffers; `when` is for the message.
    pub fn check_weights(&self, store: &ParamStore, when: &str) -> Result<()> {
        match self.is_alone() {
            true => Ok(()),
            false => digests::compare(&*self.communicator, store, when),
        }
    }

    /// Warns where the processors have different instruction sets.
    pub fn warn_of_instruction_sets(&self) -> Result<()> {
        if self.is_alone() {
            return Ok(());
        }
        let own = tallow_ops::instruction_set();
        let all = self.communicator.all_gather(own.as_bytes())?;
        let other = all.iter().position(|set| set.as_slice() != own.as_bytes());
        if let (Some(rank), true) = (other, self.is_first()) {
            tracing::warn!(
                "rank 0 computes with {own} and rank {rank} with {}: the last bits of the result depend on which rank computes which part of \
                 a batch; TALLOW_SIMD=avx2 on all ranks makes them equal",
                String::from_utf8_lossy(&all[rank])
            );
        }
        Ok(())
    }
}

/// So many lists of numbers, each after its length; `None` if the bytes are something else.
fn read_lists(bytes: &[u8], count: usize) -> Option<Vec<Vec<f64>>> {
    let (mut words, rest) = bytes.as_chunks::<8>();
    let mut lists = Vec::new();
    for _ in 0..count {
        let (len, after) = words.split_first()?;
        let list = after.get(..usize::try_from(u64::from_le_bytes(*len)).ok()?)?;
        lists.push(list.iter().map(|word| f64::from_le_bytes(*word)).collect());
        words = &after[list.len()..];
    }
    (words.is_empty() && rest.is_empty()).then_some(lists)
}

/// Checks that all ranks have the same settings, which are compared by their fields.
///
/// # Errors
/// [`Error::Ranks`] names the first rank that differs from rank 0, and the fields with both values.
pub fn check_same(ranks: &dyn Communicator, settings: &impl Serialize) -> Result<()> {
    if ranks.world() <= 1 {
        return Ok(());
    }
    let own = serde_json::to_vec(settings).map_err(|e| Error::Ranks(e.to_string()))?;
    let all = ranks.all_gather(&own)?;
    let value = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap_or_default();
    let mut first: Option<Value> = None;
    for (rank, bytes) in all.iter().enumerate() {
        let found = value(bytes);
        let expected = first.get_or_insert_with(|| found.clone());
        if found != *expected {
            return Err(Error::Ranks(format!(
                "rank {rank} differs from rank 0: {}; all ranks need the same program, recipe and data, and the same number of threads",
                differences(expected, &found)
            )));
        }
    }
    Ok(())
}

/// Whether each rank can have the same number of chunks, a power of two, so that the sum of its chunks is part of the tree of all.
fn fits(world: usize, chunks: usize) -> bool {
    chunks.is_multiple_of(world) && (chunks / world).is_power_of_two()
}

fn no_fit(world: usize, chunks: usize) -> String {
    let worlds = (2..=chunks).filter(|&world| fits(world, chunks));
    let worlds: Vec<String> = worlds.map(|world| world.to_string()).collect();
    let possible = match worlds.as_slice() {
        [] => String::new(),
        worlds => format!("start 1, {} ranks, or ", worlds.join(", ")),
    };
    format!(
        "{world} ranks cannot share {chunks} {} of a batch out: each needs the same number of them, a power of two; {possible}set \
         `train.chunks` to {world} times a power of two (chunks are part of the result)",
        if chunks == 1 { "chunk" } else { "chunks" }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_come_back_and_other_bytes_do_not() {
        let number = |x: f64| x.to_le_bytes();
        let length = |n: u64| n.to_le_bytes();
        let bytes = [length(2), number(0.5), number(-3.0), length(0)].concat();
        assert_eq!(read_lists(&bytes, 2), Some(vec![vec![0.5, -3.0], vec![]]));
        assert_eq!(read_lists(&[], 0), Some(vec![]));
        // Too few, too many, cut off, and a length beyond the end.
        for (bytes, count) in [
            (&bytes[..], 3),
            (&bytes[..], 1),
            (&bytes[..bytes.len() - 1], 2),
            (&bytes[..16], 1),
            (&length(u64::MAX)[..], 1),
        ] {
            assert_eq!(read_lists(bytes, count), None, "{count} in {bytes:?}");
        }
    }

    #[test]
    fn worlds_that_fit_give_each_rank_a_power_of_two() {
        let worlds = |chunks: usize| {
            let worlds = (1..=chunks).filter(|&world| fits(world, chunks));
            worlds.collect::<Vec<_>>()
        };
        assert_eq!(worlds(4), [1, 2, 4]);
        assert_eq!(worlds(6), [3, 6]);
        assert_eq!(worlds(12), [3, 6, 12]);
        assert!(!fits(3, 4) && !fits(8, 4) && !fits(2, 1));
        let message = no_fit(3, 4);
        assert!(
            message.starts_with("3 ranks cannot share 4 chunks"),
            "{message}"
        );
        assert!(message.contains("start 1, 2, 4 ranks, or set `train.chunks` to 3 times"));
        assert!(no_fit(2, 1).contains("1 chunk of a batch"), "{message}");
    }
}
