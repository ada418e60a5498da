//! Blocks of pictures in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::Result;

/// Blocks that were read last, up to a number of bytes. Threads that need the same block wait for the one that reads it.
pub(super) struct Cache<T> {
    capacity: u64,
    held: Mutex<Held<T>>,
}

struct Held<T> {
    blocks: HashMap<u32, Block<T>>,
    bytes: u64,
    /// Number of requests so far.
    clock: u64,
}

struct Block<T> {
    /// Contents, once they are read.
    slot: Arc<Slot<T>>,
    bytes: u64,
    /// Last request for it.
    used: u64,
}

type Slot<T> = Mutex<Option<Arc<T>>>;

impl<T> Cache<T> {
    /// Cache of `capacity` bytes, and of one block where that is larger.
    pub fn new(capacity: u64) -> Self {
        let held = Held {
            blocks: HashMap::new(),
            bytes: 0,
            clock: 0,
        };
        Self {
            capacity,
            held: Mutex::new(held),
        }
    }

    /// Block `number` of `bytes` bytes, read by `read` if it is not held.
    pub fn get(&self, number: u32, bytes: u64, read: impl FnOnce() -> Result<T>) -> Result<Arc<T>> {
        let slot = locked(&self.held).slot(number, bytes, self.capacity);
        let mut contents = locked(&slot);
        if let Some(contents) = &*contents {
            return Ok(contents.clone());
        }
        // Where that fails, the next request tries again.
        let new = Arc::new(read()?);
        *contents = Some(new.clone());
        Ok(new)
    }
}

impl<T> Held<T> {
    /// Slot of a block. To make room for a new one, those that were not used for longest are dropped.
    fn slot(&mut self, number: u32, bytes: u64, capacity: u64) -> Arc<Slot<T>> {
        self.clock += 1;
        if let Some(block) = self.blocks.get_mut(&number) {
            block.used = self.clock;
            return block.slot.clone();
        }
        while self.bytes.saturating_add(bytes) > capacity
            && let Some(oldest) = self.oldest()
            && let Some(block) = self.blocks.remove(&oldest)
        {
            self.bytes -= block.bytes;
        }
        let slot: Arc<Slot<T>> = Arc::default();
        let block = Block {
            slot: slot.clone(),
            bytes,
            used: self.clock,
        };
        self.blocks.insert(number, block);
        self.bytes += bytes;
        slot
    }

    fn oldest(&self) -> Option<u32> {
        let blocks = self.blocks.iter();
        let oldest = blocks.min_by_key(|(_, block)| block.used);
        oldest.map(|(number, _)| *number)
    }
}

/// Lock that a panic does not spoil: nothing here is left half-changed.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::block_sampler::BlockSampler;
    use crate::blocks::Blocks;
    use crate::error::Error;
    use crate::sampler::Sampler;

    #[test]
    fn the_oldest_blocks_make_room() {
        let cache = Cache::new(30);
        let reads = Cell::new(0);
        let get = |number: u32| {
            let read = || {
                reads.set(reads.get() + 1);
                Ok(number)
            };
            assert_eq!(*cache.get(number, 10, read).unwrap(), number);
            reads.get()
        };
        assert_eq!([get(0), get(1), get(2), get(0)], [1, 2, 3, 3]);
        // Block 1 goes, which was used before 0.
        assert_eq!([get(3), get(0), get(2), get(1)], [4, 4, 4, 5]);
        assert_eq!(locked(&cache.held).bytes, 30);
        // One that is larger than the cache is held alone.
        assert_eq!(*cache.get(9, 100, || Ok(9)).unwrap(), 9);
        assert_eq!(locked(&cache.held).bytes, 100);
        assert_eq!(*cache.get(9, 100, || Ok(8)).unwrap(), 9);
    }

    #[test]
    fn a_block_that_cannot_be_read_is_tried_again() {
        let cache = Cache::new(10);
        let failed = cache.get(1, 5, || Err(Error::Loader("no".into())));
        assert!(failed.is_err());
        assert_eq!(*cache.get(1, 5, || Ok('a')).unwrap(), 'a');
    }

    #[test]
    fn threads_share_a_block() {
        let cache = Cache::new(10);
        let reads = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let read = || {
                        std::thread::sleep(std::time::Duration::from_millis(5));
                        Ok(reads.fetch_add(1, Ordering::Relaxed))
                    };
                    assert_eq!(*cache.get(0, 5, read).unwrap(), 0);
                });
            }
        });
        assert_eq!(reads.into_inner(), 1);
    }

    /// In the order of its sampler a cache of two windows reads each block once in an epoch; in any order it would read most for each sample.
    #[test]
    fn each_block_is_read_once_an_epoch() {
        let of: Vec<u32> = (0..4000).map(|sample| sample / 20).collect();
        let blocks = Blocks::new(of.clone(), vec![100; 200], 2000).unwrap();
        let reads = |order: &[usize]| {
            let (cache, reads) = (Cache::new(4000), Cell::new(0));
            for &sample in order {
                let read = || {
                    reads.set(reads.get() + 1);
                    Ok(())
                };
                cache.get(of[sample], 100, read).unwrap();
            }
            reads.get()
        };
        let sampler = BlockSampler::new(&blocks, 0);
        assert_eq!(reads(&sampler.indices(0)), 200);
        let random = crate::sampler::RandomSampler::new(4000, 0);
        assert!(reads(&random.indices(0)) > 2000);
    }
}
