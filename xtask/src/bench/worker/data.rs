//! Our loader, and a whole epoch with it.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, ensure};
use tallow_datasets::{DataLoader, ImageSet, LoadOptions, LoaderConfig, Split, load};
use tallow_models::{Model, ModelConfig};
use tallow_train::{OptimizerConfig, TrainConfig, Trainer};
use tallow_transforms::{Compose, TransformConfig};

use super::job::Job;

/// Made-up images `(C, H, W)` of ten classes.
pub fn made_up(images: usize, shape: (usize, usize, usize)) -> Result<ImageSet> {
    let size = shape.0 * shape.1 * shape.2;
    let pixels = (0..images * size).map(|i| (i * 131 % 251) as u8).collect();
    let labels = (0..images as u32).map(|i| i % 10).collect();
    let classes = (0..10).map(|k| k.to_string()).collect();
    let set = ImageSet::from_parts(
        "noise",
        Split::Train,
        "made up",
        classes,
        shape,
        pixels,
        labels,
    )?;
    Ok(set)
}

/// Crop, flip and normalisation of made-up images the size of CIFAR-10's, an epoch a run.
pub fn loader(images: usize, workers: usize, batch: usize) -> Result<Job> {
    let set = made_up(images, (3, 32, 32))?;
    let transforms = Compose::new(vec![
        TransformConfig::random_crop(32, 4),
        TransformConfig::random_horizontal_flip(0.5),
        TransformConfig::to_tensor(),
        TransformConfig::normalize([0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]),
    ])?;
    let config = LoaderConfig {
        batch_size: batch,
        shuffle: true,
        num_workers: workers,
        ..LoaderConfig::default()
    };
    let loader = DataLoader::new(Arc::new(set), transforms, config)?;
    let mut epoch = 0;
    Ok(Job {
        parameters: None,
        gflop: None,
        pieces: loader.num_batches(),
        run: Box::new(move || {
            epoch += 1;
            let mut seen = 0;
            for batch in loader.epoch(epoch) {
                seen += batch?.indices.len();
            }
            ensure!(seen == images, "{seen} images came of {images}");
            Ok(None)
        }),
    })
}

/// One epoch of the `cnn` on MNIST by the trainer, evaluation included.
pub fn epoch(
    data: &Path,
    workers: usize,
    optimizer: &OptimizerConfig,
    batch: usize,
) -> Result<Job> {
    let options = LoadOptions {
        data_dir: Some(data.to_path_buf()),
        ..LoadOptions::default()
    };
    let transforms = Compose::new(vec![
        TransformConfig::to_tensor(),
        TransformConfig::normalize([0.1307], [0.3081]),
    ])?;
    let loader = |split, shuffle| -> Result<DataLoader> {
        let config = LoaderConfig {
            batch_size: batch,
            shuffle,
            num_workers: workers,
            ..LoaderConfig::default()
        };
        let set = load("mnist", split, &options)?;
        Ok(DataLoader::new(set, transforms.clone(), config)?)
    };
    let (train, test) = (loader(Split::Train, true)?, loader(Split::Test, false)?);
    let config = ModelConfig::new(10, (1, 28, 28));
    let model = Model::build("cnn", &config)?;
    let images = (3 * train.num_samples() + test.num_samples()) as f64;
    let gflop = 2e-9 * images * model.summary()?.multiply_adds as f64;
    let optimizer = optimizer.clone();
    Ok(Job {
        parameters: Some(model.store().num_parameters()),
        gflop: Some(gflop),
        pieces: 1,
        run: Box::new(move || {
            let model = Model::build("cnn", &config)?;
            let history = Trainer::new(TrainConfig::new(1, optimizer.clone())).fit(
                &model,
                model.store(),
                &train,
                Some(&test),
            )?;
            let accuracy = history.rows.last().and_then(|row| row.test_accuracy);
            ensure!(
                accuracy.is_some_and(|a| a >= 0.8),
                "this network did not learn: test accuracy {accuracy:?}"
            );
            Ok(None)
        }),
    })
}
