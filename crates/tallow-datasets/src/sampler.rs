//! Which samples an epoch has, and in which order.

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

use crate::error::{Error, Result};

/// The order of the samples of each epoch: every index exactly once.
///
/// A shuffled order depends on the seed, the epoch and the length alone. It is the same on every platform and in
/// every version of this crate.
#[derive(Clone, Debug)]
pub struct Sampler {
    samples: usize,
    seed: Option<u64>,
    rank: usize,
    world: usize,
}

impl Sampler {
    /// `0..samples` in order, every epoch.
    pub fn sequential(samples: usize) -> Self {
        Self {
            samples,
            seed: None,
            rank: 0,
            world: 1,
        }
    }

    /// A new permutation of `0..samples` every epoch.
    pub fn shuffled(samples: usize, seed: u64) -> Self {
        Self {
            seed: Some(seed),
            ..Self::sequential(samples)
        }
    }

    /// Every `world`-th entry of this order, from entry `rank` on. Over the ranks of one world every index comes
    /// exactly once; where the samples do not divide, the first ranks have one more.
    ///
    /// [`Error::Argument`] unless `rank < world`.
    pub fn shard(self, rank: usize, world: usize) -> Result<Self> {
        if rank >= world {
            return Err(Error::Argument(format!(
                "rank {rank} of a world of {world}: ranks count from 0"
            )));
        }
        Ok(Self {
            rank: self.rank + rank * self.world,
            world: self.world.saturating_mul(world),
            ..self
        })
    }

    /// Number of indices in an epoch.
    pub fn len(&self) -> usize {
        self.samples.saturating_sub(self.rank).div_ceil(self.world)
    }

    /// Whether an epoch has no index.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The indices of `epoch`.
    pub fn order(&self, epoch: u64) -> Vec<usize> {
        let order = match self.seed {
            Some(seed) => permutation(
                self.samples,
                [seed, epoch, 0, u64::from_le_bytes(*b"tallow.e")],
            ),
            None => (0..self.samples).collect(),
        };
        if self.world == 1 {
            order
        } else {
            order
                .into_iter()
                .skip(self.rank)
                .step_by(self.world)
                .collect()
        }
    }
}

/// A permutation of `0..n`: Fisher-Yates from the last entry down, drawing from ChaCha8 under `key` (four
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

/// A whole number in `0..n`, each equally likely: Lemire's multiply-and-reject (arXiv 1805.10941) on 64-bit words.
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
            let sampler = Sampler::shuffled(samples, 5);
            for epoch in 0..3 {
                let mut order = sampler.order(epoch);
                assert_eq!(order, sampler.order(epoch));
                order.sort_unstable();
                assert!(order.into_iter().eq(0..samples));
            }
        }
        let sampler = Sampler::shuffled(1000, 5);
        assert_ne!(sampler.order(0), sampler.order(1));
        assert_ne!(sampler.order(0), Sampler::shuffled(1000, 6).order(0));
        assert!(Sampler::sequential(9).order(3).into_iter().eq(0..9));
    }

    /// Pins the stream: a change here would change every recorded run. The figures are those of a ChaCha8 written
    /// apart from this crate's.
    #[test]
    fn the_order_is_fixed_for_good() {
        assert_eq!(
            Sampler::shuffled(10, 0).order(0),
            [0, 3, 4, 2, 1, 6, 5, 8, 7, 9]
        );
        assert_eq!(
            Sampler::shuffled(10, 0).order(1),
            [9, 8, 6, 0, 7, 2, 5, 1, 3, 4]
        );
    }

    #[test]
    fn all_permutations_are_equally_likely() {
        let mut counts = std::collections::BTreeMap::new();
        for epoch in 0..24_000 {
            *counts
                .entry(Sampler::shuffled(4, 1).order(epoch))
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
        for (samples, world) in [(10, 3), (9, 3), (2, 5), (0, 2), (100, 1)] {
            for sampler in [Sampler::shuffled(samples, 1), Sampler::sequential(samples)] {
                let shards: Vec<_> = (0..world)
                    .map(|rank| sampler.clone().shard(rank, world).unwrap())
                    .collect();
                let mut all = Vec::new();
                for shard in &shards {
                    let order = shard.order(2);
                    assert_eq!(order.len(), shard.len());
                    assert!(order.len().abs_diff(samples / world) <= 1);
                    all.extend(order);
                }
                all.sort_unstable();
                assert!(all.into_iter().eq(0..samples));
            }
        }
        assert!(Sampler::sequential(3).shard(2, 2).is_err());
        assert!(Sampler::sequential(3).shard(0, 0).is_err());
        // A shard of a shard is one of the product.
        let nested = Sampler::sequential(20)
            .shard(1, 2)
            .unwrap()
            .shard(2, 3)
            .unwrap();
        assert_eq!(nested.order(0), [5, 11, 17]);
    }
}
