//! The data loader on small made-up sets.

mod arranged;
mod samplers;
mod shapes;
mod shares;
mod told;
mod workers;

use std::collections::HashSet;
use std::sync::Arc;

use tallow_datasets::{
    Batch, DataLoader, Dataset, ImageRef, ImageSet, LoaderConfig, Result, Split,
};
use tallow_transforms::{Compose, SampleRng, TransformConfig};

const CLASSES: u32 = 7;

/// `n` images of 2 x 4 x 6 whose every pixel tells which sample it is of.
fn set(n: usize) -> ImageSet {
    let pixels = (0..n * 48)
        .map(|i| (i / 48 * 31 + i % 48 * 5) as u8)
        .collect();
    let labels = (0..n as u32).map(|i| i % CLASSES).collect();
    let classes = (0..CLASSES).map(|c| c.to_string()).collect();
    ImageSet::from_parts(
        "made up",
        Split::Train,
        "made up",
        classes,
        (2, 4, 6),
        pixels,
        labels,
    )
    .unwrap()
}

fn plain() -> Compose {
    Compose::new(vec![TransformConfig::to_tensor()]).unwrap()
}

fn random() -> Compose {
    Compose::new(vec![
        TransformConfig::random_crop(4, 2),
        TransformConfig::random_horizontal_flip(0.5),
        TransformConfig::to_tensor(),
        TransformConfig::normalize([0.4, 0.5], [0.2, 0.3]),
    ])
    .unwrap()
}

fn config(batch_size: usize, num_workers: usize) -> LoaderConfig {
    LoaderConfig {
        batch_size,
        shuffle: true,
        num_workers,
        seed: 3,
        ..LoaderConfig::default()
    }
}

fn loader(dataset: impl Dataset + 'static, transform: Compose, config: LoaderConfig) -> DataLoader {
    DataLoader::new(Arc::new(dataset), transform, config).unwrap()
}

fn bits(batch: &Batch) -> (Vec<usize>, Vec<u32>, Vec<u32>, Vec<usize>) {
    let images: Vec<f32> = batch.images.flatten_all().unwrap().to_vec1().unwrap();
    let images = images.iter().map(|x| x.to_bits()).collect();
    (
        batch.images.dims().to_vec(),
        images,
        batch.labels.to_vec1().unwrap(),
        batch.indices.clone(),
    )
}

#[test]
fn a_batch_holds_its_samples() {
    let set = set(20);
    let transform = random();
    let loader = loader(set.clone(), transform.clone(), config(8, 0));
    for epoch in 0..2 {
        for batch in loader.epoch(epoch) {
            let batch = batch.unwrap();
            assert_eq!(batch.images.dims(), [batch.indices.len(), 2, 4, 4]);
            assert_eq!(batch.images.dtype(), candle_core::DType::F32);
            let (_, images, labels, indices) = bits(&batch);
            for (i, &index) in indices.iter().enumerate() {
                let mut expected = [0.0f32; 32];
                let image = set
                    .image(index, &mut Vec::new())
                    .map(|image| (image.data.to_vec(), image.shape()));
                let (data, (c, h, w)) = image.unwrap();
                let image = ImageRef {
                    data: &data,
                    channels: c,
                    height: h,
                    width: w,
                };
                let mut rng = SampleRng::new(3, epoch, index as u64);
                transform.apply(image, &mut rng, &mut expected).unwrap();
                assert_eq!(images[i * 32..][..32], expected.map(f32::to_bits));
                assert_eq!(labels[i], set.labels()[index]);
            }
        }
    }
}

#[test]
fn epochs_are_exact() {
    for (samples, size) in [(20, 8), (24, 8), (3, 8), (1, 1), (8, 8), (9, 1)] {
        for workers in [0, 2] {
            for drop_last in [false, true] {
                let config = LoaderConfig {
                    drop_last,
                    ..config(size, workers)
                };
                let loader = loader(set(samples), plain(), config);
                let batches: Vec<Batch> = loader.epoch(1).collect::<Result<_>>().unwrap();
                assert_eq!(batches.len(), loader.num_batches());
                let sizes: Vec<usize> = batches.iter().map(|batch| batch.indices.len()).collect();
                let seen: Vec<usize> = batches
                    .into_iter()
                    .flat_map(|batch| batch.indices)
                    .collect();
                assert_eq!(seen.len(), loader.num_samples());
                assert_eq!(
                    seen.len(),
                    if drop_last {
                        samples / size * size
                    } else {
                        samples
                    }
                );
                assert_eq!(
                    seen.iter().collect::<HashSet<_>>().len(),
                    seen.len(),
                    "no sample twice"
                );
                let full = sizes.iter().filter(|&&n| n == size).count();
                assert!(
                    full >= sizes.len().saturating_sub(usize::from(!drop_last)),
                    "{sizes:?}"
                );
            }
        }
    }
}

#[test]
fn order() {
    let indices = |shuffle, seed, epoch| -> Vec<usize> {
        let config = LoaderConfig {
            shuffle,
            seed,
            ..config(4, 0)
        };
        let epoch = loader(set(50), plain(), config).epoch(epoch);
        epoch.flat_map(|batch| batch.unwrap().indices).collect()
    };
    assert!(indices(false, 1, 0).into_iter().eq(0..50));
    assert_eq!(indices(true, 1, 4), indices(true, 1, 4));
    assert_ne!(indices(true, 1, 4), indices(true, 1, 5));
    assert_ne!(indices(true, 1, 4), indices(true, 2, 4));
    let (a, b) = (indices(true, 1, 0), indices(true, 1, 1));
    assert!(a.iter().zip(&b).filter(|(a, b)| a == b).count() < 10);
}

#[test]
fn no_batch_at_all() {
    for workers in [0, 2] {
        let config = LoaderConfig {
            drop_last: true,
            ..config(8, workers)
        };
        let loader = loader(set(7), plain(), config);
        assert_eq!((loader.num_batches(), loader.num_samples()), (0, 0));
        assert_eq!(loader.epoch(0).count(), 0);
    }
    let huge = loader(set(7), plain(), config(usize::MAX, 0));
    assert_eq!(huge.epoch(0).next().unwrap().unwrap().indices.len(), 7);
}

#[test]
fn shards_share_out_the_epoch() {
    let whole: Vec<usize> = loader(set(22), random(), config(4, 0))
        .epoch(1)
        .flat_map(|b| b.unwrap().indices)
        .collect();
    let mut parts = Vec::new();
    for rank in 0..3 {
        let shard = loader(set(22), random(), config(4, 1))
            .shard(rank, 3)
            .unwrap();
        let seen: Vec<usize> = shard.epoch(1).flat_map(|b| b.unwrap().indices).collect();
        assert_eq!(seen.len(), shard.num_samples());
        assert!(seen.iter().eq(whole.iter().skip(rank).step_by(3)));
        parts.extend(seen);
    }
    parts.sort_unstable();
    assert!(parts.into_iter().eq(0..22));
    assert!(loader(set(22), plain(), config(4, 0)).shard(3, 3).is_err());
}

#[test]
fn config_from_text() {
    let config: LoaderConfig =
        serde_json::from_str(r#"{"batch_size": 32, "shuffle": true}"#).unwrap();
    assert_eq!(
        config,
        LoaderConfig {
            batch_size: 32,
            shuffle: true,
            ..LoaderConfig::default()
        }
    );
    assert!(serde_json::from_str::<LoaderConfig>(r#"{"batchsize": 32}"#).is_err());
}
