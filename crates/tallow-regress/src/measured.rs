//! Results of the runs of a variant, seed by seed.

use std::collections::BTreeMap;

use serde_json::Value;
use tallow_record::{EpochRow, Results, Run, Statistic, Variant, sha256_file};

use crate::error::Result;
use crate::figure::Figure;
use crate::guard::{EPOCHS_TO_THRESHOLD, GUARDS, SPEED};
use crate::plan::{Plan, PlannedVariant};
use crate::recipe::comparable;

/// Operations of a training step per multiply-add of the forward pass: forward and backward pass take about three times the
/// arithmetic of the forward pass, and a multiply-add is two operations.
const OPERATIONS: f64 = 3.0 * 2.0;

type Figures = BTreeMap<String, Option<f64>>;

/// Results of one variant over some seeds.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// Name of the variant.
    pub name: String,
    /// Name of its model.
    pub model: String,
    /// Complete recipe: all that determines the result, except the seed.
    pub recipe: Value,
    /// Seeds of the runs.
    pub seeds: Vec<u64>,
    /// Metrics of each run's summary; one that was not finite is `None`. `None` for a run that diverged.
    figures: Vec<Option<Figures>>,
    /// Test accuracy of each run after each epoch.
    curves: Vec<Vec<f64>>,
    /// SHA-256 of the final weights of each run, if they were kept.
    pub weights: Vec<Option<String>>,
}

impl Measured {
    /// Results of the variants of an experiment, from the records of its runs. `gemm_peak_gflops` is the speed of a large matrix
    /// product on the same machine.
    ///
    /// # Errors
    ///
    /// [`Error::Record`](crate::Error::Record) if the weights of a run cannot be read.
    pub fn of_runs(plan: &Plan, runs: &[Run], gemm_peak_gflops: f64) -> Result<Vec<Self>> {
        let of_variant = |variant: &PlannedVariant| {
            let mut measured = Self {
                name: variant.name.clone(),
                model: variant.model.clone(),
                recipe: comparable(variant.recipe.clone()),
                seeds: Vec::new(),
                figures: Vec::new(),
                curves: Vec::new(),
                weights: Vec::new(),
            };
            for run in runs.iter().filter(|run| run.info.variant == variant.name) {
                let mut figures = run.summary.as_ref().map(|s| s.metrics.clone());
                if let Some(figures) = &mut figures
                    && let Some(speed) = speed(figures, gemm_peak_gflops)
                {
                    figures.insert(SPEED.to_string(), Some(speed));
                }
                let file = run.dir.join("model.safetensors");
                let weights = figures.is_some().then(|| sha256_file(&file)).transpose()?;
                measured.seeds.push(run.info.seed);
                measured.figures.push(figures);
                measured.curves.push(curve(&run.epochs));
                measured.weights.push(weights);
            }
            Ok(measured)
        };
        plan.variants.iter().map(of_variant).collect()
    }

    /// Results of the variants of a results file, which holds neither weights nor the speed of the machine.
    pub fn of_results(results: &Results) -> Vec<Self> {
        let of = |variant: &Variant| {
            let count = variant.seeds.len();
            let figures = (0..count).map(|run| {
                let value = |(name, statistic): (&String, &Statistic)| {
                    // Fewer values than seeds: one was not finite, and it is unknown which.
                    let value = (statistic.values.len() == count).then(|| statistic.values[run]);
                    (name.clone(), value)
                };
                Some(variant.metrics.iter().map(value).collect())
            });
            Self {
                name: variant.name.clone(),
                model: variant.model.clone(),
                recipe: comparable(variant.recipe.clone()),
                seeds: variant.seeds.clone(),
                figures: figures.collect(),
                curves: variant.runs.iter().map(|run| curve(&run.epochs)).collect(),
                weights: vec![None; count],
            }
        };
        results.variants.iter().map(of).collect()
    }

    /// Removes the speeds, if other programs disturbed them.
    pub fn forget_speed(&mut self) {
        for figures in self.figures.iter_mut().flatten() {
            figures.remove(SPEED);
        }
    }

    /// Value of a metric for each run; `None` if it was not finite or the run diverged. `threshold` is that of `epochs_to_threshold`.
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

    /// Threshold of `epochs_to_threshold`: nine tenths of the mean final test accuracy.
    pub fn threshold(&self) -> Option<f64> {
        let accuracies: Option<Vec<f64>> = self.values("test_accuracy", None).into_iter().collect();
        let mean = Statistic::of(&accuracies?)?.mean;
        Some((0.9 * mean * 1000.0).round() / 1000.0)
    }

    /// Metrics that are compared, over the seeds. A metric that is missing for a seed is left out.
    pub fn statistics(&self, threshold: Option<f64>) -> BTreeMap<String, Statistic> {
        let statistic = |metric: &str| {
            let values: Option<Vec<f64>> = self.values(metric, threshold).into_iter().collect();
            Some((metric.to_string(), Statistic::of(&values?)?))
        };
        (GUARDS.iter())
            .filter_map(|guard| statistic(&guard.metric))
            .collect()
    }

    /// Values of a metric of the summaries for the seeds that have it, for claims; NaN if most seeds have not.
    pub fn figure(&self, metric: &str) -> Figure {
        let values = self.seeds.iter().zip(self.values(metric, None));
        let values: Vec<(u64, f64)> = values.filter_map(|(&seed, v)| Some((seed, v?))).collect();
        if 2 * values.len() <= self.seeds.len() {
            return Figure::Constant(f64::NAN);
        }
        let (seeds, values): (Vec<u64>, Vec<f64>) = values.into_iter().unzip();
        match Statistic::of(&values) {
            Some(statistic) => Figure::of(metric, &seeds, &statistic),
            None => Figure::Constant(f64::NAN),
        }
    }
}

fn curve(epochs: &[EpochRow]) -> Vec<f64> {
    let accuracy = |epoch: &EpochRow| epoch.test_accuracy.unwrap_or(f64::NAN);
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
            measured.figure("test_accuracy").mean()
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
}
