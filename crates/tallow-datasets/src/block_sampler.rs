//! Random order of samples that are read in blocks.

use crate::blocks::Blocks;
use crate::chunks::chunk_range;
use crate::sampler::{Sampler, permutation};

/// Sampler of a new order in every epoch, every index exactly once, in which the samples of a block stay near each other.
///
/// The blocks are shuffled, wherever they are, and cut into windows of about [`Blocks::window`] bytes; the samples of each window are
/// shuffled. So every sample can come at any time, but the samples of a block come within one window. Where all blocks fit
/// into one window, every order is equally likely, as with [`RandomSampler`](crate::RandomSampler).
///
/// The order depends on the seed, the epoch and the blocks alone, and on the chunks of a batch where it is made [for them](Self::in_chunks).
#[derive(Clone, Debug)]
pub struct BlockSampler {
    /// Indices by block, in order within each.
    samples: Vec<usize>,
    /// Place of the first sample of each block in `samples`, and the end.
    starts: Vec<usize>,
    bytes: Vec<u64>,
    window: u64,
    seed: u64,
    /// Size of a batch; of no meaning with one chunk.
    batch_size: usize,
    /// Chunks that have blocks of their own, at least 1.
    chunks: usize,
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
            batch_size: 1,
            chunks: 1,
        }
    }

    /// Order for batches of `batch_size` samples that are cut into `chunks` chunks by [`chunk_range`]: the blocks are dealt out to the
    /// chunks, and each chunk has samples of its own blocks. So a rank that computes some of the chunks reads its share of the blocks, and
    /// the order is the same for any number of ranks. At the end of an epoch, where the samples of a chunk run out, it has some of the
    /// others.
    ///
    /// The window is shared out too. Where a block is larger than the window of a chunk, the order is the one without chunks.
    #[must_use]
    pub fn in_chunks(self, batch_size: usize, chunks: usize) -> Self {
        let (batch_size, chunks) = (batch_size.max(1), chunks.max(1));
        let largest = self.bytes.iter().copied().max().unwrap_or(0);
        let fits = largest <= self.window / chunks as u64;
        Self {
            batch_size,
            chunks: if fits { chunks } else { 1 },
            ..self
        }
    }

    /// Blocks that have samples, in the order of an epoch.
    fn blocks(&self, epoch: u64) -> Vec<usize> {
        let mut blocks = permutation(self.bytes.len(), [self.seed, epoch, 0, STREAM]);
        blocks.retain(|&block| !self.of(block).is_empty());
        blocks
    }

    /// Blocks in windows of about `window` bytes.
    fn windows(&self, blocks: Vec<usize>, window: u64) -> Vec<Vec<usize>> {
        let bytes = |block: &usize| u128::from(self.bytes[*block]);
        let total = blocks.iter().map(bytes).sum::<u128>().max(1);
        // Windows of equal size, so that no small one remains at the end.
        let most = blocks.len().max(1) as u128;
        let count = total.div_ceil(u128::from(window.max(1))).min(most);
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

    /// Blocks of each chunk: each goes to the chunk that has the fewest samples for its part of a batch.
    fn dealt(&self, blocks: Vec<usize>) -> Vec<Vec<usize>> {
        let range = |chunk| chunk_range(self.batch_size, self.chunks, chunk);
        let parts: Vec<u128> = (0..self.chunks)
            .map(|chunk| range(chunk).len() as u128)
            .collect();
        let mut samples = vec![0u128; self.chunks];
        let mut dealt = vec![Vec::new(); self.chunks];
        for block in blocks {
            let open = (0..self.chunks).filter(|&chunk| parts[chunk] > 0);
            // a / b < c / d where a d < c b.
            let emptiest =
                open.min_by(|&a, &b| (samples[a] * parts[b]).cmp(&(samples[b] * parts[a])));
            let chunk = emptiest.unwrap_or(0);
            samples[chunk] += self.of(block).len() as u128;
            dealt[chunk].push(block);
        }
        dealt
    }

    /// Indices in batches whose chunks take those of their own, in order.
    fn batches(&self, lanes: Vec<Vec<usize>>) -> Vec<usize> {
        let all: usize = lanes.iter().map(Vec::len).sum();
        let mut lanes: Vec<std::vec::IntoIter<usize>> =
            lanes.into_iter().map(Vec::into_iter).collect();
        let mut indices = Vec::with_capacity(all);
        while indices.len() < all {
            let size = self.batch_size.min(all - indices.len());
            for chunk in 0..self.chunks {
                let end = indices.len() + chunk_range(size, self.chunks, chunk).len();
                while indices.len() < end {
                    let left = |lane: usize| lanes[lane].as_slice().len();
                    let own = Some(chunk).filter(|&chunk| left(chunk) > 0);
                    let fullest = || (0..self.chunks).max_by_key(|&lane| left(lane));
                    let lane = own.or_else(fullest).unwrap_or(chunk);
                    let wanted = end - indices.len();
                    indices.extend(lanes[lane].by_ref().take(wanted));
                }
            }
        }
        indices
    }
}

impl Sampler for BlockSampler {
    fn len(&self) -> usize {
        self.samples.len()
    }

    fn indices(&self, epoch: u64) -> Vec<usize> {
        let blocks = self.blocks(epoch);
        let lanes = match self.chunks {
            1 => vec![(blocks, self.window)],
            chunks => {
                let window = self.window / chunks as u64;
                let dealt = self.dealt(blocks).into_iter();
                dealt.map(|blocks| (blocks, window)).collect()
            }
        };
        let mut number = 0;
        let mut orders = Vec::with_capacity(lanes.len());
        for (blocks, window) in lanes {
            let mut order = Vec::new();
            for window in self.windows(blocks, window) {
                number += 1;
                let samples = window.iter().flat_map(|&block| self.of(block)).copied();
                let samples: Vec<usize> = samples.collect();
                let places = permutation(samples.len(), [self.seed, epoch, number, STREAM]);
                order.extend(places.into_iter().map(|place| samples[place]));
            }
            orders.push(order);
        }
        match orders.len() {
            1 => orders.swap_remove(0),
            _ => self.batches(orders),
        }
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
        let windows = sampler.windows(sampler.blocks(3), 700);
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

    /// Blocks that a share of the chunks touches in an epoch.
    fn touched(
        blocks: &Blocks,
        order: &[usize],
        chunks: usize,
        own: std::ops::Range<usize>,
    ) -> usize {
        let mut found = std::collections::BTreeSet::new();
        for batch in order.chunks(16) {
            for chunk in own.clone() {
                let samples = &batch[chunk_range(batch.len(), chunks, chunk)];
                found.extend(samples.iter().map(|&sample| blocks.of()[sample]));
            }
        }
        found.len()
    }

    #[test]
    fn chunks_have_blocks_of_their_own() {
        let blocks = blocks(200, 2000);
        for chunks in [2, 3, 4] {
            let sampler = BlockSampler::new(&blocks, 8).in_chunks(16, chunks);
            for epoch in 0..3 {
                let order = sampler.indices(epoch);
                let of_chunks =
                    (0..chunks).map(|chunk| touched(&blocks, &order, chunks, chunk..chunk + 1));
                // Each block has one chunk, but for those from which others take the last samples.
                let sum: usize = of_chunks.sum();
                assert!((200..=200 + 8 * chunks).contains(&sum), "{chunks}: {sum}");
                let mut sorted = order.clone();
                sorted.sort_unstable();
                assert!(sorted.into_iter().eq(0..blocks.of().len()));
            }
            assert_ne!(sampler.indices(0), sampler.indices(1));
        }
        // Without chunks in mind each half of a batch reads nearly all blocks.
        let whole = BlockSampler::new(&blocks, 8);
        let order = whole.indices(0);
        assert!(touched(&blocks, &order, 2, 0..1) > 150);
        // One chunk changes nothing, and chunks whose window has no room for a block are none.
        let one = whole.clone().in_chunks(16, 1);
        assert_eq!(one.indices(0), order);
        let many = whole.clone().in_chunks(16, 40);
        assert_eq!(many.indices(0), order);
    }

    /// Chunks that no batch has samples for, batches of one sample, and fewer samples than a batch has.
    #[test]
    fn every_index_comes_once_whatever_the_chunks() {
        for (count, batch_size, chunks) in [
            (1, 16, 4),
            (3, 1, 4),
            (50, 3, 7),
            (50, 10, 4),
            (50, 1000, 2),
        ] {
            let blocks = blocks(count, 700);
            let sampler = BlockSampler::new(&blocks, 1).in_chunks(batch_size, chunks);
            let mut order = sampler.indices(4);
            assert_eq!(order, sampler.indices(4));
            order.sort_unstable();
            assert!(
                order.into_iter().eq(0..sampler.len()),
                "{count} {batch_size} {chunks}"
            );
        }
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
