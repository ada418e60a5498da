//! Checkpoints: the state of a run at the end of an epoch, or after a step within one.
//!
//! `<dir>/epoch-000003/` contains `model.safetensors`, `optimizer.safetensors`, `state.json` and, if a part of the run has tensors of its
//! own, `parts.safetensors` after three epochs; `<dir>/epoch-000003-step-000120/` after 120 more steps. It is written under another
//! name, synced and renamed, and only then the checkpoint before it is removed. A run that is killed at any time leaves at least one
//! whole checkpoint, or none if it had not written one.

mod config;
mod shared;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use tallow_datasets::DataLoader;
use tallow_ops::{GeneratorState, ParamStore};

pub use config::CheckpointConfig;

use crate::config::TrainConfig;
use crate::differences::differences;
use crate::error::{Error, Result};
use crate::files::{sync_dir, write_atomic};
use crate::history::History;
use crate::optimizer::{self, Optimizer};
use crate::parts::Parts;
use crate::position::Position;
use crate::ranks::Ranks;

const PREFIX: &str = "epoch-";
const STEP: &str = "-step-";
const UNFINISHED: &str = ".unfinished";
/// Version of `state.json`. The first had neither a position nor parts, and is read too.
const VERSION: u32 = 2;

/// Directory of the checkpoints of a run.
pub(crate) struct Checkpoints {
    dir: PathBuf,
    config: CheckpointConfig,
    /// Time of the last checkpoint, or of the start.
    last: Instant,
}

/// Moment of a checkpoint: finished epochs, and steps of the epoch after them.
type Moment = (usize, usize);

/// State of a run, to be written.
pub(crate) struct Saved<'a> {
    /// Parameters, buffers and generator.
    pub store: &'a ParamStore,
    /// Optimizer.
    pub optimizer: &'a dyn Optimizer,
    /// Finished epochs.
    pub history: &'a History,
    /// Position in the epoch after them; `None` at its start.
    pub position: Option<Position>,
    /// States of the other parts.
    pub parts: Parts,
}

/// Content of a checkpoint besides the states that are loaded at once.
#[derive(Debug, Default)]
pub(crate) struct Resumed {
    /// Finished epochs.
    pub history: History,
    /// Position in the epoch after them; `None` at its start.
    pub position: Option<Position>,
    /// States of the other parts, and the file that names them; `None` without a checkpoint.
    pub parts: Option<(Parts, PathBuf)>,
}

/// `state.json`. A schedule that is a function of the time has no state.
#[derive(Serialize, Deserialize)]
struct State {
    version: u32,
    config: TrainConfig,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    own: Vec<String>,
    data: Data,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    validation: Option<Data>,
    generator: GeneratorState,
    history: History,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    position: Option<Position>,
    /// Values of the parts, and the number of all their tensors.
    #[serde(default)]
    parts: BTreeMap<String, serde_json::Value>,
    #[serde(default)]
    tensors: usize,
}

impl State {
    fn moment(&self) -> Moment {
        let step = self.position.as_ref().map_or(0, |position| position.step);
        (self.history.rows.len(), step)
    }
}

/// Settings that a run must have again when it is resumed.
pub(crate) struct Setup {
    /// Settings of the trainer.
    pub config: TrainConfig,
    /// Parts of the trainer that are the caller's own instead of those of `config`: `loss`, `optimizer`, `schedule`, `step`.
    pub own: Vec<String>,
    /// Data of the run.
    pub data: Data,
    /// Validation data, if any.
    pub validation: Option<Data>,
    /// Whether the number of epochs may differ.
    pub extendable: bool,
}

/// Settings that the batches of a run depend on. The number of loader workers is not one of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Data {
    digest: String,
    transforms: serde_json::Value,
    batch_size: usize,
    shuffle: bool,
    drop_last: bool,
    seed: u64,
    steps_per_epoch: usize,
}

impl Data {
    pub fn of(loader: &DataLoader) -> Self {
        let config = loader.config();
        Self {
            digest: loader.dataset().info().digest.clone(),
            // Transforms are plain data, which can always be written as JSON.
            transforms: serde_json::to_value(loader.transform()).unwrap_or_default(),
            batch_size: config.batch_size,
            shuffle: config.shuffle,
            drop_last: config.drop_last,
            seed: config.seed,
            steps_per_epoch: loader.num_batches(),
        }
    }
}

/// Checkpoint that is written and synced, but not yet renamed.
struct Staged {
    from: PathBuf,
    to: PathBuf,
}

impl Checkpoints {
    pub fn new(dir: impl Into<PathBuf>, config: CheckpointConfig) -> Self {
        Self {
            dir: dir.into(),
            config,
            last: Instant::now(),
        }
    }

    /// Checks the settings, and starts the time of the first checkpoint.
    pub fn start(&mut self) -> Result<()> {
        self.last = Instant::now();
        self.config.validate()
    }

    /// Whether a checkpoint is due after an epoch, the `epochs`-th of the run. After the `last` one it is where checkpoints are kept.
    pub fn due_after_epoch(&self, epochs: usize, last: bool) -> bool {
        let kept = last && self.config.keep_last.is_some();
        kept || self.config.due_after_epoch(epochs, self.last)
    }

    /// Whether a checkpoint is due after a step, the `steps`-th of the run.
    pub fn due_after_step(&self, steps: usize) -> bool {
        self.config.due_after_step(steps, self.last)
    }

    /// Writes a checkpoint, then removes the older ones.
    pub fn save(&mut self, setup: &Setup, saved: Saved) -> Result<()> {
        let state = State {
            version: VERSION,
            config: setup.config.clone(),
            own: setup.own.clone(),
            data: setup.data.clone(),
            validation: setup.validation.clone(),
            generator: saved.store.generator().state(),
            history: saved.history.clone(),
            position: saved.position.clone(),
            parts: saved.parts.values(),
            tensors: saved.parts.tensors(),
        };
        let staged = self.stage(&state, &saved)?;
        self.commit(&staged)?;
        for (path, _) in self.all()?.iter().rev().skip(self.config.kept()) {
            fs::remove_dir_all(path).map_err(Error::io(path))?;
        }
        self.last = Instant::now();
        Ok(())
    }

    fn stage(&self, state: &State, saved: &Saved) -> Result<Staged> {
        let name = name(state.moment());
        let staged = Staged {
            from: self.dir.join(format!("{name}{UNFINISHED}")),
            to: self.dir.join(name),
        };
        let from = &staged.from;
        // From a run that was killed while it wrote a checkpoint.
        if from.exists() {
            fs::remove_dir_all(from).map_err(Error::io(from))?;
        }
        fs::create_dir_all(from).map_err(Error::io(from))?;
        saved.store.save(from.join("model.safetensors"))?;
        optimizer::save(saved.optimizer, &from.join("optimizer.safetensors"))?;
        saved.parts.save_tensors(&from.join("parts.safetensors"))?;
        let path = from.join("state.json");
        let text = serde_json::to_vec_pretty(state).map_err(|e| Error::mismatch(&path, e))?;
        write_atomic(&path, &text)?;
        Ok(staged)
    }

    fn commit(&self, staged: &Staged) -> Result<()> {
        // A run that continued from an older checkpoint comes to the same moment again.
        if staged.to.exists() {
            fs::remove_dir_all(&staged.to).map_err(Error::io(&staged.to))?;
        }
        fs::rename(&staged.from, &staged.to).map_err(Error::io(&staged.to))?;
        sync_dir(&self.dir)
    }

    /// Folder of the newest whole checkpoint, and its moment; `None` if there is none.
    fn newest(&self) -> Result<Option<(PathBuf, Moment)>> {
        Ok(self.all()?.pop())
    }

    /// Whole checkpoints with their moments, oldest first.
    fn all(&self) -> Result<Vec<(PathBuf, Moment)>> {
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io(&self.dir)(error)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let path = entry.map_err(Error::io(&self.dir))?.path();
            found.extend(moment_of(&path).map(|moment| (path, moment)));
        }
        found.sort_by_key(|&(_, moment)| moment);
        Ok(found)
    }
}

/// Loads the newest checkpoint into `store` (with its generator) and `optimizer`, and returns the rest; an empty history if there is no
/// checkpoint. On several ranks the first one reads it and sends it to the others, which need not have its folder: `checkpoints` is its
/// alone.
///
/// Fails when the checkpoint is of a run with other settings or other data.
pub(crate) fn resume(
    checkpoints: Option<&Checkpoints>,
    ranks: &Ranks,
    setup: &Setup,
    store: &ParamStore,
    optimizer: &mut dyn Optimizer,
) -> Result<Resumed> {
    let newest = match checkpoints {
        Some(checkpoints) if ranks.is_first() => checkpoints.newest()?,
        _ => None,
    };
    let resumed = match &newest {
        Some((dir, moment)) => load(dir, *moment, setup, store, optimizer)?,
        None => Resumed::default(),
    };
    match shared::send(ranks, newest.as_ref().map(|(dir, _)| dir.as_path()))? {
        None => Ok(resumed),
        Some(received) => {
            let moment = moment_of(received.dir()).unwrap_or_default();
            load(received.dir(), moment, setup, store, optimizer)
        }
    }
}

/// Loads a checkpoint into `store` (with its generator) and `optimizer`, and returns the rest.
fn load(
    dir: &Path,
    (epochs, step): Moment,
    setup: &Setup,
    store: &ParamStore,
    optimizer: &mut dyn Optimizer,
) -> Result<Resumed> {
    let damaged = Error::in_checkpoint(dir);
    let path = dir.join("state.json");
    let state = read(&path, (epochs, step)).map_err(&damaged)?;
    let other = |what: &str, list: String| {
        let message = format!(
            "the run was {what}: {list}; use the values of the run, or another directory for checkpoints"
        );
        Err(Error::mismatch(&path, message))
    };
    if state.data != setup.data {
        let list = differences(&state.data, &setup.data);
        return other("trained on other data", list);
    }
    if state.validation != setup.validation {
        let list = differences(&state.validation, &setup.validation);
        return other("validated on other data", list);
    }
    let mut saved = state.config;
    if setup.extendable {
        saved.epochs = setup.config.epochs;
    }
    // Weights after a number of steps do not depend on them.
    saved.max_minutes = setup.config.max_minutes;
    saved.cuda_graph = setup.config.cuda_graph;
    if saved != setup.config {
        let list = differences(&saved, &setup.config);
        return other("started with other settings", list);
    }
    if state.own != setup.own {
        let parts = |own: &[String]| match own {
            [] => "none".to_string(),
            own => own.join(", "),
        };
        let list = format!("{} -> {}", parts(&state.own), parts(&setup.own));
        return other("started with other parts of the caller's own", list);
    }
    optimizer::load(optimizer, &dir.join("optimizer.safetensors")).map_err(&damaged)?;
    let model = store.load(dir.join("model.safetensors"), true);
    model.map_err(|error| damaged(error.into()))?;
    store.generator().set_state(&state.generator);
    let tensors = dir.join("parts.safetensors");
    let parts = Parts::load(state.parts, state.tensors, &tensors).map_err(&damaged)?;
    tracing::info!(checkpoint = %dir.display(), epochs, step, "resumed");
    Ok(Resumed {
        history: state.history,
        position: state.position,
        parts: Some((parts, path)),
    })
}

/// Folder of the newest whole checkpoint in a directory of checkpoints; `None` if there is none.
///
/// # Errors
/// [`Error::Io`] when the directory exists and cannot be read.
pub fn newest_checkpoint(dir: impl Into<PathBuf>) -> Result<Option<PathBuf>> {
    let checkpoints = Checkpoints::new(dir, CheckpointConfig::default());
    Ok(checkpoints.newest()?.map(|(path, _)| path))
}

/// Content of `state.json` of the checkpoint of a moment.
fn read(path: &Path, (epochs, step): Moment) -> Result<State> {
    let text = fs::read(path).map_err(Error::io(path))?;
    let state: State = serde_json::from_slice(&text).map_err(|e| Error::mismatch(path, e))?;
    if !(1..=VERSION).contains(&state.version) {
        let message = format!("version {}, expected at most {VERSION}", state.version);
        return Err(Error::mismatch(path, message));
    }
    if state.moment() != (epochs, step) || step > state.data.steps_per_epoch {
        let found = state.moment();
        let message = format!(
            "a state after {} epochs and {} steps, expected {epochs} and {step} by the name of the folder",
            found.0, found.1
        );
        return Err(Error::mismatch(path, message));
    }
    Ok(state)
}

/// Name of a checkpoint.
fn name((epochs, step): Moment) -> String {
    match step {
        0 => format!("{PREFIX}{epochs:06}"),
        step => format!("{PREFIX}{epochs:06}{STEP}{step:06}"),
    }
}

/// Moment of the checkpoint in a folder of this name; `None` for other folders, and for checkpoints that are not whole.
fn moment_of(path: &Path) -> Option<Moment> {
    let name = path.file_name()?.to_str()?.strip_prefix(PREFIX)?;
    match name.split_once(STEP) {
        None => Some((name.parse().ok()?, 0)),
        Some((epochs, step)) => Some((epochs.parse().ok()?, step.parse().ok()?)),
    }
}

#[cfg(test)]
mod tests;
