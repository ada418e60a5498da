//! Steps of the trainer itself, with its batches, as they are and as a CUDA graph.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use candle_core::Device;
use tallow_datasets::{DataLoader, ImageSet, LoaderConfig, Split};
use tallow_models::{Model, ModelConfig};
use tallow_ops::Precision;
use tallow_train::{TrainConfig, Trainer};
use tallow_transforms::{Compose, TransformConfig};

use crate::bench::{Case, Work};

/// Steps of an epoch.
const STEPS: usize = 200;

/// Epochs, of which the last one is timed: in the first one plans are chosen and a graph is recorded.
const EPOCHS: usize = 3;

/// Milliseconds of a step on made-up images, reading them included.
pub fn step_ms(
    case: &Case,
    precision: Precision,
    device: &Device,
    cuda_graph: bool,
) -> Result<f64> {
    let Work::Network {
        model,
        input,
        optimizer,
    } = &case.work
    else {
        bail!("{} is no network", case.name);
    };
    let config = ModelConfig {
        device: device.clone(),
        ..ModelConfig::new(10, *input)
    };
    let model = Model::build(model, &config)?;
    let config = TrainConfig {
        precision,
        cuda_graph,
        ..TrainConfig::new(EPOCHS, optimizer.clone())
    };
    let loader = loader(*input, case.batch)?;
    let history = Trainer::new(config).fit(&model, model.store(), &loader, None)?;
    let last = history.rows.last().context("no epoch was trained")?;
    Ok(1e3 * case.batch as f64 / last.images_per_second)
}

fn loader(input: (usize, usize, usize), batch: usize) -> Result<DataLoader> {
    let (count, (channels, height, width)) = (STEPS * batch, input);
    let size = channels * height * width;
    let pixels = (0..count * size).map(|i| (i * 131 % 251) as u8).collect();
    let labels = (0..count as u32).map(|i| i * 7 % 10).collect();
    let classes = (0..10).map(|k| k.to_string()).collect();
    let set = ImageSet::from_parts(
        "noise",
        Split::Train,
        "made up",
        classes,
        input,
        pixels,
        labels,
    )?;
    let transforms = Compose::new(vec![
        TransformConfig::to_tensor(),
        TransformConfig::normalize(vec![0.5; channels], vec![0.25; channels]),
    ])?;
    let config = LoaderConfig {
        batch_size: batch,
        shuffle: true,
        num_workers: 4,
        ..LoaderConfig::default()
    };
    Ok(DataLoader::new(Arc::new(set), transforms, config)?)
}
