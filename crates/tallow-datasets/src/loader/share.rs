//! Shares of an epoch, for ranks that work on it together: a part of each batch, or some of the batches.

use std::borrow::Cow;
use std::ops::Range;

use crate::chunks::chunk_range;
use crate::error::{Error, Result};
use crate::sampler::check_rank;

/// Slice of each batch of an epoch, for one of several ranks that train on parts of the same batches:
/// [`DataLoader::slice`](crate::DataLoader::slice).
///
/// A batch is cut into chunks, see [`chunk_range`]. Each rank has `chunks / world` neighbouring ones, the first rank the first ones. So
/// every rank has a part of every batch, and all have the same number of batches. A batch with fewer samples than chunks leaves some of
/// them empty, and maybe all of a rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchSlice {
    /// Rank, below `world`.
    pub rank: usize,
    /// Number of ranks.
    pub world: usize,
    /// Number of chunks of a batch, a multiple of `world`.
    pub chunks: usize,
    /// Whether the sample before the slice comes along, ahead of its own samples, unless the slice is empty. Before the first sample
    /// of a batch is its last one. Mixup and CutMix mix an image with the one before it.
    pub with_previous: bool,
}

impl BatchSlice {
    /// Positions of the rank's own samples in a batch of `samples` samples.
    pub(super) fn range(&self, samples: usize) -> Range<usize> {
        let own = self.chunks / self.world;
        let (first, last) = (self.rank * own, (self.rank + 1) * own - 1);
        let (first, last) = (
            chunk_range(samples, self.chunks, first),
            chunk_range(samples, self.chunks, last),
        );
        first.start..last.end
    }

    /// Checks rank and number of chunks.
    pub(super) fn validate(&self) -> Result<()> {
        let Self {
            rank,
            world,
            chunks,
            ..
        } = *self;
        check_rank(rank, world)?;
        if chunks == 0 || !chunks.is_multiple_of(world) {
            return Err(Error::Argument(format!(
                "{chunks} chunks of a batch for {world} ranks: expected a multiple of the number of ranks"
            )));
        }
        Ok(())
    }
}

/// Share of an epoch that a loader makes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Share {
    /// All batches.
    All,
    /// Slice of every batch.
    Slice(BatchSlice),
    /// Every `world`-th batch, from number `rank` on.
    Deal { rank: usize, world: usize },
}

impl Share {
    /// Number of batches of an epoch of `all` batches.
    pub fn batches(&self, all: usize) -> usize {
        match *self {
            Self::All | Self::Slice(_) => all,
            Self::Deal { rank, world } => all.saturating_sub(rank).div_ceil(world),
        }
    }

    /// Number in the epoch of a batch of the share.
    pub fn number(&self, batch: usize) -> usize {
        match *self {
            Self::All | Self::Slice(_) => batch,
            Self::Deal { rank, world } => rank + batch * world,
        }
    }

    /// Number of samples of an epoch of `all` samples in batches of `batch_size`.
    pub fn samples(&self, all: usize, batch_size: usize) -> usize {
        if let Self::All = self {
            return all;
        }
        let batches = self.batches(all.div_ceil(batch_size));
        let of_batch = |batch: usize| {
            let size = batch_size.min(all - self.number(batch) * batch_size);
            match self {
                Self::Slice(slice) => slice.range(size).len(),
                Self::All | Self::Deal { .. } => size,
            }
        };
        (0..batches).map(of_batch).sum()
    }

    /// Indices of the samples to load for a batch with these.
    pub fn indices<'i>(&self, batch: &'i [usize]) -> Cow<'i, [usize]> {
        let Self::Slice(slice) = self else {
            return Cow::Borrowed(batch);
        };
        let range = slice.range(batch.len());
        let own = &batch[range.clone()];
        if !slice.with_previous || own.is_empty() {
            return Cow::Borrowed(own);
        }
        let previous = match range.start {
            0 => batch.len() - 1,
            start => start - 1,
        };
        let mut indices = vec![batch[previous]];
        indices.extend_from_slice(own);
        Cow::Owned(indices)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_cut_every_batch_into_the_same_chunks_for_any_world() {
        for samples in 0..40 {
            for (world, chunks) in [(1, 1), (1, 4), (2, 4), (4, 4), (3, 6), (6, 6), (2, 10)] {
                let slice = |rank| BatchSlice {
                    rank,
                    world,
                    chunks,
                    with_previous: false,
                };
                let mut at = 0;
                for rank in 0..world {
                    let range = slice(rank).range(samples);
                    assert_eq!(range.start, at);
                    at = range.end;
                    let own = chunks / world;
                    let lens = (rank * own..(rank + 1) * own)
                        .map(|chunk| chunk_range(samples, chunks, chunk).len());
                    assert_eq!(lens.sum::<usize>(), range.len());
                }
                assert_eq!(at, samples);
            }
        }
    }

    #[test]
    fn the_sample_before_a_slice_is_that_of_the_whole_batch() {
        let batch = [7, 5, 3, 1, 9];
        let indices = |rank: usize| {
            let slice = BatchSlice {
                rank,
                world: 4,
                chunks: 4,
                with_previous: true,
            };
            Share::Slice(slice).indices(&batch).into_owned()
        };
        assert_eq!(indices(0), [9, 7]);
        assert_eq!(indices(1), [7, 5]);
        assert_eq!(indices(3), [3, 1, 9]);
        let empty = BatchSlice {
            rank: 0,
            world: 4,
            chunks: 4,
            with_previous: true,
        };
        assert!(Share::Slice(empty).indices(&batch[..1]).is_empty());
    }
}
