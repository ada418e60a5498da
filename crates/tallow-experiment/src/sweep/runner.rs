//! Training of the trials of a sweep.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use tallow_record::SweepResults;
use tallow_train::{Monitor, capture_environment};

use super::plan::Sweep;
use super::records::{Reached, Records, folders, mark_diverged, reached};
use super::results::gather;
use super::shard::Shard;
use super::standing::{Begun, standing};
use crate::data::Splits;
use crate::error::{Context, Error, Result};
use crate::job::{Ended, Job, Session, Setting};
use crate::monitoring::chosen_on_test;
use crate::progress::{NoProgress, PlannedRun, Progress};
use crate::recipe::Data;
use crate::runner::Runner;
use crate::teacher;
use crate::unfinished::{Resume, is_under_way};

/// Settings of a call of [`Runner::sweep`].
#[derive(Debug, Clone, Copy, Default)]
pub struct SweepOptions {
    /// Train the trials of this shard alone.
    pub shard: Option<Shard>,
    /// Train all trials again. Otherwise those that have finished are kept, and those that were interrupted go on.
    pub fresh: bool,
}

/// Run of a trial: the index of the trial and that of the seed.
type TrialRun = (usize, usize);

/// Parts that all trials of a call have in common.
struct Common<'a> {
    sweep: &'a Sweep,
    setting: Setting<'a>,
    /// Files of the initial weights of the trials.
    weights: &'a [Option<PathBuf>],
    /// Digests of the training data of the trials.
    digests: Vec<String>,
    metric: Monitor,
    options: &'a SweepOptions,
    /// Records that do not count.
    ignored: BTreeSet<PathBuf>,
}

impl Runner {
    /// Trains the trials of a sweep, or those of one shard, and returns the results of all that are there. `None` if the
    /// [`StopFlag`](crate::StopFlag) was set.
    ///
    /// Trials are found below the runner's `out` by their recipe, seed and data: those that have finished are kept, and those that were
    /// interrupted continue from their checkpoints. A trial that another process trains when a rung begins is left to it; processes that
    /// share a folder train different shards, else both train the trials that neither has begun. Of successive halving, the trials of a rung
    /// are trained once all trials of the rung before have their results, also those of other shards.
    ///
    /// The runner's settings `results`, `skip_diverged`, `resume` and `reuse` have no effect: a trial whose loss is not finite has ended, and
    /// the others go on.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn sweep(
        &mut self,
        sweep: &Sweep,
        options: &SweepOptions,
        progress: &mut dyn Progress,
    ) -> Result<Option<SweepResults>> {
        let experiment = &sweep.experiment;
        let weights = self.weights(experiment, &mut NoProgress)?;
        let mut files: Vec<&PathBuf> = weights.iter().flatten().collect();
        files.dedup();
        for file in files {
            progress.note(&format!("trials begin with {}", file.display()));
        }
        let splits = self.load(experiment, progress)?;
        let teachers = teacher::load(
            experiment,
            &splits,
            &self.options().device,
            &self.options().registry,
        )?;
        let setting = Setting {
            experiment,
            splits: &splits,
            device: &self.options().device,
            registry: &self.options().registry,
            teachers: &teachers,
            communicator: &self.options().communicator,
        };
        let outs = [self.options().out.clone()];
        let ignored = match options.fresh {
            true => folders(sweep, &outs)?.into_iter().collect(),
            false => BTreeSet::new(),
        };
        let common = Common {
            sweep,
            weights: &weights,
            digests: digests(sweep, &splits)?,
            metric: metric(sweep, &splits)?,
            setting,
            options,
            ignored,
        };
        if let Some(text) = chosen_on_test("sweep.metric", "the trial", common.metric) {
            progress.note(&format!("warning: {text}"));
        }
        let mut work = BTreeMap::new();
        let mut before: Option<Vec<TrialRun>> = None;
        loop {
            let records = Records::read(sweep, &outs, &common.ignored, Some(&common.digests[..]))?;
            let begun = standing(sweep, &records, common.metric);
            let todo = common.todo(&records, &begun);
            if before.is_none() {
                for message in &records.damaged {
                    progress.note(&format!("warning: skipped: {message}"));
                }
                self.note_kept(&common, &records, &begun, progress);
            }
            let Some(rung) = begun.last().filter(|_| !todo.is_empty()) else {
                progress.close();
                common.note_waiting(&begun, progress);
                return gather(sweep, &records, &begun, common.metric).map(Some);
            };
            if before.as_ref() == Some(&todo) {
                let names = common.names(todo.iter().map(|(trial, _)| *trial));
                return Err(Error::RunRecord(format!(
                    "{names}: trained, but there is no record of it below {}",
                    outs[0].display()
                )));
            }
            common.check(&todo, &mut work, progress)?;
            if !self.train_trials(&common, &records, rung, &todo, &work, progress)? {
                return Ok(None);
            }
            before = Some(todo);
        }
    }

    /// Tells how many runs of the present rung had finished before.
    fn note_kept(
        &self,
        common: &Common<'_>,
        records: &Records,
        begun: &[Begun],
        progress: &mut dyn Progress,
    ) {
        let runs = common.runs(begun);
        let done = |run: &&TrialRun| common.is_done(records, begun, **run);
        let kept: Vec<&TrialRun> = runs.iter().filter(done).collect();
        if kept.is_empty() {
            return;
        }
        let options = self.options();
        let here = capture_environment(&options.device, options.commit.clone()).without_command();
        let elsewhere = kept.iter().filter(|(trial, seed)| {
            let record = records.get(*trial, *seed);
            record.is_some_and(|record| record.run.environment.clone().without_command() != here)
        });
        let elsewhere = match elsewhere.count() {
            0 => String::new(),
            count => {
                format!(", {count} of them by another build of the program or on another machine")
            }
        };
        let rung = match common.sweep.rungs.len() {
            1 => String::new(),
            all => format!("rung {} of {all}: ", begun.len()),
        };
        progress.note(&format!(
            "{rung}{} of {} runs had finished before and are kept{elsewhere} (--fresh trains all again)",
            kept.len(),
            runs.len()
        ));
    }

    /// Trains runs up to the end of a rung; false if the flag was set before.
    fn train_trials(
        &self,
        common: &Common<'_>,
        records: &Records,
        rung: &Begun,
        todo: &[TrialRun],
        work: &BTreeMap<usize, f64>,
        progress: &mut dyn Progress,
    ) -> Result<bool> {
        let experiment = common.setting.experiment;
        let runs = todo.iter().filter_map(|(trial, seed)| {
            let variant = experiment.variants.get(*trial)?;
            Some((*trial, *seed, variant, *experiment.seeds.get(*seed)?))
        });
        let runs: Vec<_> = runs.collect();
        let planned = runs.iter().map(|(trial, _, variant, seed)| {
            let all = variant.recipe.train.epochs.max(1);
            let share = rung.epochs.unwrap_or(all).min(all) as f64 / all as f64;
            PlannedRun {
                variant: variant.name.clone(),
                seed: *seed,
                work: share * work.get(trial).copied().unwrap_or(0.0),
            }
        });
        progress.begin(experiment, &planned.collect::<Vec<_>>());
        for (number, (trial, of_seeds, variant, seed)) in (1..).zip(&runs) {
            let known = records.get(*trial, *of_seeds);
            let folder = known.map(|record| record.run.dir.as_path());
            // Without a record of its own, nothing is continued: an older one is of other data, or is not wanted.
            let resume = match folder {
                Some(_) => Resume::Auto,
                None => Resume::Fresh,
            };
            let session = Session {
                out: &self.options().out,
                commit: self.options().commit.clone(),
                stop: &self.options().stop,
                resume: &resume,
                profile: self.options().profile,
                pause: rung.epochs,
                world: self.options().world.clone(),
            };
            let label = format!("[{number}/{}] {} seed {seed}", runs.len(), variant.name);
            let file = common.weights.get(*trial).and_then(|file| file.as_deref());
            let trained = Job::new(&common.setting, variant, file, *seed)
                .and_then(|job| job.train(progress, &session, label, folder, &mut |_| Ok(())));
            match trained {
                Ok(Ended::Finished(_) | Ended::Paused(_)) => {}
                Ok(Ended::Stopped(folder)) => {
                    progress.stopped("interrupted");
                    if let Some(folder) = folder {
                        progress.interrupted(&folder);
                    }
                    return Ok(false);
                }
                Ok(Ended::Diverged(folder, error)) => {
                    let reason = error.message();
                    mark_diverged(&folder, &reason)?;
                    progress.run_failed(&folder, &reason);
                    progress.note(&reason);
                }
                Err(error) => {
                    progress.stopped(&error.message());
                    return Err(error).context(|| common.names([*trial]));
                }
            }
        }
        Ok(true)
    }
}

impl Common<'_> {
    /// Runs of the present rung that are in the shard.
    fn runs(&self, begun: &[Begun]) -> Vec<TrialRun> {
        let trials = begun.last().map_or(&[][..], |rung| &rung.trials[..]);
        let trials = trials.iter().map(|(trial, _)| *trial);
        let mine = trials.filter(|trial| self.is_mine(*trial));
        let seeds = self.setting.experiment.seeds.len();
        mine.flat_map(|trial| (0..seeds).map(move |seed| (trial, seed)))
            .collect()
    }

    /// Whether a trial is in the shard.
    fn is_mine(&self, trial: usize) -> bool {
        self.options.shard.is_none_or(|shard| shard.has(trial + 1))
    }

    /// Whether a run has its result of the present rung.
    fn is_done(&self, records: &Records, begun: &[Begun], (trial, seed): TrialRun) -> bool {
        let epochs = begun.last().and_then(|rung| rung.epochs);
        let result = reached(records.get(trial, seed), epochs, self.metric);
        result != Reached::Missing
    }

    /// Runs of the present rung that are to be trained.
    fn todo(&self, records: &Records, begun: &[Begun]) -> Vec<TrialRun> {
        let mut runs = self.runs(begun);
        runs.retain(|&(trial, seed)| {
            let record = records.get(trial, seed);
            let elsewhere = record.is_some_and(|record| is_under_way(&record.run.dir));
            !elsewhere && !self.is_done(records, begun, (trial, seed))
        });
        runs
    }

    /// Builds the trials of `todo` once, before the first of them is trained, so that a mistake in the last one shows at once, and notes their
    /// amount of work.
    fn check(
        &self,
        todo: &[TrialRun],
        work: &mut BTreeMap<usize, f64>,
        progress: &mut dyn Progress,
    ) -> Result<()> {
        let experiment = self.setting.experiment;
        let mut told = BTreeSet::new();
        let first = work.is_empty();
        for (trial, _) in todo {
            let (Some(variant), Some(seed)) =
                (experiment.variants.get(*trial), experiment.seeds.first())
            else {
                continue;
            };
            if work.contains_key(trial) {
                continue;
            }
            let file = self.weights.get(*trial).and_then(|file| file.as_deref());
            let job = Job::new(&self.setting, variant, file, *seed);
            let place = || self.names([*trial]);
            let job = job.context(place)?;
            if work.is_empty() {
                job.sanity_check().context(place)?;
            }
            work.insert(*trial, job.work().context(place)?);
            // The same for most trials: once is enough.
            let warnings = job.warnings().into_iter();
            let warnings = warnings.map(|text| format!("warning: {text}"));
            for text in warnings.chain(job.notes().iter().cloned()) {
                if first && told.insert(text.clone()) {
                    progress.note(&format!("{}: {text}", variant.name));
                }
            }
        }
        Ok(())
    }

    /// Tells which trials of the present rung have no result yet, and what to do.
    fn note_waiting(&self, begun: &[Begun], progress: &mut dyn Progress) {
        let Some(rung) = begun.last().filter(|rung| !rung.is_complete()) else {
            return;
        };
        let missing = rung.trials.iter();
        let missing = missing.filter(|(_, reached)| *reached == Reached::Missing);
        let missing: Vec<usize> = missing.map(|(trial, _)| *trial).collect();
        let numbers: Vec<String> = missing
            .iter()
            .map(|trial| (trial + 1).to_string())
            .collect();
        let numbers = numbers.join(", ");
        let whose = match missing.iter().any(|trial| self.is_mine(*trial)) {
            true => "which other processes train",
            false => "of other shards",
        };
        progress.note(&match self.sweep.rungs.len() {
            1 => format!("the table lacks the trials {numbers}, {whose}"),
            all => format!(
                "rung {} of {all} is not complete: it waits for the trials {numbers}, {whose}; give the same command again when they are done",
                begun.len()
            ),
        });
    }

    /// Names of trials with their settings, for errors.
    fn names(&self, trials: impl IntoIterator<Item = usize>) -> String {
        let trials = trials.into_iter();
        let trials = trials.filter_map(|trial| self.sweep.trials.get(trial));
        let names = trials.map(|trial| format!("trial {} ({})", trial.number, trial.text()));
        names.collect::<Vec<_>>().join(", ")
    }
}

/// Metric of a sweep on this data.
fn metric(sweep: &Sweep, splits: &Splits) -> Result<Monitor> {
    let validated = match sweep.has_validation() {
        Some(validated) => validated,
        None => splits.validation.is_some(),
    };
    sweep.metric(validated)
}

/// Digests of the training data of the trials.
fn digests(sweep: &Sweep, splits: &Splits) -> Result<Vec<String>> {
    let mut known: Vec<(&Data, String)> = Vec::new();
    let mut digests = Vec::new();
    for variant in &sweep.experiment.variants {
        let data = &variant.recipe.data;
        let digest = match known.iter().find(|(other, _)| *other == data) {
            Some((_, digest)) => digest.clone(),
            None => {
                let digest = splits.select(data)?.train.info().digest.clone();
                known.push((data, digest.clone()));
                digest
            }
        };
        digests.push(digest);
    }
    Ok(digests)
}
