//! Dataset of blank images.

use std::sync::Arc;

use tallow_datasets::{DataLoader, Dataset, DatasetInfo, ImageRef, LoaderConfig, Split};
use tallow_transforms::{Compose, TransformConfig};

use crate::error::Result;

/// Loader of so many images of one black pixel, all of class 0.
pub(super) fn blank(samples: usize, config: LoaderConfig) -> Result<DataLoader> {
    let set = Blank {
        info: DatasetInfo::new("blank", Split::Train, ["blank"]),
        samples,
    };
    let transform = Compose::new(vec![TransformConfig::to_tensor()])?;
    Ok(DataLoader::new(Arc::new(set), transform, config)?)
}

struct Blank {
    info: DatasetInfo,
    samples: usize,
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
}
