//! Checkpoints: all that a run needs to go on from the end of an epoch.
//!
//! `<dir>/epoch-000003/` holds `model.safetensors`, `optimizer.safetensors` and `state.json` after
//! three epochs. It is written under another name, synced and renamed, and only then is the one
//! before it removed: killed at any instant, a run leaves at least one whole checkpoint, or none
//! if it had not come that far.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tallow_datasets::DataLoader;
use tallow_ops::{GeneratorState, ParamStore};

use crate::files::{sync_dir, write_atomic};
use crate::{Error, History, Optimizer, Result, TrainConfig};

const PREFIX: &str = "epoch-";
const UNFINISHED: &str = ".unfinished";
const VERSION: u32 = 1;

/// The directory that a run's checkpoints are in.
pub(crate) struct Checkpoints {
    dir: PathBuf,
}

/// `state.json`. The schedule needs no state: the rate is a function of the time.
#[derive(Serialize, Deserialize)]
struct State {
    version: u32,
    config: TrainConfig,
    data: Data,
    generator: GeneratorState,
    history: History,
}

/// What decides the batches of a run; loader workers do not.
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
            // Transforms are plain data: no value of theirs fails to be written.
            transforms: serde_json::to_value(loader.transform()).unwrap_or_default(),
            batch_size: config.batch_size,
            shuffle: config.shuffle,
            drop_last: config.drop_last,
            seed: config.seed,
            steps_per_epoch: loader.num_batches(),
        }
    }
}

/// A checkpoint that is written and synced, but not yet in place.
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
        config: &TrainConfig,
        data: &Data,
        store: &ParamStore,
        optimizer: &Optimizer,
        history: &History,
    ) -> Result<()> {
        let state = State {
            version: VERSION,
            config: config.clone(),
            data: data.clone(),
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

    fn stage(&self, state: &State, store: &ParamStore, optimizer: &Optimizer) -> Result<Staged> {
        let name = format!("{PREFIX}{:06}", state.history.rows.len());
        let staged = Staged {
            from: self.dir.join(format!("{name}{UNFINISHED}")),
            to: self.dir.join(name),
        };
        let from = &staged.from;
        // Left by a run that was killed here.
        if from.exists() {
            fs::remove_dir_all(from).map_err(Error::io(from))?;
        }
        fs::create_dir_all(from).map_err(Error::io(from))?;
        store.save(from.join("model.safetensors"))?;
        optimizer.save(&from.join("optimizer.safetensors"))?;
        let path = from.join("state.json");
        let text = serde_json::to_vec_pretty(state).map_err(|e| Error::mismatch(&path, e))?;
        write_atomic(&path, &text)?;
        Ok(staged)
    }

    fn commit(&self, staged: &Staged) -> Result<()> {
        fs::rename(&staged.from, &staged.to).map_err(Error::io(&staged.to))?;
        sync_dir(&self.dir)
    }

    /// Puts the newest checkpoint into `store` (with its generator) and `optimizer`, and gives its
    /// history; an empty one where there is no checkpoint.
    ///
    /// Fails when the checkpoint is of a run with other settings or other data. The number of epochs may differ,
    /// unless the schedule spans the run.
    pub fn resume(
        &self,
        config: &TrainConfig,
        data: &Data,
        store: &ParamStore,
        optimizer: &mut Optimizer,
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
                format!("version {}, this program reads {VERSION}", state.version),
            ));
        }
        if state.history.rows.len() != epochs {
            return Err(Error::mismatch(
                &path,
                format!(
                    "{} epochs in a checkpoint of {epochs}",
                    state.history.rows.len()
                ),
            ));
        }
        if state.data != *data {
            return Err(Error::mismatch(
                &path,
                format!("the run was trained on {:?}, not on {data:?}", state.data),
            ));
        }
        let mut saved = state.config;
        if !config.schedule.spans_run() {
            saved.epochs = config.epochs;
        }
        if saved != *config {
            return Err(Error::mismatch(
                &path,
                format!("the run was started with {saved:?}, not with {config:?}"),
            ));
        }
        optimizer.load(&dir.join("optimizer.safetensors"))?;
        store.load(dir.join("model.safetensors"), true)?;
        store.generator().set_state(&state.generator);
        tracing::info!(checkpoint = %dir.display(), epochs, "resumed");
        Ok(state.history)
    }

    /// The whole checkpoints with their number of epochs, oldest first.
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
