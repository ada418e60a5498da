//! What the runs of a variant came to, seed by seed.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::Value;
use tallow_report::results::{self, Results};
use tallow_report::{Epoch, Run, Statistic};

use super::guard::{EPOCHS_TO_THRESHOLD, GUARDS, SPEED};
use crate::experiment::{Experiment, Recipe};
use crate::normalisation::digest;

/// A forward and a backward pass take about three times the arithmetic of the forward pass, and a multiplication comes with an addition.
const OPERATIONS: f64 = 3.0 * 2.0;

type Figures = BTreeMap<String, Option<f64>>;

/// One variant over some seeds.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// The variant's name.
    pub name: String,
    /// Its model's.
    pub model: String,
    /// All that decides what was computed, but the seed.
    pub recipe: Value,
    /// One a run.
    pub seeds: Vec<u64>,
    /// Of each run, the figures of its summary; one that is missing was not finite. `None` where training came to such a loss.
    figures: Vec<Option<Figures>>,
    /// Of each run, the test accuracy after each epoch.
    curves: Vec<Vec<f64>>,
    /// Of each run, the SHA-256 of the weights it ended with, where they were kept.
    pub weights: Vec<Option<String>>,
}

impl Measured {
    /// The variants of an experiment, as the records of its runs tell them. `gemm_gflops` is the speed of a large matrix product.
    pub fn of_runs(experiment: &Experiment, runs: &[Run], gemm_gflops: f64) -> Result<Vec<Self>> {
        let mut all = Vec::new();
        for variant in &experiment.variants {
            let mut measured = Self {
                name: variant.name.clone(),
                model: variant.recipe.model.name.clone(),
                recipe: recipe(&variant.recipe)?,
                seeds: Vec::new(),
                figures: Vec::new(),
                curves: Vec::new(),
                weights: Vec::new(),
            };
            for run in runs.iter().filter(|run| run.info.variant == variant.name) {
                let mut figures = run.summary.as_ref().map(|s| s.metrics.clone());
                if let Some(figures) = &mut figures
                    && let Some(speed) = speed(figures, gemm_gflops)
                {
                    figures.insert(SPEED.to_string(), Some(speed));
                }
                let file = run.dir.join("model.safetensors");
                let weights = figures.is_some().then(|| digest(&file)).transpose()?;
                measured.seeds.push(run.info.seed);
                measured.figures.push(figures);
                measured.curves.push(curve(&run.epochs));
                measured.weights.push(weights);
            }
            all.push(measured);
        }
        Ok(all)
    }

    /// The variants of a results file, which keeps neither weights nor what the machine could do.
    pub fn of_results(results: &Results) -> Vec<Self> {
        let of = |variant: &results::Variant| {
            let count = variant.seeds.len();
            let figures = (0..count).map(|run| {
                let value = |(name, statistic): (&String, &Statistic)| {
                    // Fewer values than seeds: one was not finite, and it is not told which.
                    let value = (statistic.values.len() == count).then(|| statistic.values[run]);
                    (name.clone(), value)
                };
                Some(variant.metrics.iter().map(value).collect())
            });
            Self {
                name: variant.name.clone(),
                model: variant.model.clone(),
                recipe: without_workers(variant.recipe.clone()),
                seeds: variant.seeds.clone(),
                figures: figures.collect(),
                curves: variant.runs.iter().map(|run| curve(&run.epochs)).collect(),
                weights: vec![None; count],
            }
        };
        results.variants.iter().map(of).collect()
    }

    /// Takes the speeds out, where they say nothing.
    pub fn forget_speed(&mut self) {
        for figures in self.figures.iter_mut().flatten() {
            figures.remove(SPEED);
        }
    }

    /// A figure of each run.
    pub fn values(&self, metric: &str, threshold: Option<f64>) -> Vec<Option<f64>> {
        let of = |(figures, curve): (&Option<Figures>, &Vec<f64>)| {
            let figures = figures.as_ref()?;
            match metric {
                EPOCHS_TO_THRESHOLD => Some(epochs_to(curve, threshold?)),
                _ => figures.get(metric).copied().flatten(),
            }
        };
        self.figures.iter().zip(&self.curves).map(of).collect()
    }

    /// What the baseline's runs are to reach: nine tenths of what they do in the end.
    pub fn threshold(&self) -> Option<f64> {
        let accuracies: Option<Vec<f64>> = self.values("test_accuracy", None).into_iter().collect();
        let mean = Statistic::of(&accuracies?)?.mean;
        Some((0.9 * mean * 1000.0).round() / 1000.0)
    }

    /// The figures that are compared, over the seeds. Those that a run lacks are left out.
    pub fn statistics(&self, threshold: Option<f64>) -> BTreeMap<String, Statistic> {
        let statistic = |metric: &str| {
            let values: Option<Vec<f64>> = self.values(metric, threshold).into_iter().collect();
            Some((metric.to_string(), Statistic::of(&values?)?))
        };
        (GUARDS.iter())
            .filter_map(|guard| statistic(guard.metric))
            .collect()
    }

    /// Any figure of a run's summary, averaged over the seeds that have it, for claims; NaN where most have not.
    pub fn mean(&self, metric: &str) -> f64 {
        let values: Vec<f64> = self.values(metric, None).into_iter().flatten().collect();
        match Statistic::of(&values) {
            Some(statistic) if 2 * values.len() > self.seeds.len() => statistic.mean,
            _ => f64::NAN,
        }
    }
}

/// The recipe without what changes no figure.
pub fn recipe(recipe: &Recipe) -> Result<Value> {
    Ok(without_workers(serde_json::to_value(recipe)?))
}

fn without_workers(mut recipe: Value) -> Value {
    if let Some(train) = recipe.get_mut("train").and_then(Value::as_object_mut) {
        train.remove("workers");
    }
    recipe
}

fn curve(epochs: &[Epoch]) -> Vec<f64> {
    let accuracy = |epoch: &Epoch| epoch.test_accuracy.unwrap_or(f64::NAN);
    epochs.iter().map(accuracy).collect()
}

fn epochs_to(curve: &[f64], threshold: f64) -> f64 {
    let reached = curve.iter().position(|&accuracy| accuracy >= threshold);
    (reached.unwrap_or(curve.len()) + 1) as f64
}

fn speed(figures: &Figures, gemm_gflops: f64) -> Option<f64> {
    let of = |name: &str| figures.get(name).copied().flatten();
    let gflops = OPERATIONS * of("images_per_second")? * of("multiply_adds")? / 1e9;
    Some(gflops / gemm_gflops)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_epochs_to_a_threshold() {
        assert_eq!(epochs_to(&[0.5, 0.7, 0.6], 0.5), 1.0);
        assert_eq!(epochs_to(&[0.5, 0.7, 0.6], 0.65), 2.0);
        assert_eq!(epochs_to(&[0.5, f64::NAN, 0.6], 0.9), 4.0);
    }

    #[test]
    fn a_mean_is_of_most_of_the_seeds() {
        let of = |accuracies: &[Option<f64>]| {
            let figures = |value: &Option<f64>| {
                value.map(|value| Figures::from([("test_accuracy".to_string(), Some(value))]))
            };
            let measured = Measured {
                name: "cnn".to_string(),
                model: "cnn".to_string(),
                recipe: Value::Null,
                seeds: (0..accuracies.len() as u64).collect(),
                figures: accuracies.iter().map(figures).collect(),
                curves: vec![vec![0.9]; accuracies.len()],
                weights: vec![None; accuracies.len()],
            };
            assert_eq!(
                measured.values(EPOCHS_TO_THRESHOLD, Some(0.5)),
                accuracies
                    .iter()
                    .map(|a| a.map(|_| 1.0))
                    .collect::<Vec<_>>()
            );
            measured.mean("test_accuracy")
        };
        assert_eq!(of(&[Some(0.5), None, Some(1.0)]), 0.75);
        assert!(of(&[None, None, Some(1.0)]).is_nan());
        assert!(of(&[None]).is_nan());
    }

    #[test]
    fn speed_is_a_share_of_the_peak() {
        let figures = [
            ("images_per_second".to_string(), Some(1000.0)),
            ("multiply_adds".to_string(), Some(1e6)),
        ];
        let speed = speed(&figures.into(), 60.0).unwrap();
        assert!((speed - 0.1).abs() < 1e-12);
    }

    #[test]
    fn workers_are_no_part_of_a_recipe() {
        let with = |workers| serde_json::json!({"train": {"epochs": 1, "workers": workers}});
        assert_eq!(without_workers(with(1)), without_workers(with(4)));
    }
}
