//! Blocks of samples that are read together.

use std::collections::BTreeMap;

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

    /// Number of samples, drawn independently of each other, whose classes differ as much by chance as those of a window do. `labels` are
    /// those of the samples, in their order.
    ///
    /// It is about the number of samples in a window where neighbours have nothing in common, and the number of blocks where each
    /// block has one class: then a window has as few classes as blocks. Infinite where the classes of a window do not depend on
    /// chance: where it holds all samples, or there is one class. (The number of samples divided by the design effect of a sample of clusters,
    /// Kish 1965.)
    pub fn independent(&self, labels: &[u32]) -> f64 {
        let mut pairs: Vec<(u32, u32)> = self
            .of
            .iter()
            .copied()
            .zip(labels.iter().copied())
            .collect();
        pairs.sort_unstable();
        let all = pairs.len() as f64;
        let mut counts: BTreeMap<u32, u64> = BTreeMap::new();
        for (_, label) in &pairs {
            *counts.entry(*label).or_default() += 1;
        }
        let share = |count: u64| count as f64 / all;
        let squares: f64 = counts.values().map(|&count| share(count).powi(2)).sum();
        // Squared differences between the classes of the blocks and those that blocks of their sizes would have on average.
        let (mut differences, mut bytes) = (0.0, 0u128);
        for block in pairs.chunk_by(|a, b| a.0 == b.0) {
            let count = block.len() as f64;
            let (mut own, mut expected) = (0.0, 0.0);
            for class in block.chunk_by(|a, b| a.1 == b.1) {
                let count = class.len() as f64;
                own += count * count;
                let of_all = counts.get(&class[0].1).copied().unwrap_or_default();
                expected += count * share(of_all);
            }
            differences += own - 2.0 * count * expected + count * count * squares;
            bytes += self
                .bytes
                .get(block[0].0 as usize)
                .map_or(0, |&bytes| u128::from(bytes));
        }
        let window = (self.window.max(1) as f64 / bytes as f64).min(1.0);
        // Variances of the number of samples of each class, summed over the classes: of a window, and of one sample.
        let of_window = window * (1.0 - window) * differences;
        let of_one = 1.0 - squares;
        match of_window > 0.0 && of_one > f64::EPSILON {
            true => (window * all).powi(2) * of_one / of_window,
            false => f64::INFINITY,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks of ten samples of a byte each, in windows of so many blocks.
    fn tens(blocks: u32, window: u64) -> Blocks {
        let of = (0..blocks).flat_map(|block| [block; 10]).collect();
        Blocks::new(of, vec![10; blocks as usize], 10 * window).unwrap()
    }

    #[test]
    fn a_window_of_sorted_classes_is_worth_its_blocks() {
        let near = |found: f64, expected: f64| {
            assert!((found / expected - 1.0).abs() < 0.1, "{found} {expected}");
        };
        // A tenth of the blocks is in a window.
        let blocks = tens(1000, 100);
        let sorted: Vec<u32> = (0..10_000).map(|sample| sample / 100).collect();
        near(blocks.independent(&sorted), 100.0 / 0.9);
        let mixed: Vec<u32> = crate::sampler::permutation(10_000, [1, 0, 0, 0])
            .iter()
            .map(|i| sorted[*i])
            .collect();
        near(blocks.independent(&mixed), 1000.0 / 0.9);
        // Blocks with half of their samples.
        let half: Vec<usize> = (0..10_000).filter(|i| i % 2 == 0).collect();
        let labels: Vec<u32> = half.iter().map(|i| sorted[*i]).collect();
        near(
            blocks.select(&half).unwrap().independent(&labels),
            100.0 / 0.9,
        );
    }

    #[test]
    fn without_chance_it_is_infinite() {
        let sorted: Vec<u32> = (0..50).map(|sample| sample / 10).collect();
        assert_eq!(tens(5, 5).independent(&sorted), f64::INFINITY);
        assert_eq!(tens(5, 2).independent(&[3; 50]), f64::INFINITY);
        let none = Blocks::new(Vec::new(), Vec::new(), 1).unwrap();
        assert_eq!(none.independent(&[]), f64::INFINITY);
        // As many of each class in every block.
        let same: Vec<u32> = (0..50).map(|sample| sample % 10).collect();
        assert!(tens(5, 2).independent(&same) > 1e6);
    }
}
