//! Steps of the trainer itself, with its batches, as they are and as a CUDA graph.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use candle_core::Device;
use serde::Serialize;
use tallow_cli::output;
use tallow_datasets::{DataLoader, LoaderConfig};
use tallow_models::{Model, ModelConfig};
use tallow_ops::Precision;
use tallow_train::{TrainConfig, Trainer};
use tallow_transforms::{Compose, TransformConfig};

use crate::bench::{Case, Work, made_up};

/// Steps of an epoch.
const STEPS: usize = 200;

/// Epochs, of which the last one is timed: in the first one plans are chosen and a graph is recorded.
const EPOCHS: usize = 3;

/// Milliseconds of a step on made-up images, reading them included: a line of JSON.
#[derive(Debug, Serialize)]
pub struct Trained<'a> {
    trained: &'a str,
    precision: Precision,
    /// Without a CUDA graph.
    plain_ms: Option<f64>,
    /// With one; nothing if no step was launched as a graph.
    graph_ms: Option<f64>,
    /// Steps that were launched as a graph, of those of all epochs.
    graph_steps: u64,
    steps: u64,
    /// Error that ended the timing.
    pub error: Option<String>,
}

/// Times the steps of a network.
pub fn times<'a>(case: &'a Case, precision: Precision, device: &Device) -> Trained<'a> {
    let mut found = Trained {
        trained: &case.name,
        precision,
        plain_ms: None,
        graph_ms: None,
        graph_steps: 0,
        steps: (STEPS * EPOCHS) as u64,
        error: None,
    };
    let mut both = || -> Result<()> {
        found.plain_ms = Some(step_ms(case, precision, device, false)?.0);
        let (ms, launched) = step_ms(case, precision, device, true)?;
        found.graph_steps = launched;
        found.graph_ms = (launched > 0).then_some(ms);
        Ok(())
    };
    found.error = both().err().map(|error| output::message(&error));
    found
}

/// Milliseconds of a step, and how many steps were launched as a graph.
fn step_ms(
    case: &Case,
    precision: Precision,
    device: &Device,
    cuda_graph: bool,
) -> Result<(f64, u64)> {
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
    let mut trainer = Trainer::new(config);
    let history = trainer.fit(&model, model.store(), &loader, None)?;
    let last = history.rows.last().context("no epoch was trained")?;
    let ms = 1e3 * case.batch as f64 / last.images_per_second;
    Ok((ms, trainer.profile().graph_steps))
}

fn loader(input: (usize, usize, usize), batch: usize) -> Result<DataLoader> {
    let set = made_up(STEPS * batch, input)?;
    let channels = input.0;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::steps;

    #[test]
    fn without_a_graph_there_is_no_time_of_one() {
        let cases = steps().unwrap();
        let case = cases.iter().find(|case| case.name == "fc").unwrap();
        let found = times(case, Precision::F32, &Device::Cpu);
        assert!(found.plain_ms.is_some_and(|ms| ms > 0.), "{found:?}");
        assert_eq!((found.graph_ms, found.graph_steps), (None, 0));
        assert!(found.error.is_none());
        let found = times(case, Precision::Bf16, &Device::Cpu);
        assert!(found.error.unwrap().contains("CUDA"));
    }
}
