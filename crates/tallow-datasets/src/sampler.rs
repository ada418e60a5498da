//! Samplers: the indices of each epoch, in order.

use std::fmt;
use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

use crate::error::{Error, Result};

/// Sampler of a data loader: the indices of each epoch, in order, as `torch.utils.data.Sampler`.
///
/// The indices must depend on the sampler and the epoch alone, so that a resumed run continues with the same bits. An index may come
/// more than once, or never.
///
/// ```
/// use std::sync::Arc;
/// use tallow_datasets::{DataLoader, LoaderConfig, Sampler};
/// # use tallow_datasets::{ImageSet, Split};
/// # use tallow_transforms::{Compose, TransformConfig};
///
/// /// From the last sample to the first.
/// #[derive(Debug)]
/// struct Backwards(usize);
///
/// impl Sampler for Backwards {
///     fn len(&self) -> usize {
///         self.0
///     }
///     fn indices(&self, _epoch: u64) -> Vec<usize> {
///         (0..self.0).rev().collect()
///     }
/// }
///
/// # let classes = vec!["only".to_owned()];
/// # let set = ImageSet::from_parts("toy", Split::Train, "", classes, (1, 1, 1), vec![0; 9], vec![0; 9])?;
/// # let transform = Compose::new(vec![TransformConfig::to_tensor()])?;
/// let loader = DataLoader::new(Arc::new(set), transform, LoaderConfig::default())?;
/// let loader = loader.with_sampler(Arc::new(Backwards(9)));
/// assert_eq!(loader.epoch(0).next().unwrap()?.indices, [8, 7, 6, 5, 4, 3, 2, 1, 0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Sampler: fmt::Debug + Send + Sync {
    /// Number of indices in an epoch.
    fn len(&self) -> usize;

    /// True when an epoch has no index.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Indices of `epoch` in order: [`len`](Sampler::len) of them, each below the length of the dataset.
    fn indices(&self, epoch: u64) -> Vec<usize>;
}

/// Sampler of the same indices in every epoch.
#[derive(Clone, Debug)]
pub(crate) struct FixedSampler {
    indices: Vec<usize>,
}

impl FixedSampler {
    pub fn new(indices: Vec<usize>) -> Self {
        Self { indices }
    }
}

impl Sampler for FixedSampler {
    fn len(&self) -> usize {
        self.indices.len()
    }

    fn indices(&self, _epoch: u64) -> Vec<usize> {
        self.indices.clone()
    }
}

/// Sampler of every index in order, in every epoch.
#[derive(Clone, Debug)]
pub struct SequentialSampler {
    samples: usize,
}

impl SequentialSampler {
    /// Sampler of `0..samples`.
    pub fn new(samples: usize) -> Self {
        Self { samples }
    }
}

impl Sampler for SequentialSampler {
    fn len(&self) -> usize {
        self.samples
    }

    fn indices(&self, _epoch: u64) -> Vec<usize> {
        (0..self.samples).collect()
    }
}

/// Sampler of a new permutation of the indices in every epoch: every index exactly once.
///
/// The order depends on the seed, the epoch and the length alone. It is the same on every platform and in every version of this crate.
#[derive(Clone, Debug)]
pub struct RandomSampler {
    samples: usize,
    seed: u64,
}

impl RandomSampler {
    /// Sampler of permutations of `0..samples`.
    pub fn new(samples: usize, seed: u64) -> Self {
        Self { samples, seed }
    }
}

impl Sampler for RandomSampler {
    fn len(&self) -> usize {
        self.samples
    }

    fn indices(&self, epoch: u64) -> Vec<usize> {
        permutation(
            self.samples,
            [self.seed, epoch, 0, u64::from_le_bytes(*b"tallow.e")],
        )
    }
}

/// Sampler of every `world`-th index of another sampler, from position `rank` on, for work on a set that is shared out.
///
/// Ranks that train one model together take a [`slice`](crate::DataLoader::slice) of each batch instead: then all have the same number of
/// batches.
///
/// Over the ranks of one world every index comes exactly once. Where the indices do not divide, the first ranks have one more
/// (PyTorch's `DistributedSampler` repeats indices instead).
#[derive(Clone, Debug)]
pub struct ShardedSampler {
    inner: Arc<dyn Sampler>,
    rank: usize,
    world: usize,
}

impl ShardedSampler {
    /// Share of `rank` in the indices of `inner`.
    ///
    /// # Errors
    /// [`Error::Argument`] unless `rank < world`.
    pub fn new(inner: Arc<dyn Sampler>, rank: usize, world: usize) -> Result<Self> {
        check_rank(rank, world)?;
        Ok(Self { inner, rank, world })
    }
}

impl Sampler for ShardedSampler {
    fn len(&self) -> usize {
        self.inner
            .len()
            .saturating_sub(self.rank)
            .div_ceil(self.world)
    }

    fn indices(&self, epoch: u64) -> Vec<usize> {
        let indices = self.inner.indices(epoch).into_iter();
        indices.skip(self.rank).step_by(self.world).collect()
    }
}

/// Checks that a rank is one of its world.
pub(crate) fn check_rank(rank: usize, world: usize) -> Result<()> {
    if rank >= world {
        return Err(Error::Argument(format!(
            "rank {rank} in a world of {world}: expected a rank below {world}, counted from 0"
        )));
    }
    Ok(())
}

/// Permutation of `0..n`: Fisher-Yates from the last entry down, drawing from ChaCha8 under `key` (four
/// little-endian u64).
pub(crate) fn permutation(n: usize, key: [u64; 4]) -> Vec<usize> {
    let mut bytes = [0; 32];
    for (bytes, word) in bytes.chunks_exact_mut(8).zip(key) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    let mut rng = ChaCha8Rng::from_seed(bytes);
    let mut order: Vec<usize> = (0..n).collect();
    for i in (1..n).rev() {
        order.swap(i, below(&mut rng, i as u64 + 1) as usize);
    }
    order
}

/// Random number in `0..n`, each equally likely: Lemire's multiply-and-reject (arXiv 1805.10941) on 64-bit words.
fn below(rng: &mut ChaCha8Rng, n: u64) -> u64 {
    loop {
        let product = u128::from(rng.next_u64()) * u128::from(n);
        let low = product as u64;
        if low >= n || low >= n.wrapping_neg() % n {
            return (product >> 64) as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_index_once_and_another_order_each_epoch() {
        for samples in [0, 1, 2, 7, 1000] {
            let sampler = RandomSampler::new(samples, 5);
            for epoch in 0..3 {
                let mut order = sampler.indices(epoch);
                assert_eq!(order, sampler.indices(epoch));
                order.sort_unstable();
                assert!(order.into_iter().eq(0..samples));
            }
        }
        let sampler = RandomSampler::new(1000, 5);
        assert_ne!(sampler.indices(0), sampler.indices(1));
        assert_ne!(sampler.indices(0), RandomSampler::new(1000, 6).indices(0));
        assert!(SequentialSampler::new(9).indices(3).into_iter().eq(0..9));
    }

    /// Pins the stream: a change here would change every recorded run. The figures are those of a ChaCha8 written
    /// apart from this crate's.
    #[test]
    fn the_order_is_fixed_for_good() {
        assert_eq!(
            RandomSampler::new(10, 0).indices(0),
            [0, 3, 4, 2, 1, 6, 5, 8, 7, 9]
        );
        assert_eq!(
            RandomSampler::new(10, 0).indices(1),
            [9, 8, 6, 0, 7, 2, 5, 1, 3, 4]
        );
    }

    #[test]
    fn all_permutations_are_equally_likely() {
        let mut counts = std::collections::BTreeMap::new();
        for epoch in 0..24_000 {
            *counts
                .entry(RandomSampler::new(4, 1).indices(epoch))
                .or_insert(0u32) += 1;
        }
        assert_eq!(counts.len(), 24);
        // Chi-square with 23 degrees of freedom: beyond 49.7 once in a thousand.
        let chi: f64 = counts
            .values()
            .map(|&n| (f64::from(n) - 1000.0).powi(2) / 1000.0)
            .sum();
        assert!(chi < 49.7, "{chi}");
    }

    #[test]
    fn shards_are_a_partition() {
        let shard = |sampler: &Arc<dyn Sampler>, rank, world| {
            ShardedSampler::new(sampler.clone(), rank, world)
        };
        let sequential = |n| Arc::new(SequentialSampler::new(n)) as Arc<dyn Sampler>;
        for (samples, world) in [(10, 3), (9, 3), (2, 5), (0, 2), (100, 1)] {
            let random: Arc<dyn Sampler> = Arc::new(RandomSampler::new(samples, 1));
            for sampler in [random, sequential(samples)] {
                let shards: Vec<_> = (0..world)
                    .map(|rank| shard(&sampler, rank, world).unwrap())
                    .collect();
                let mut all = Vec::new();
                for shard in &shards {
                    let order = shard.indices(2);
                    assert_eq!(order.len(), shard.len());
                    assert!(order.len().abs_diff(samples / world) <= 1);
                    all.extend(order);
                }
                all.sort_unstable();
                assert!(all.into_iter().eq(0..samples));
            }
        }
        assert!(shard(&sequential(3), 2, 2).is_err());
        assert!(shard(&sequential(3), 0, 0).is_err());
        // A shard of a shard is one of the product.
        let half: Arc<dyn Sampler> = Arc::new(shard(&sequential(20), 1, 2).unwrap());
        assert_eq!(shard(&half, 2, 3).unwrap().indices(0), [5, 11, 17]);
    }
}
