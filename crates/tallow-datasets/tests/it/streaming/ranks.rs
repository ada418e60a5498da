//! Ranks that train on parts of the same batches of a dataset that is streamed: the batches are those of one process, and each rank reads its
//! share of the blocks.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use tallow_datasets::{
    Batch, BatchSlice, Blocks, DataLoader, Dataset, DatasetInfo, ImageRef, LoaderConfig, Result,
};

use super::{How, loader, streamed, train, write_shards};
use crate::sets::make::Dir;

/// Bytes of a window: about 160 samples, and five blocks for each of four chunks.
const WINDOW: u64 = 8000;
const SAMPLES: usize = 900;

fn shards() -> Dir {
    let dir = Dir::new();
    let how = How {
        page: 100,
        ..How::default()
    };
    write_shards(&dir.path("birds"), &[500, 300, 100], &how);
    dir
}

/// Dataset that notes the samples whose images it was asked for.
struct Noting {
    set: Arc<dyn Dataset>,
    asked: Mutex<BTreeSet<usize>>,
}

impl Dataset for Noting {
    fn info(&self) -> &DatasetInfo {
        self.set.info()
    }

    fn len(&self) -> usize {
        self.set.len()
    }

    fn name(&self, index: usize) -> Option<Cow<'_, str>> {
        self.set.name(index)
    }

    fn label(&self, index: usize) -> Result<u32> {
        self.set.label(index)
    }

    fn image<'a>(&'a self, index: usize, scratch: &'a mut Vec<u8>) -> Result<ImageRef<'a>> {
        self.asked.lock().unwrap().insert(index);
        self.set.image(index, scratch)
    }

    fn blocks(&self) -> Option<Blocks> {
        self.set.blocks()
    }
}

fn noting(dir: &Dir) -> Arc<Noting> {
    Arc::new(Noting {
        set: train(&dir.path("birds"), &streamed(WINDOW)).unwrap(),
        asked: Mutex::default(),
    })
}

/// Loader of batches that four chunks share evenly.
fn in_sixteens(set: Arc<Noting>, workers: usize) -> DataLoader {
    let nines = loader(set.clone(), 3, workers);
    let config = LoaderConfig {
        batch_size: 16,
        ..nines.config().clone()
    };
    DataLoader::new(set, nines.transform().clone(), config).unwrap()
}

fn of_rank(loader: DataLoader, rank: usize, world: usize, chunks: usize) -> DataLoader {
    let slice = BatchSlice {
        rank,
        world,
        chunks,
        with_previous: false,
    };
    loader.slice(slice).unwrap()
}

fn bits(batch: &Batch) -> Vec<u32> {
    let images: Vec<f32> = batch.images.flatten_all().unwrap().to_vec1().unwrap();
    images.iter().map(|x| x.to_bits()).collect()
}

/// Blocks that the ranks of a world read in an epoch, one rank after another. Their slices together are the batches of one process.
fn blocks_read(dir: &Dir, world: usize, in_chunks: bool) -> Vec<usize> {
    const CHUNKS: usize = 4;
    let made = |set: Arc<Noting>, workers: usize| {
        let loader = in_sixteens(set, workers);
        match in_chunks {
            true => loader.for_chunks(CHUNKS).unwrap(),
            false => loader,
        }
    };
    let whole = made(noting(dir), 0).epoch(1);
    let whole: Vec<Batch> = whole.map(|batch| batch.unwrap()).collect();
    let mut joined = vec![(Vec::new(), Vec::new()); whole.len()];
    let mut read = Vec::new();
    for rank in 0..world {
        let set = noting(dir);
        let blocks = set.blocks().unwrap();
        let own = of_rank(made(set.clone(), rank % 3), rank, world, CHUNKS);
        let mut samples = BTreeSet::new();
        for (joined, batch) in joined.iter_mut().zip(own.epoch(1)) {
            let batch = batch.unwrap();
            joined.0.extend(bits(&batch));
            joined.1.extend_from_slice(&batch.indices);
            samples.extend(batch.indices);
        }
        // The images of its own chunks are decoded, and no other.
        assert_eq!(*set.asked.lock().unwrap(), samples);
        let of = |sample: &usize| blocks.of()[*sample];
        let own: BTreeSet<u32> = samples.iter().map(of).collect();
        read.push(own.len());
    }
    for (joined, batch) in joined.iter().zip(&whole) {
        assert_eq!((&joined.0, &joined.1), (&bits(batch), &batch.indices));
    }
    let mut all: Vec<usize> = whole.into_iter().flat_map(|batch| batch.indices).collect();
    all.sort_unstable();
    assert!(all.into_iter().eq(0..SAMPLES));
    read
}

#[test]
fn each_rank_reads_its_share_of_the_blocks() {
    let dir = shards();
    let count = noting(&dir).blocks().unwrap().bytes().len();
    assert!(count > 100, "{count}");
    for world in [1, 2, 4] {
        let read = blocks_read(&dir, world, true);
        // A few blocks have two ranks, at the end of the epoch.
        let most = count / world + count / 10;
        assert!(
            read.iter().all(|&read| read <= most),
            "{world}: {read:?} of {count}"
        );
    }
    // In an order that knows of no chunks each rank reads most of them.
    let read = blocks_read(&dir, 2, false);
    assert!(
        read.iter().all(|&read| read > 3 * count / 4),
        "{read:?} of {count}"
    );
}
