//! Regression tests: trains experiments for the comparison with their baselines by `tallow-regress`.

use candle_core::Device;
use serde_json::Value;
use tallow_record::Run;
use tallow_regress::baseline::Data;
use tallow_regress::{Plan, PlannedVariant, Trace, Train, TrainError, Trained};

use crate::error::Result;
use crate::experiment::{Experiment, Variant};
use crate::progress::Progress;
use crate::recipe::Recipe;
use crate::runner::Runner;

/// Measurements of the machine around a training, for the comparison of speeds.
#[derive(Clone, Copy)]
pub struct Machine {
    /// Measures the speed of a large matrix product on a device, in GFLOP/s.
    pub gemm_peak_gflops: fn(&Device) -> candle_core::Result<f64>,
    /// Begins to watch the load of the machine. The function that it returns ends the watch: the mean number of processors that other
    /// programs used, if the system reports it.
    pub watch_load: fn() -> Box<dyn FnOnce() -> Option<f64>>,
}

/// Trainer of one experiment for a comparison with its baseline.
pub struct ExperimentTrainer<'a> {
    /// Runner. With [`skip_diverged`](crate::RunnerOptions::skip_diverged), a diverged run is compared; otherwise it is an error.
    pub runner: &'a mut Runner,
    /// Experiment.
    pub experiment: &'a Experiment,
    /// Command that trains it, for results files.
    pub command: String,
    /// Measurements of the machine.
    pub machine: Machine,
    /// Observer.
    pub progress: &'a mut dyn Progress,
}

/// Plan of the comparison of an experiment with its baseline. `update_command` renews the baseline, for messages.
///
/// # Errors
///
/// [`Error::Json`](crate::Error::Json) if a recipe cannot be written as JSON.
pub fn plan(experiment: &Experiment, update_command: String) -> Result<Plan> {
    let variant = |variant: &Variant| {
        Ok(PlannedVariant {
            name: variant.name.clone(),
            model: variant.recipe.model.name.clone(),
            recipe: serde_json::to_value(&variant.recipe)?,
        })
    };
    Ok(Plan {
        experiment: experiment.name.clone(),
        tier: experiment.tier,
        seeds: experiment.seeds.clone(),
        variants: (experiment.variants.iter())
            .map(variant)
            .collect::<Result<_>>()?,
        claims: experiment.claims.clone(),
        update_command,
    })
}

/// Recipe with all defaults filled in; the recipe itself if this version cannot read it, so that the difference is reported.
pub fn normalize_recipe(recipe: &Value) -> Value {
    Recipe::normalize(recipe).unwrap_or_else(|_| recipe.clone())
}

impl ExperimentTrainer<'_> {
    fn run(&mut self, variants: &[String], seeds: &[u64]) -> Result<Option<Trained>> {
        let mut part = self.experiment.clone();
        part.keep_only(variants)?;
        part.seeds = seeds.to_vec();
        let load = (self.machine.watch_load)();
        let device = &self.runner.options().device;
        let gemm_peak_gflops = (self.machine.gemm_peak_gflops)(device)?;
        let outcome = self.runner.run(&part, &self.command, self.progress)?;
        let Some(outcome) = outcome else {
            return Ok(None);
        };
        let others_cpus = load();
        let runs = outcome.runs.iter().map(Run::read);
        Ok(Some(Trained {
            runs: runs.collect::<Result<_, _>>()?,
            facts: outcome.facts,
            diverged: outcome.diverged,
            instruction_set: Some(tallow_ops::instruction_set().to_string()),
            gemm_peak_gflops,
            others_cpus,
        }))
    }
}

impl Train for ExperimentTrainer<'_> {
    fn data(&mut self) -> Result<Data, TrainError> {
        let data = self.runner.dataset(self.experiment, self.progress)?;
        Ok(Data {
            name: data.name,
            digest: data.digest,
            test_digest: data.test_digest.unwrap_or_default(),
        })
    }

    fn train(&mut self, variants: &[String], seeds: &[u64]) -> Result<Option<Trained>, TrainError> {
        Ok(self.run(variants, seeds)?)
    }

    fn trace(&mut self, variant: &str, seed: u64) -> Result<Option<Trace>, TrainError> {
        let run = (variant, seed);
        Ok(Some(self.runner.trace(
            self.experiment,
            run,
            self.progress,
        )?))
    }

    fn normalize_recipe(&self, recipe: &Value) -> Value {
        normalize_recipe(recipe)
    }

    fn notify(&mut self, message: &str) {
        self.progress.note(message);
    }
}
