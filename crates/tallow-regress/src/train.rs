//! Training of an experiment: the part of a regression test that the caller provides.

use std::collections::BTreeMap;

use serde_json::Value;
use tallow_record::Run;

use crate::baseline::Data;
use crate::error::TrainError;
use crate::trace::Trace;

/// Number of processors that other programs may use while a speed is measured.
const QUIET: f64 = 0.1;

/// Training of an experiment: the part of a regression test that the caller provides.
pub trait Train {
    /// Data on which the experiment is trained and tested. It is asked for before anything is trained.
    ///
    /// # Errors
    ///
    /// Any error, if the data cannot be read.
    fn data(&mut self) -> Result<Data, TrainError>;

    /// Trains variants of the experiment, each with each seed.
    ///
    /// A run that diverges (its loss is not finite) is not an error: its record has no summary, and its reason is in
    /// [`Trained::diverged`]. Returns `None` if the user interrupted the training.
    ///
    /// # Errors
    ///
    /// Any error, if a variant cannot be trained.
    fn train(&mut self, variants: &[String], seeds: &[u64]) -> Result<Option<Trained>, TrainError>;

    /// Trace of a variant with a seed; `None`, the default, if this trainer makes none. Nothing is trained for it.
    ///
    /// # Errors
    ///
    /// Any error, if the trace cannot be made.
    fn trace(&mut self, _variant: &str, _seed: u64) -> Result<Option<Trace>, TrainError> {
        Ok(None)
    }

    /// Recipe with all defaults filled in, so that a key at its default and a missing key are equal. Returns the recipe itself by
    /// default.
    fn normalize_recipe(&self, recipe: &Value) -> Value {
        recipe.clone()
    }

    /// Receives messages about the progress, such as the variants that are trained again.
    fn notify(&mut self, message: &str) {
        tracing::info!("{message}");
    }
}

/// Result of a training by [`Train`].
#[derive(Debug)]
pub struct Trained {
    /// Records of the runs; at least one.
    pub runs: Vec<Run>,
    /// Computed figures that belong to no variant, for claims about `facts.name`.
    pub facts: BTreeMap<String, f64>,
    /// Reasons for which runs diverged.
    pub diverged: Vec<String>,
    /// Instruction set of the operators, if known.
    pub instruction_set: Option<String>,
    /// Speed of a large matrix product just before, in GFLOP/s.
    pub gemm_peak_gflops: f64,
    /// Mean number of processors that other programs used meanwhile, if known.
    pub others_cpus: Option<f64>,
}

impl Trained {
    /// Whether other programs left the machine to the training, as far as is known.
    pub(crate) fn quiet(&self) -> bool {
        self.others_cpus.is_none_or(|cpus| cpus <= QUIET)
    }
}
