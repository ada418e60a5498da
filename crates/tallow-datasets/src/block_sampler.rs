//! Random order of samples that are read in blocks.

use crate::blocks::Blocks;
use crate::sampler::{Sampler, permutation};

/// Sampler of a new order in every epoch, every index exactly once, in which the samples of a block stay near each other.
///
/// The blocks are shuffled, wherever they are, and cut into windows of about [`Blocks::window`] bytes; the samples of each window are
/// shuffled. So every sample can come at any time, but the samples of a block come within one window. Where all blocks fit
/// into one window, every order is equally likely, as with [`RandomSampler`](crate::RandomSampler).
///
/// The order depends on the seed, the epoch and the blocks alone.
#[derive(Clone, Debug)]
pub struct BlockSampler {
    /// Indices by block, in order within each.
    samples: Vec<usize>,
    /// Place of the first sample of each block in `samples`, and the end.
    starts: Vec<usize>,
    bytes: Vec<u64>,
    window: u64,
    seed: u64,
}

/// Name of the stream of random numbers.
const STREAM: u64 = u64::from_le_bytes(*b"tallow.b");

impl BlockSampler {
    /// Sampler of the samples of `blocks`.
    pub fn new(blocks: &Blocks, seed: u64) -> Self {
        let of = blocks.of();
        let mut starts = vec![0; blocks.bytes().len() + 1];
        for &block in of {
            starts[block as usize + 1] += 1;
        }
        for block in 1..starts.len() {
            starts[block] += starts[block - 1];
        }
        let mut next = starts.clone();
        let mut samples = vec![0; of.len()];
        for (sample, &block) in of.iter().enumerate() {
            let place = &mut next[block as usize];
            samples[*place] = sample;
            *place += 1;
        }
        Self {
            samples,
            starts,
            bytes: blocks.bytes().to_vec(),
            window: blocks.window().max(1),
            seed,
        }
    }

    /// Blocks of an epoch that have samples, in windows.
    fn windows(&self, epoch: u64) -> Vec<Vec<usize>> {
        let blocks = permutation(self.bytes.len(), [self.seed, epoch, 0, STREAM]);
        let blocks = blocks.into_iter();
        let blocks: Vec<usize> = blocks.filter(|&block| !self.of(block).is_empty()).collect();
        let bytes = |block: &usize| u128::from(self.bytes[*block]);
        let total = blocks.iter().map(bytes).sum::<u128>().max(1);
        // Windows of equal size, so that no small one remains at the end.
        let most = blocks.len().max(1) as u128;
        let count = total.div_ceil(u128::from(self.window)).min(most);
        let mut windows: Vec<Vec<usize>> = Vec::new();
        let (mut before, mut last) = (0, None);
        for block in blocks {
            let number = before * count / total;
            before += bytes(&block);
            match windows.last_mut() {
                Some(window) if last == Some(number) => window.push(block),
                _ => windows.push(vec![block]),
            }
            last = Some(number);
        }
        windows
    }

    /// Samples of a block.
    fn of(&self, block: usize) -> &[usize] {
        &self.samples[self.starts[block]..self.starts[block + 1]]
    }
}

impl Sampler for BlockSampler {
    fn len(&self) -> usize {
        self.samples.len()
    }

    fn indices(&self, epoch: u64) -> Vec<usize> {
        let mut indices = Vec::with_capacity(self.samples.len());
        for (number, window) in (1..).zip(self.windows(epoch)) {
            let samples: Vec<usize> = (window.iter())
                .flat_map(|&block| self.of(block))
                .copied()
                .collect();
            let order = permutation(samples.len(), [self.seed, epoch, number, STREAM]);
            indices.extend(order.into_iter().map(|place| samples[place]));
        }
        indices
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks of 1 to 7 samples, ten bytes a sample.
    fn blocks(count: u32, window: u64) -> Blocks {
        let size = |block: u32| block % 7 + 1;
        let of = (0..count).flat_map(|block| vec![block; size(block) as usize]);
        let bytes = (0..count).map(|block| u64::from(size(block)) * 10);
        Blocks::new(of.collect(), bytes.collect(), window).unwrap()
    }

    #[test]
    fn every_index_once_and_another_order_each_epoch_and_seed() {
        for window in [1, 35, 200, 1 << 40] {
            let blocks = blocks(60, window);
            let sampler = BlockSampler::new(&blocks, 5);
            for epoch in 0..3 {
                let mut order = sampler.indices(epoch);
                assert_eq!(order, sampler.indices(epoch));
                assert_eq!(order.len(), sampler.len());
                order.sort_unstable();
                assert!(order.into_iter().eq(0..blocks.of().len()), "{window}");
            }
            assert_ne!(sampler.indices(0), sampler.indices(1));
            let other = BlockSampler::new(&blocks, 6);
            assert_ne!(sampler.indices(0), other.indices(0));
        }
    }

    #[test]
    fn windows_are_no_larger_than_they_should_be() {
        let blocks = blocks(500, 700);
        let sampler = BlockSampler::new(&blocks, 1);
        let total: u64 = blocks.bytes().iter().sum();
        let windows = sampler.windows(3);
        assert_eq!(windows.len() as u64, total.div_ceil(700));
        for window in &windows {
            let bytes: u64 = window.iter().map(|&block| blocks.bytes()[block]).sum();
            // Up to a block more, or less.
            assert!((600..=770).contains(&bytes), "{bytes}");
        }
        // The samples of a block are all in one window.
        let mut order = sampler.indices(3).into_iter();
        for window in &windows {
            let count = window.iter().map(|&block| sampler.of(block).len()).sum();
            let mut seen: Vec<usize> = order.by_ref().take(count).collect();
            let mut expected: Vec<usize> = (window.iter())
                .flat_map(|&block| sampler.of(block))
                .copied()
                .collect();
            seen.sort_unstable();
            expected.sort_unstable();
            assert_eq!(seen, expected);
        }
        assert_eq!(order.next(), None);
    }

    /// A sample at the beginning of the files can come at any time of the epoch.
    #[test]
    fn blocks_are_shuffled_over_the_whole_epoch() {
        let sampler = BlockSampler::new(&blocks(100, 100), 0);
        let half = sampler.len() / 2;
        let late = (0..200).filter(|&epoch| {
            let order = sampler.indices(epoch);
            order.iter().position(|&sample| sample == 0) >= Some(half)
        });
        let late = late.count();
        assert!((60..140).contains(&late), "{late}");
    }

    /// Where one window holds everything, all orders are equally likely.
    #[test]
    fn one_window_is_a_full_shuffle() {
        let of = vec![0, 0, 1, 1];
        let blocks = Blocks::new(of, vec![10, 10], 20).unwrap();
        let sampler = BlockSampler::new(&blocks, 2);
        let mut counts = std::collections::BTreeMap::new();
        for epoch in 0..24_000 {
            *counts.entry(sampler.indices(epoch)).or_insert(0u32) += 1;
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
    fn parts_of_blocks_and_no_samples_at_all() {
        let blocks = blocks(20, 40);
        let odd: Vec<usize> = (0..blocks.of().len()).filter(|i| i % 2 == 1).collect();
        let part = BlockSampler::new(&blocks.clone().select(&odd).unwrap(), 0);
        let mut order = part.indices(0);
        order.sort_unstable();
        assert!(order.into_iter().eq(0..odd.len()));
        assert_eq!(blocks.select(&[1 << 30]), None);
        let none = Blocks::new(Vec::new(), Vec::new(), 1).unwrap();
        assert!(BlockSampler::new(&none, 0).indices(0).is_empty());
        assert!(Blocks::new(vec![1], vec![8], 1).is_err());
    }
}
