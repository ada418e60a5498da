//! Dataset of blank images.

use std::sync::Arc;

use tallow_datasets::{Blocks, DataLoader, Dataset, DatasetInfo, ImageRef, LoaderConfig, Split};
use tallow_transforms::{Compose, TransformConfig};

use crate::error::Result;

/// Loader of so many images of one black pixel, all of class 0. A shuffle is that of a dataset with these `blocks`.
pub(super) fn blank(
    samples: usize,
    blocks: Option<Blocks>,
    config: LoaderConfig,
) -> Result<DataLoader> {
    let set = Blank {
        info: DatasetInfo::new("blank", Split::Train, ["blank"]),
        samples,
        blocks,
    };
    let transform = Compose::new(vec![TransformConfig::to_tensor()])?;
    Ok(DataLoader::new(Arc::new(set), transform, config)?)
}

struct Blank {
    info: DatasetInfo,
    samples: usize,
    blocks: Option<Blocks>,
}

impl Dataset for Blank {
    fn info(&self) -> &DatasetInfo {
        &self.info
    }

    fn len(&self) -> usize {
        self.samples
    }

    fn label(&self, _: usize) -> tallow_datasets::Result<u32> {
        Ok(0)
    }

    fn image<'a>(
        &'a self,
        _: usize,
        scratch: &'a mut Vec<u8>,
    ) -> tallow_datasets::Result<ImageRef<'a>> {
        scratch.clear();
        scratch.push(0);
        Ok(ImageRef::new(scratch, 1, 1, 1)?)
    }

    fn shape(&self) -> Option<(usize, usize, usize)> {
        Some((1, 1, 1))
    }

    fn blocks(&self) -> Option<Blocks> {
        self.blocks.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shuffle_is_that_of_the_blocks() {
        let config = LoaderConfig {
            shuffle: true,
            ..LoaderConfig::default()
        };
        let order = |blocks: Option<Blocks>| -> Vec<usize> {
            let loader = blank(8, blocks, config.clone()).unwrap();
            let batches = loader.epoch(0);
            batches.flat_map(|batch| batch.unwrap().indices).collect()
        };
        // A window has one block, whose two samples follow each other.
        let blocks = Blocks::new(vec![0, 0, 1, 1, 2, 2, 3, 3], vec![10; 4], 10).unwrap();
        let streamed = order(Some(blocks));
        let mut pairs = streamed.chunks(2);
        assert!(pairs.all(|pair| pair[0] / 2 == pair[1] / 2), "{streamed:?}");
        let mut all = streamed.clone();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..8));
        assert_ne!(order(None), streamed);
    }
}
