//! Checkpoints: the state of a run at the end of an epoch.
//!
//! `<dir>/epoch-000003/` contains `model.safetensors`, `optimizer.safetensors` and `state.json` after
//! three epochs. It is written under another name, synced and renamed, and only then the checkpoint
//! before it is removed. A run that is killed at any time leaves at least one whole checkpoint, or none
//! if its first epoch was not finished.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tallow_datasets::DataLoader;
use tallow_ops::{GeneratorState, ParamStore};

use crate::config::TrainConfig;
use crate::differences::differences;
use crate::error::{Error, Result};
use crate::files::{sync_dir, write_atomic};
use crate::history::History;
use crate::optimizer::{self, Optimizer};

const PREFIX: &str = "epoch-";
const UNFINISHED: &str = ".unfinished";
const VERSION: u32 = 1;

/// Directory of the checkpoints of a run.
pub(crate) struct Checkpoints {
    dir: PathBuf,
}

/// `state.json`. The schedule has no state: the rate is a function of the time.
#[derive(Serialize, Deserialize)]
struct State {
    version: u32,
    config: TrainConfig,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    own: Vec<String>,
    data: Data,
    generator: GeneratorState,
    history: History,
}

/// Settings that a run must have again when it is resumed.
pub(crate) struct Setup {
    /// Settings of the trainer.
    pub config: TrainConfig,
    /// Parts of the trainer that are the caller's own instead of those of `config`: `loss`, `optimizer`, `schedule`, `step`.
    pub own: Vec<String>,
    /// Data of the run.
    pub data: Data,
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
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Writes a checkpoint, then removes the older ones.
    pub fn save(
        &self,
        setup: &Setup,
        store: &ParamStore,
        optimizer: &dyn Optimizer,
        history: &History,
    ) -> Result<()> {
        let state = State {
            version: VERSION,
            config: setup.config.clone(),
            own: setup.own.clone(),
            data: setup.data.clone(),
            generator: store.generator().state(),
            history: history.clone(),
        };
        let staged = self.stage(&state, store, optimizer)?;
        self.commit(&staged)?;
        for (path, _) in self.all()?.iter().rev().skip(1) {
            fs::remove_dir_all(path).map_err(Error::io(path))?;
        }
        Ok(())
    }

    fn stage(
        &self,
        state: &State,
        store: &ParamStore,
        optimizer: &dyn Optimizer,
    ) -> Result<Staged> {
        let name = format!("{PREFIX}{:06}", state.history.rows.len());
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
        store.save(from.join("model.safetensors"))?;
        optimizer::save(optimizer, &from.join("optimizer.safetensors"))?;
        let path = from.join("state.json");
        let text = serde_json::to_vec_pretty(state).map_err(|e| Error::mismatch(&path, e))?;
        write_atomic(&path, &text)?;
        Ok(staged)
    }

    fn commit(&self, staged: &Staged) -> Result<()> {
        fs::rename(&staged.from, &staged.to).map_err(Error::io(&staged.to))?;
        sync_dir(&self.dir)
    }

    /// Loads the newest checkpoint into `store` (with its generator) and `optimizer`, and returns its
    /// history; an empty history if there is no checkpoint.
    ///
    /// Fails when the checkpoint is of a run with other settings or other data.
    pub fn resume(
        &self,
        setup: &Setup,
        store: &ParamStore,
        optimizer: &mut dyn Optimizer,
    ) -> Result<History> {
        let Some((dir, epochs)) = self.all()?.pop() else {
            return Ok(History::default());
        };
        let path = dir.join("state.json");
        let text = fs::read(&path).map_err(Error::io(&path))?;
        let state: State = serde_json::from_slice(&text).map_err(|e| Error::mismatch(&path, e))?;
        if state.version != VERSION {
            return Err(Error::mismatch(
                &path,
                format!("version {}, expected {VERSION}", state.version),
            ));
        }
        if state.history.rows.len() != epochs {
            return Err(Error::mismatch(
                &path,
                format!(
                    "a history of {} epochs, expected {epochs}",
                    state.history.rows.len()
                ),
            ));
        }
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
        let mut saved = state.config;
        if setup.extendable {
            saved.epochs = setup.config.epochs;
        }
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
        optimizer::load(optimizer, &dir.join("optimizer.safetensors"))?;
        store.load(dir.join("model.safetensors"), true)?;
        store.generator().set_state(&state.generator);
        tracing::info!(checkpoint = %dir.display(), epochs, "resumed");
        Ok(state.history)
    }

    /// Whole checkpoints with their number of epochs, oldest first.
    fn all(&self) -> Result<Vec<(PathBuf, usize)>> {
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io(&self.dir)(error)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let path = entry.map_err(Error::io(&self.dir))?.path();
            found.extend(epochs_of(&path).map(|epochs| (path, epochs)));
        }
        found.sort_by_key(|&(_, epochs)| epochs);
        Ok(found)
    }
}

fn epochs_of(path: &Path) -> Option<usize> {
    path.file_name()?
        .to_str()?
        .strip_prefix(PREFIX)?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests;
