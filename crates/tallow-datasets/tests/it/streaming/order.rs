//! Order of samples that are streamed: exact, repeatable, another one each epoch, and the same for any number of workers.

use std::sync::Arc;

use parquet::basic::Compression;
use parquet::file::properties::WriterVersion;
use tallow_datasets::{
    Batch, DataLoader, Dataset, LoadOptions, LoaderConfig, Split, load, stratified_split,
};
use tallow_transforms::{Compose, TransformConfig};

use super::{How, in_memory, label, loader, red, streamed, train, write_shards};
use crate::sets::make::Dir;

/// Shards of very different sizes.
const SIZES: [usize; 5] = [70, 1, 130, 8, 41];
const SAMPLES: usize = 250;

/// Bytes of a window: about 40 samples.
const WINDOW: u64 = 2000;

fn shards(how: &How) -> Dir {
    let dir = Dir::new();
    write_shards(&dir.path("birds/data"), &SIZES, how);
    dir
}

fn bits(batch: Batch) -> (Vec<u32>, Vec<u32>, Vec<usize>) {
    let images: Vec<f32> = batch.images.flatten_all().unwrap().to_vec1().unwrap();
    let images = images.iter().map(|x| x.to_bits()).collect();
    (images, batch.labels.to_vec1().unwrap(), batch.indices)
}

fn indices(loader: &DataLoader, epoch: u64) -> Vec<usize> {
    let batches = loader.epoch(epoch);
    batches.flat_map(|batch| batch.unwrap().indices).collect()
}

/// Every sample is what was stored, in any order of asking, whatever the file looks like inside.
#[test]
fn samples_are_those_of_the_files() {
    let plain = How::default();
    let hows = [
        plain.clone(),
        How {
            compression: Compression::SNAPPY,
            version: WriterVersion::PARQUET_2_0,
            ..plain.clone()
        },
        How {
            page: 1,
            ..plain.clone()
        },
        How {
            group: 1,
            ..plain.clone()
        },
        How {
            group: 1000,
            ..plain.clone()
        },
        // A dictionary that is given up within each row group, and one that is not.
        How {
            dictionary: 500,
            ..plain.clone()
        },
        How {
            dictionary: 1 << 20,
            group: 20,
            ..plain
        },
    ];
    for how in hows {
        let dir = shards(&how);
        let windows = [WINDOW, 1 << 20];
        let streamed = windows.map(|window| train(&dir.path("birds"), &streamed(window)).unwrap());
        let held = train(&dir.path("birds"), &in_memory()).unwrap();
        let mut scratch = Vec::new();
        for set in streamed.iter().chain([&held]) {
            assert_eq!(set.len(), SAMPLES);
            assert_eq!(set.info().classes, ["a", "b", "c", "d", "e"]);
            assert_eq!(set.info().digest, held.info().digest);
            let forward = 0..SAMPLES;
            let jumps = (0..SAMPLES).map(|i| i * 89 % SAMPLES);
            for index in forward.chain(jumps) {
                let image = set.image(index, &mut scratch).unwrap();
                assert_eq!((image.channels, image.height, image.width), (3, 3, 4));
                assert_eq!(image.data[..12], red(index));
                assert_eq!(i64::from(set.label(index).unwrap()), label(index));
            }
            assert!(set.image(SAMPLES, &mut scratch).is_err());
            assert!(set.label(SAMPLES).is_err());
            assert_eq!(set.name(SAMPLES), None);
            let name = set.name(71 + 5).unwrap().into_owned();
            assert_eq!(name, "train-00002-of-00005.parquet, row 5");
        }
    }
}

#[test]
fn epochs_are_exact_and_differ() {
    let dir = shards(&How::default());
    let set = train(&dir.path("birds"), &streamed(WINDOW)).unwrap();
    let first = loader(set.clone(), 3, 2);
    let mut seen = Vec::new();
    for epoch in 0..4 {
        let order = indices(&first, epoch);
        assert_eq!(order.len(), first.num_samples());
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..SAMPLES), "epoch {epoch}");
        seen.push(order);
    }
    seen.push(indices(&loader(set.clone(), 4, 0), 0));
    for (i, order) in seen.iter().enumerate() {
        assert!(seen[..i].iter().all(|other| other != order), "{i}");
    }
    // Loaders and datasets that are made again have the same orders.
    let again = train(&dir.path("birds"), &streamed(WINDOW)).unwrap();
    assert_eq!(indices(&loader(again, 3, 1), 2), seen[2]);
    // Without a shuffle the order is that of the files.
    let config = LoaderConfig::default();
    let transform = Compose::new(vec![TransformConfig::to_tensor()]).unwrap();
    let straight = DataLoader::new(set, transform, config).unwrap();
    assert!(indices(&straight, 1).into_iter().eq(0..SAMPLES));
}

/// The order is local: in a window there are the samples of few blocks.
#[test]
fn samples_of_a_block_are_near_each_other() {
    let dir = shards(&How::default());
    let set = train(&dir.path("birds"), &streamed(WINDOW)).unwrap();
    let blocks = set.blocks().unwrap();
    let total: u64 = blocks.bytes().iter().sum();
    let (windows, largest) = (
        total.div_ceil(WINDOW),
        *blocks.bytes().iter().max().unwrap(),
    );
    assert!(windows >= 5 && largest < WINDOW / 4, "{windows} {largest}");
    let order = indices(&loader(set, 0, 0), 0);
    for block in 0..blocks.bytes().len() {
        let places = order.iter().enumerate();
        let places = places.filter(|(_, sample)| blocks.of()[**sample] as usize == block);
        let places: Vec<usize> = places.map(|(place, _)| place).collect();
        let spread = places.last().unwrap() - places[0];
        // A window has its share of the samples, and a block more or less.
        assert!(spread as u64 <= 2 * SAMPLES as u64 / windows, "{places:?}");
    }
    // In memory, and of a folder, all samples are shuffled together.
    let held = train(&dir.path("birds"), &in_memory()).unwrap();
    assert_eq!(held.blocks(), None);
}

/// Data that fits into memory is shuffled as any dataset that is in memory.
#[test]
fn in_memory_the_shuffle_is_that_of_any_dataset() {
    let dir = shards(&How::default());
    let path = dir.path("birds");
    let held = train(&path, &in_memory()).unwrap();
    let default = train(&path, &LoadOptions::default()).unwrap();
    assert_eq!(default.info(), held.info());
    assert!(held.info().provenance.contains("5 files, in memory"));
    let any = permuted(SAMPLES, 3);
    assert_eq!(indices(&loader(held, 3, 2), 1), any);
    // One window for all is a full shuffle too, another one.
    let one = train(&path, &streamed(1 << 30)).unwrap();
    let mut order = indices(&loader(one, 3, 2), 1);
    assert_ne!(order, any);
    order.sort_unstable();
    assert!(order.into_iter().eq(0..SAMPLES));
}

/// Order of epoch 1 of `RandomSampler`.
fn permuted(samples: usize, seed: u64) -> Vec<usize> {
    use tallow_datasets::{RandomSampler, Sampler};
    RandomSampler::new(samples, seed).indices(1)
}

/// Any number of workers, from any batch on, gives the bits of the whole epoch.
#[test]
fn workers_and_resumption_change_nothing() {
    let how = How {
        compression: Compression::SNAPPY,
        dictionary: 400,
        ..How::default()
    };
    let dir = shards(&how);
    let path = dir.path("birds");
    let set = || train(&path, &streamed(WINDOW)).unwrap();
    let whole: Vec<_> = loader(set(), 7, 0)
        .epoch(5)
        .map(|batch| bits(batch.unwrap()))
        .collect();
    assert_eq!(whole.len(), SAMPLES.div_ceil(9));
    for workers in [0, 1, 2, 5] {
        let loader = loader(set(), 7, workers);
        for first in [0, 1, 2, 13, whole.len() - 1, whole.len(), whole.len() + 3] {
            let rest = loader.epoch_from(5, first);
            let rest: Vec<_> = rest.map(|batch| bits(batch.unwrap())).collect();
            let expected = &whole[first.min(whole.len())..];
            assert!(rest == expected, "{workers} workers from batch {first}");
        }
    }
}

/// The same pages in other row groups have other blocks and so another order, with which no run may go on.
#[test]
fn the_digest_tells_row_groups_apart() {
    let of = |group: usize| {
        let dir = shards(&How {
            page: 1,
            group,
            ..How::default()
        });
        let set = train(&dir.path("birds"), &streamed(WINDOW)).unwrap();
        (set.blocks().unwrap(), set.info().digest.clone())
    };
    let (one, other) = (of(60), of(25));
    assert_ne!(one.0, other.0);
    assert_ne!(one.1, other.1);
}

/// Parts of a dataset are streamed as the whole is.
#[test]
fn parts_are_streamed_too() {
    let dir = shards(&How::default());
    let set = train(&dir.path("birds"), &streamed(WINDOW)).unwrap();
    let parts = stratified_split(&set, [0.8, 0.2], 0).unwrap();
    let part: Arc<dyn Dataset> = Arc::new(parts[0].clone());
    let blocks = part.blocks().unwrap();
    assert_eq!(blocks.of().len(), 200);
    assert_eq!(blocks.bytes(), set.blocks().unwrap().bytes());
    let order = indices(&loader(part, 1, 2), 0);
    let mut sorted = order.clone();
    sorted.sort_unstable();
    assert!(sorted.into_iter().eq(0..200));
    let near = |a: &usize, b: &usize| blocks.of()[*a] == blocks.of()[*b];
    let pairs = order.windows(2).filter(|pair| near(&pair[0], &pair[1]));
    // Neighbours in a random order of all would be of one block about three times.
    assert!(pairs.count() > 8);
}

/// Splits, and classes without names: the numbers up to the largest of all splits.
#[test]
fn splits_share_their_classes() {
    let how = How {
        names: false,
        ..How::default()
    };
    let dir = shards(&how);
    super::write(&dir.path("birds/test.parquet"), 0..30, &how);
    super::write(&dir.path("birds/valid.parquet"), 0..20, &how);
    let name = format!("parquet:{}", dir.path("birds").display());
    let [train, test] =
        [Split::Train, Split::Test].map(|split| load(&name, split, &dir.options()).unwrap());
    assert_eq!(train.info().classes, ["0", "1", "2", "3", "4"]);
    assert_eq!(train.info().classes, test.info().classes);
    assert_eq!((train.len(), test.len()), (SAMPLES, 30));
    assert_eq!(dir.validation(&name).unwrap().len(), 20);
    assert_ne!(train.info().digest, test.info().digest);
    // A class that cannot be learned.
    let rows = [(super::ppm(0), 7)];
    super::write_rows(&dir.path("birds/test.parquet"), &rows, &how);
    let error = load(&name, Split::Test, &dir.options()).map(|_| ());
    let error = error.unwrap_err().to_string();
    assert!(error.contains("the label 7"), "{error}");
}
