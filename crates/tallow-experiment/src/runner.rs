//! Runner: trains every variant of an experiment with every seed and judges the claims.

mod finished_runs;
mod follow;
mod together;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use candle_core::Device;
use tallow_datasets::{PictureOptions, Streaming};
use tallow_record::{Dataset, Run, World};
use tallow_regress::Trace;
use tallow_train::{Alone, Communicator, capture_environment};

use self::finished_runs::{report_finished, seconds_of, write_report};
use crate::data::{self, Splits};
use crate::error::{Context, Error, Result};
use crate::experiment::Experiment;
use crate::interrupt::StopFlag;
use crate::job::{Ended, Job, Session, Setting, config_text};
use crate::model::Registry;
use crate::monitoring::Validation;
use crate::outcome::{self, Outcome};
use crate::progress::{PlannedRun, Progress};
use crate::reuse::Finished;
use crate::unfinished::{Invocation, Resume};
use crate::{analysis, results, teacher, weights};

/// Options of a [`Runner`].
#[derive(Clone, Debug)]
pub struct RunnerOptions {
    /// Device to compute on; default: the CPU.
    pub device: Device,
    /// Folder to look for data in before the usual places.
    pub data: Option<PathBuf>,
    /// Folder of the run records; default: `runs`.
    pub out: PathBuf,
    /// Folder to write a results file to.
    pub results: Option<PathBuf>,
    /// Commit of the program's source, for the run records.
    pub commit: Option<String>,
    /// Leave a run whose loss is not finite unfinished and go on with the next one, instead of failing.
    pub skip_diverged: bool,
    /// Flag that stops the runner.
    pub stop: StopFlag,
    /// Treatment of unfinished runs, and whether checkpoints are written for them.
    pub resume: Resume,
    /// Keep the finished runs of the same recipe, seed, data, program and machine below `out` instead of training them again.
    pub reuse: bool,
    /// Arguments of the program, to be read again when it continues unfinished runs: [`Invocation::arguments`].
    pub arguments: serde_json::Value,
    /// Measure times and statistics by layer too: `profile.json` has its layers then, and `statistics.json` gradients and activations of
    /// each epoch.
    pub profile: bool,
    /// Models by name.
    pub registry: Registry,
    /// Ranks that train the runs together: the first one runs an experiment, the others [follow](Runner::follow) it.
    pub communicator: Arc<dyn Communicator>,
    /// Processes that train together, for the run records.
    pub world: Option<World>,
}

impl Default for RunnerOptions {
    fn default() -> Self {
        Self {
            device: Device::Cpu,
            data: None,
            out: PathBuf::from("runs"),
            results: None,
            commit: None,
            skip_diverged: false,
            stop: StopFlag::default(),
            resume: Resume::default(),
            reuse: false,
            arguments: serde_json::Value::Null,
            profile: false,
            registry: Registry::default(),
            communicator: Arc::new(Alone),
            world: None,
        }
    }
}

/// Settings that decide which images are loaded.
#[derive(PartialEq)]
struct Source {
    dataset: String,
    test: Option<Validation>,
    pictures: PictureOptions,
    streaming: Streaming,
}

impl Source {
    fn of(experiment: &Experiment) -> Self {
        let (pictures, streaming) = experiment.pictures();
        Self {
            dataset: experiment.dataset().to_string(),
            test: experiment.test().cloned(),
            pictures,
            streaming,
        }
    }
}

/// Runs experiments one after the other and loads each dataset once.
///
/// It computes with the threads of rayon's global pool, which the caller may size.
pub struct Runner {
    options: RunnerOptions,
    loaded: Vec<(Source, Splits)>,
}

impl Runner {
    /// Runner with these options.
    pub fn new(options: RunnerOptions) -> Self {
        Self {
            options,
            loaded: Vec::new(),
        }
    }

    /// Options.
    pub fn options(&self) -> &RunnerOptions {
        &self.options
    }

    /// Options, to change them before the next experiment.
    pub fn options_mut(&mut self) -> &mut RunnerOptions {
        &mut self.options
    }

    /// Description of an experiment's data, which is loaded for it.
    pub fn dataset(
        &mut self,
        experiment: &Experiment,
        progress: &mut dyn Progress,
    ) -> Result<Dataset> {
        Ok(self.load(experiment, progress)?.description())
    }

    /// Trains every variant with every seed, writes run records and a report, and judges the claims. Returns `None` if the
    /// [`StopFlag`] was set. `command` repeats the experiment and is written into the results file.
    ///
    /// All variants are built before the first is trained, so that a mistake in the last one shows at once.
    pub fn run(
        &mut self,
        experiment: &Experiment,
        command: &str,
        progress: &mut dyn Progress,
    ) -> Result<Option<Outcome>> {
        let started = Instant::now();
        let (weights, splits) = self.load_in_turn(experiment, progress)?;
        let setting = Setting {
            experiment,
            splits: &splits,
            device: &self.options.device,
            registry: &self.options.registry,
            teachers: &teacher::load(
                experiment,
                &splits,
                &self.options.device,
                &self.options.registry,
            )?,
            communicator: &self.options.communicator,
        };
        together::check_same(&setting, &self.options.commit)?;
        let (plan, notes) = plan(&setting, &weights)?;
        for note in &notes {
            progress.note(note);
        }
        for (variant, file) in experiment.variants.iter().zip(&weights) {
            if let Some(path) = file {
                progress.note(&format!("{} begins with {}", variant.name, path.display()));
            }
        }
        let mut invocation = self.invocation(experiment)?;
        let mut finished = match &invocation {
            Some(invocation) => finished(&setting, invocation)?,
            None => vec![None; plan.len()],
        };
        if self.options.reuse {
            self.reuse(&setting, &mut finished, invocation.as_mut())?;
        }
        together::tell_finished(&*self.options.communicator, &finished)?;
        let left = plan.iter().zip(&finished);
        let left = left.filter(|(_, folder)| folder.is_none());
        let left: Vec<PlannedRun> = left.map(|(planned, _)| planned.clone()).collect();
        if left.len() < plan.len() {
            let done = plan.len() - left.len();
            progress.note(&format!(
                "{done} of {} runs had finished before and are kept",
                plan.len()
            ));
        }
        progress.begin(experiment, &left);
        let trained = self.train(&setting, &weights, &finished, invocation.as_mut(), progress);
        let Trained {
            folders,
            diverged,
            stopped,
        } = trained?;
        if stopped {
            report_finished(experiment, &folders, plan.len(), progress)?;
            return Ok(None);
        }
        if let Some(invocation) = &invocation {
            invocation.end()?;
        }
        progress.close();

        let runs: Vec<Run> = (folders.iter()).map(Run::read).collect::<Result<_, _>>()?;
        let variants = outcome::of_runs(experiment, &runs);
        let facts = analysis::compute(&experiment.analyses)?;
        let of = |name: &str| {
            let variant = variants.iter().find(|v| v.name == name)?;
            Some((&variant.seeds[..], &variant.metrics))
        };
        let figure = |name: &str, metric: &str| outcome::figure(of, &facts, name, metric);
        let (claims, statements) = experiment.judge(figure);
        let outcome = Outcome {
            experiment: experiment.name.clone(),
            tier: experiment.tier,
            dataset: splits.description(),
            claims,
            statements,
            variants,
            facts,
            runs: folders,
            diverged,
            seconds: started.elapsed().as_secs_f64() + seconds_of(&runs, &finished),
        };
        write_report(experiment, &runs, "report", progress);
        progress.judged(&outcome);
        if let Some(folder) = &self.options.results {
            let path = results::write(folder, experiment, &outcome, &runs, command)?;
            progress.note(&format!("results: {}", path.display()));
        }
        Ok(Some(outcome))
    }

    /// Trace of a variant with a seed: what its training does that neither chance nor the rounding of a kernel changes. Nothing is
    /// trained.
    ///
    /// # Errors
    /// As [`run`](Self::run) before its first step.
    pub fn trace(
        &mut self,
        experiment: &Experiment,
        (variant, seed): (&str, u64),
        progress: &mut dyn Progress,
    ) -> Result<Trace> {
        let mut part = experiment.clone();
        part.keep_only(&[variant.to_string()])?;
        let weights = self.weights(&part, progress)?;
        let splits = self.load(&part, progress)?;
        let setting = Setting {
            experiment: &part,
            splits: &splits,
            device: &self.options.device,
            registry: &self.options.registry,
            teachers: &[],
            communicator: &self.options.communicator,
        };
        let found = part.variants.iter().zip(&weights).next();
        let (chosen, file) = found.ok_or_else(|| Error::unknown("variant", variant, &[]))?;
        Job::new(&setting, chosen, file.as_deref(), seed)
            .and_then(Job::trace)
            .context(|| format!("variant `{variant}`"))
    }

    /// List of the runs of an experiment, if they can be continued later: a new one, or an unfinished one that is continued.
    fn invocation(&self, experiment: &Experiment) -> Result<Option<Invocation>> {
        let RunnerOptions {
            out,
            resume,
            arguments,
            ..
        } = &self.options;
        if !resume.is_on() {
            return Ok(None);
        }
        let mut configs = Vec::new();
        for (variant, seed) in experiment.runs() {
            let run = (variant.name.as_str(), seed);
            configs.push(config_text(experiment, run, &variant.recipe)?);
        }
        Invocation::begin(out, &experiment.name, configs, arguments.clone(), resume).map(Some)
    }

    /// Finds finished runs that those without a folder would repeat.
    fn reuse(
        &self,
        setting: &Setting<'_>,
        finished: &mut [Option<PathBuf>],
        mut invocation: Option<&mut Invocation>,
    ) -> Result<()> {
        let environment = capture_environment(&self.options.device, self.options.commit.clone());
        let experiment = setting.experiment;
        let before = Finished::read(&self.options.out, &experiment.name, &environment)?;
        for (number, ((variant, seed), known)) in experiment.runs().zip(finished).enumerate() {
            if known.is_some() {
                continue;
            }
            let splits = setting.splits.select(&variant.recipe.data)?;
            let config = config_text(experiment, (&variant.name, seed), &variant.recipe)?;
            let folder = before.find(&config, &splits.train.info().digest);
            *known = folder.map(PathBuf::from);
            if let (Some(invocation), Some(folder)) = (invocation.as_deref_mut(), &known) {
                invocation.set(number, folder)?;
            }
        }
        Ok(())
    }

    /// Trains all runs, or those before the flag was set.
    fn train(
        &self,
        setting: &Setting<'_>,
        weights: &[Option<PathBuf>],
        finished: &[Option<PathBuf>],
        mut invocation: Option<&mut Invocation>,
        progress: &mut dyn Progress,
    ) -> Result<Trained> {
        let session = Session {
            out: &self.options.out,
            commit: self.options.commit.clone(),
            stop: &self.options.stop,
            resume: &self.options.resume,
            profile: self.options.profile,
            pause: None,
            world: self.options.world.clone(),
        };
        let mut done = Trained::default();
        let seeds = &setting.experiment.seeds;
        let variants = setting.experiment.variants.iter().zip(weights);
        let runs = variants.flat_map(|pair| seeds.iter().map(move |&seed| (pair, seed)));
        let total = setting.experiment.variants.len() * seeds.len();
        for (number, ((variant, file), seed)) in runs.enumerate() {
            if let Some(Some(folder)) = finished.get(number) {
                done.folders.push(folder.clone());
                continue;
            }
            let known = invocation.as_deref();
            let listed = known
                .and_then(|known| known.folder(number))
                .map(PathBuf::from);
            let mut opened = |folder: &Path| match &mut invocation {
                Some(invocation) => invocation.set(number, folder),
                None => Ok(()),
            };
            let label = format!("[{}/{total}] {} seed {seed}", number + 1, variant.name);
            let trained = Job::new(setting, variant, file.as_deref(), seed).and_then(|job| {
                job.train(progress, &session, label, listed.as_deref(), &mut opened)
            });
            match trained {
                Ok(Ended::Finished(folder) | Ended::Paused(folder)) => done.folders.push(folder),
                Ok(Ended::Stopped(folder)) => {
                    progress.stopped("interrupted");
                    if let Some(folder) = folder {
                        progress.interrupted(&folder);
                    }
                    done.stopped = true;
                    return Ok(done);
                }
                Ok(Ended::Diverged(folder, error)) if self.options.skip_diverged => {
                    let reason = error.message();
                    progress.run_failed(&folder, &reason);
                    progress.note(&reason);
                    done.folders.push(folder);
                    done.diverged.push(reason);
                }
                Err(error) | Ok(Ended::Diverged(_, error)) => {
                    progress.stopped(&error.message());
                    return Err(error);
                }
            }
        }
        Ok(done)
    }

    /// Files of weights of the variants, in their order.
    pub(crate) fn weights(
        &self,
        experiment: &Experiment,
        progress: &mut dyn Progress,
    ) -> Result<Vec<Option<PathBuf>>> {
        let mut files = Vec::new();
        for variant in &experiment.variants {
            let model = &variant.recipe.model;
            self.options.registry.find(&model.name)?;
            if let (Some(name), None) = (&model.pretrained, &model.weights) {
                let (path, source) = weights::find_pretrained(name)?;
                progress.note(&source);
                files.push(Some(path));
                continue;
            }
            let file = model.weights.as_deref();
            let data = self.options.data.as_deref();
            files.push(file.map(|file| weights::find(file, data)).transpose()?);
        }
        Ok(files)
    }

    pub(crate) fn load(
        &mut self,
        experiment: &Experiment,
        progress: &mut dyn Progress,
    ) -> Result<Splits> {
        let data = Source::of(experiment);
        if let Some((_, splits)) = self.loaded.iter().find(|(known, _)| *known == data) {
            return Ok(splits.clone());
        }
        let mut options = data::options(self.options.data.clone(), progress.downloads());
        options.pictures = data.pictures;
        options.streaming = data.streaming;
        let splits = Splits::load(&data.dataset, data.test.as_ref(), &options)?;
        progress.loaded(&splits);
        self.loaded.push((data, splits.clone()));
        Ok(splits)
    }
}

/// Runs that were trained.
#[derive(Default)]
struct Trained {
    /// Their folders.
    folders: Vec<PathBuf>,
    /// Messages of those that diverged.
    diverged: Vec<String>,
    /// Whether the flag was set before the last one had ended.
    stopped: bool,
}

/// Folders of the runs that an interrupted invocation finished, in the order of the runs.
fn finished(setting: &Setting<'_>, invocation: &Invocation) -> Result<Vec<Option<PathBuf>>> {
    let mut finished = Vec::new();
    for variant in &setting.experiment.variants {
        let splits = setting.splits.select(&variant.recipe.data)?;
        let digest = &splits.train.info().digest;
        for _ in &setting.experiment.seeds {
            let folder = invocation.finished(finished.len(), digest);
            finished.push(folder.map(PathBuf::from));
        }
    }
    Ok(finished)
}

/// The runs to come, and notes on them for the user. Builds each variant once, and tries it on one batch.
fn plan(
    setting: &Setting<'_>,
    weights: &[Option<PathBuf>],
) -> Result<(Vec<PlannedRun>, Vec<String>)> {
    let seeds = &setting.experiment.seeds;
    let (mut plan, mut notes) = (Vec::new(), Vec::new());
    for (variant, file) in setting.experiment.variants.iter().zip(weights) {
        let Some(first) = seeds.first() else {
            break;
        };
        let (work, found, about_weights) = Job::new(setting, variant, file.as_deref(), *first)
            .and_then(|job| {
                job.sanity_check()?;
                Ok(job)
            })
            .and_then(|job| Ok((job.work()?, job.warnings(), job.notes().to_vec())))
            .context(|| format!("variant `{}`", variant.name))?;
        let found = found.into_iter();
        notes.extend(about_weights);
        notes.extend(found.map(|text| format!("warning: variant `{}`: {text}", variant.name)));
        plan.extend(seeds.iter().map(|&seed| PlannedRun {
            variant: variant.name.clone(),
            seed,
            work,
        }));
    }
    Ok((plan, notes))
}
