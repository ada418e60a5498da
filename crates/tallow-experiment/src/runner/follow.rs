//! Runs of an experiment on the ranks that write nothing.

use std::path::PathBuf;

use super::{Runner, plan, together};
use crate::data::Splits;
use crate::error::{Context, Result};
use crate::experiment::Experiment;
use crate::job::{Job, Setting};
use crate::progress::{NoProgress, Progress};
use crate::teacher;

impl Runner {
    /// Trains the runs of an experiment together with the first rank, on which [`run`](Self::run) writes the records and judges the
    /// claims. False if the runs were interrupted.
    ///
    /// All ranks need a [`communicator`](super::RunnerOptions::communicator) and the same options, apart from folders.
    ///
    /// # Errors
    /// As [`run`](Self::run); and when the ranks differ, or one has ended.
    pub fn follow(&mut self, experiment: &Experiment) -> Result<bool> {
        let (weights, splits) = self.load_in_turn(experiment, &mut NoProgress)?;
        let options = &self.options;
        let setting = Setting {
            experiment,
            splits: &splits,
            device: &options.device,
            registry: &options.registry,
            teachers: &teacher::load(experiment, &splits, &options.device, &options.registry)?,
            communicator: &options.communicator,
        };
        together::check_same(&setting, &options.commit)?;
        plan(&setting, &weights)?;
        let finished = together::hear_finished(&*options.communicator)?;
        let variants = experiment.variants.iter().zip(&weights);
        let runs = variants.flat_map(|pair| experiment.seeds.iter().map(move |&seed| (pair, seed)));
        for (((variant, file), seed), _) in runs.zip(finished).filter(|(_, finished)| !finished) {
            let followed = Job::new(&setting, variant, file.as_deref(), seed)
                .and_then(|job| job.follow(&options.stop))
                .context(|| format!("{} seed {seed}", variant.name));
            match followed {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(error) if options.skip_diverged && error.is_non_finite_loss() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Files of weights of the variants and the data, which are found or downloaded by one rank of each machine before the others.
    pub(super) fn load_in_turn(
        &mut self,
        experiment: &Experiment,
        progress: &mut dyn Progress,
    ) -> Result<(Vec<Option<PathBuf>>, Splits)> {
        let communicator = self.options.communicator.clone();
        together::in_turn(&*communicator, || {
            let weights = self.weights(experiment, progress)?;
            Ok((weights, self.load(experiment, progress)?))
        })
    }
}
