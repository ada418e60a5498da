//! Warnings about the order in which pictures are streamed.

use tallow_datasets::{Blocks, DataLoader};

/// Sentences about an order of the training images that trains badly or reads much; none where they are not streamed.
pub(crate) fn warnings(train: &DataLoader) -> Vec<String> {
    let (dataset, config) = (train.dataset(), train.config());
    let Some(blocks) = dataset.blocks() else {
        return Vec::new();
    };
    let warning = match config.shuffle {
        true => {
            let labels = (0..dataset.len()).map(|index| dataset.label(index));
            // One that cannot be read is an error of the first epoch.
            let labels: Vec<u32> = labels.collect::<Result<_, _>>().unwrap_or_default();
            poor_shuffle(&blocks, &labels, config.batch_size)
        }
        false => many_reads(&blocks),
    };
    warning.into_iter().collect()
}

/// Sentence on windows whose classes vary more than those of a random batch.
fn poor_shuffle(blocks: &Blocks, labels: &[u32], batch_size: usize) -> Option<String> {
    let independent = blocks.independent(labels);
    if independent >= batch_size as f64 {
        return None;
    }
    Some(format!(
        "the training images are streamed, and the classes in a window of the shuffle ({} MiB) vary as if it had {independent:.0} images, fewer than \
         a batch of {batch_size}: the files are sorted by class, or the window is small; write the files in random order, as `tallow data pack` does, \
         or raise data.shuffle_window",
        blocks.window() >> 20
    ))
}

/// Sentence on an order that goes from block to block, each of which is read for few images.
fn many_reads(blocks: &Blocks) -> Option<String> {
    let of = blocks.of();
    let mut there = of.to_vec();
    there.sort_unstable();
    there.dedup();
    let bytes = |block: &u32| blocks.bytes().get(*block as usize).copied();
    let total: u64 = there.iter().filter_map(bytes).sum();
    // As much stays in memory.
    if total <= blocks.window().saturating_mul(2) {
        return None;
    }
    let changes = of.windows(2).filter(|pair| pair[0] != pair[1]).count();
    if changes < 2 * there.len() {
        return None;
    }
    Some(format!(
        "the training images are streamed in an order that jumps in their files (data.sort_by_class without train.shuffle): an epoch reads up to \
         {changes} blocks of them, and there are {}; set data.streaming = false, or write the files in this order, as `tallow data pack --in-order` does",
        there.len()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// Blocks of 10 images and 1 MiB, in windows of 8 MiB.
    fn blocks(of: impl Iterator<Item = u32>) -> Blocks {
        let of: Vec<u32> = of.collect();
        let count = of.iter().max().map_or(0, |most| *most as usize + 1);
        Blocks::new(of, vec![MIB; count], 8 * MIB).unwrap()
    }

    #[test]
    fn files_sorted_by_class_are_told() {
        let blocks = blocks((0..1000).map(|sample| sample / 10));
        let sorted: Vec<u32> = (0..1000).map(|sample| sample / 100).collect();
        let text = poor_shuffle(&blocks, &sorted, 32).unwrap();
        assert!(
            text.contains("(8 MiB) vary as if it had 9 images"),
            "{text}"
        );
        assert_eq!(poor_shuffle(&blocks, &sorted, 8), None);
        let mixed: Vec<u32> = (0..1000).map(|sample| sample * 7 % 10).collect();
        assert_eq!(poor_shuffle(&blocks, &mixed, 32), None);
    }

    #[test]
    fn jumps_between_blocks_are_told() {
        let in_order = blocks((0..1000).map(|sample| sample / 10));
        assert_eq!(many_reads(&in_order), None);
        let jumps = blocks((0..1000).map(|sample| sample * 37 % 100));
        let text = many_reads(&jumps).unwrap();
        assert!(
            text.contains("up to 999 blocks of them, and there are 100"),
            "{text}"
        );
        // What stays in memory is read once.
        let few = blocks((0..160).map(|sample| sample * 7 % 16));
        assert_eq!(many_reads(&few), None);
    }
}
