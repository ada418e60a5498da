//! Datasets that misbehave or differ from image to image.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tallow_datasets::{Dataset, DatasetInfo, ImageRef, ImageSet, Result};

use crate::loader::set;

/// A dataset that does as told, and counts what is asked of it.
pub struct Told {
    inner: ImageSet,
    image: Box<dyn Fn(usize) -> Result<()> + Send + Sync>,
    pub asked: Arc<AtomicUsize>,
}

impl Told {
    pub fn new(n: usize, image: impl Fn(usize) -> Result<()> + Send + Sync + 'static) -> Self {
        Self {
            inner: set(n),
            image: Box::new(image),
            asked: Arc::default(),
        }
    }
}

impl Dataset for Told {
    fn info(&self) -> &DatasetInfo {
        self.inner.info()
    }
    fn len(&self) -> usize {
        self.inner.len()
    }
    fn shape(&self) -> Option<(usize, usize, usize)> {
        None
    }
    fn label(&self, index: usize) -> Result<u32> {
        self.inner.label(index)
    }
    fn image<'a>(&'a self, index: usize, scratch: &'a mut Vec<u8>) -> Result<ImageRef<'a>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        (self.image)(index)?;
        self.inner.image(index, scratch)
    }
}

/// Images of 1 x 2 x `widths[index]`, decoded anew each time.
pub struct Ragged {
    widths: Vec<usize>,
    info: DatasetInfo,
    pub threads: Mutex<HashSet<std::thread::ThreadId>>,
}

impl Ragged {
    pub fn new(widths: &[usize]) -> Self {
        Self {
            widths: widths.to_vec(),
            info: set(1).info().clone(),
            threads: Mutex::default(),
        }
    }
}

impl Dataset for Ragged {
    fn info(&self) -> &DatasetInfo {
        &self.info
    }
    fn len(&self) -> usize {
        self.widths.len()
    }
    fn shape(&self) -> Option<(usize, usize, usize)> {
        None
    }
    fn label(&self, _: usize) -> Result<u32> {
        Ok(0)
    }
    fn image<'a>(&'a self, index: usize, scratch: &'a mut Vec<u8>) -> Result<ImageRef<'a>> {
        self.threads
            .lock()
            .unwrap()
            .insert(std::thread::current().id());
        let width = self.widths[index];
        scratch.clear();
        scratch.resize(2 * width, (index as u8).wrapping_mul(51));
        Ok(ImageRef {
            data: scratch,
            channels: 1,
            height: 2,
            width,
        })
    }
}
