//! Unfinished runs: which of them a runner continues.
//!
//! While a runner trains the runs of an experiment, a file `unfinished-<time>.json` beside their records lists them, so that an
//! interrupted experiment goes on where it was: finished runs are not repeated, and the one that was under way continues from its
//! checkpoint. A run that is under way holds a lock on `checkpoint/lock` in its record, which the system releases when the process ends.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tallow_record::{Environment, EnvironmentFile, RunInfo, runs_of, timestamp, write_json};
use tallow_train::{experiment_folder, newest_checkpoint};
use toml::Table;

use crate::error::{Error, Result};

/// Treatment of unfinished runs by a runner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Resume {
    /// It starts new runs, and writes checkpoints only where the recipe asks for them.
    #[default]
    Off,
    /// It starts new runs, and writes checkpoints.
    Fresh,
    /// It continues unfinished runs of the same recipe, seed, data, device and number of threads, and writes checkpoints.
    Auto,
    /// As `Auto`; the run in this folder must be continued.
    Run(PathBuf),
}

impl Resume {
    /// Whether runs can be continued later.
    pub(crate) fn is_on(&self) -> bool {
        *self != Self::Off
    }

    /// Whether unfinished runs are continued.
    pub(crate) fn continues(&self) -> bool {
        matches!(self, Self::Auto | Self::Run(_))
    }
}

/// Keys of `train` that results do not depend on.
pub const WITHOUT_EFFECT: [&str; 3] = ["workers", "checkpoint", "cuda_graph"];

/// Start of the names of the files that list the runs of an experiment.
const PREFIX: &str = "unfinished-";

/// Runs that a runner was asked for and has not finished all of: the content of `unfinished-<time>.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Invocation {
    /// Arguments of the program that runs them, for that program.
    pub arguments: Value,
    /// The runs, in their order.
    pub runs: Vec<Entry>,
    /// File of this list.
    #[serde(skip)]
    path: PathBuf,
}

/// Run of an [`Invocation`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// `config.toml` of the run.
    pub config: String,
    /// Folder of its record, once it has one.
    pub folder: Option<PathBuf>,
}

impl Invocation {
    /// Invocations of an experiment below `out` that were not finished, the newest first. Those of which no record is left are removed.
    pub fn find(out: &Path, experiment: &str) -> Result<Vec<Self>> {
        Self::in_folder(&experiment_folder(out, experiment))
    }

    /// Invocations whose records are in `folder`.
    fn in_folder(folder: &Path) -> Result<Vec<Self>> {
        let Ok(entries) = fs::read_dir(folder) else {
            return Ok(Vec::new());
        };
        let mut paths = Vec::new();
        for entry in entries {
            let entry = entry.map_err(Error::io("read", folder))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(PREFIX) && name.ends_with(".json") {
                paths.push(entry.path());
            }
        }
        paths.sort();
        let mut found = Vec::new();
        for path in paths.into_iter().rev() {
            let text = fs::read(&path).map_err(Error::io("read", &path))?;
            let read = serde_json::from_slice(&text);
            // Written whole or not at all, so this is a file of another program or version.
            let Ok(invocation) = read else {
                continue;
            };
            let mut invocation = Self { path, ..invocation };
            // The records lie beside the list. Their paths in it may be relative to another folder than this one.
            for run in &mut invocation.runs {
                let name = run.folder.as_deref().and_then(Path::file_name);
                run.folder = name.map(|name| folder.join(name));
            }
            if invocation.folders().any(|folder| folder.is_dir()) {
                found.push(invocation);
            } else {
                fs::remove_file(&invocation.path).map_err(Error::io("remove", &invocation.path))?;
            }
        }
        Ok(found)
    }

    /// The newest invocation below `out` that was not finished, of any experiment.
    pub fn newest(out: &Path) -> Result<Option<Self>> {
        let Ok(entries) = fs::read_dir(out) else {
            return Ok(None);
        };
        let mut newest: Option<Self> = None;
        for entry in entries {
            let folder = entry.map_err(Error::io("read", out))?.path();
            for found in Self::in_folder(&folder)? {
                let name = |invocation: &Self| invocation.path.file_name().map(|n| n.to_owned());
                if newest
                    .as_ref()
                    .is_none_or(|known| name(known) < name(&found))
                {
                    newest = Some(found);
                }
            }
        }
        Ok(newest)
    }

    /// The invocation that the run in `folder` is of; `None` if it finished.
    pub fn of_run(folder: &Path) -> Result<Option<Self>> {
        let absolute = folder.canonicalize().map_err(Error::io("read", folder))?;
        let parent = absolute.parent().unwrap_or(&absolute);
        let mut invocations = Self::in_folder(parent)?.into_iter();
        Ok(invocations.find(|invocation| {
            let mut folders = invocation.folders();
            folders.any(|known| known.file_name() == absolute.file_name())
        }))
    }

    /// The run that was under way when the invocation ended.
    pub fn interrupted(&self) -> Option<&Path> {
        let folders = self.folders().filter(|folder| folder.is_dir());
        let unfinished = folders.filter(|folder| !is_finished(folder));
        unfinished.last()
    }

    fn folders(&self) -> impl Iterator<Item = &Path> {
        self.runs.iter().filter_map(|run| run.folder.as_deref())
    }

    /// Begins the runs with these configurations, or goes on with an unfinished invocation of the same ones.
    pub(crate) fn begin(
        out: &Path,
        experiment: &str,
        configs: Vec<String>,
        arguments: Value,
        resume: &Resume,
    ) -> Result<Self> {
        let same = |known: &Self| {
            known.runs.len() == configs.len()
                && (known.runs.iter().zip(&configs))
                    .all(|(run, config)| differences(&run.config, config).is_empty())
        };
        for known in Self::find(out, experiment)?.into_iter().filter(|k| same(k)) {
            if known.folders().any(is_under_way) {
                continue;
            }
            if resume.continues() {
                return Ok(known);
            }
            known.end()?;
        }
        let folder = experiment_folder(out, experiment);
        fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        let run = |config| Entry {
            config,
            folder: None,
        };
        let mut path = folder.join(format!("{PREFIX}{}.json", timestamp(SystemTime::now())));
        for number in 2.. {
            if !path.exists() {
                break;
            }
            let time = timestamp(SystemTime::now());
            path = folder.join(format!("{PREFIX}{time}-{number}.json"));
        }
        Ok(Self {
            arguments,
            runs: configs.into_iter().map(run).collect(),
            path,
        })
    }

    /// Folder of the record of a run, if it has finished, on training data of this digest.
    pub(crate) fn finished(&self, run: usize, digest: &str) -> Option<&Path> {
        let folder = self.runs.get(run)?.folder.as_deref()?;
        let of_data = |file: EnvironmentFile| file.run.dataset.digest == digest;
        (is_finished(folder) && environment(folder).is_some_and(of_data)).then_some(folder)
    }

    /// Folder of the record of a run, if it has one.
    pub(crate) fn folder(&self, run: usize) -> Option<&Path> {
        self.runs.get(run)?.folder.as_deref()
    }

    /// Records that a run has this folder.
    pub(crate) fn set(&mut self, run: usize, folder: &Path) -> Result<()> {
        if let Some(run) = self.runs.get_mut(run) {
            run.folder = Some(folder.to_path_buf());
        }
        Ok(write_json(&self.path, self)?)
    }

    /// Removes the list: all runs have ended.
    pub(crate) fn end(&self) -> Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io("remove", &self.path)(error))
            }
            _ => Ok(()),
        }
    }
}

/// Run that is about to start.
pub(crate) struct Wanted<'a> {
    /// Its identity.
    pub info: &'a RunInfo,
    /// Its `config.toml`.
    pub config: &'a str,
    /// Machine and program.
    pub environment: &'a Environment,
}

/// Whether a run is continued that has no checkpoint yet, which means that it starts again in the same folder.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checkpoint {
    Needed,
    Optional,
}

/// Lock of a run that is under way; the system releases it when the process ends.
pub(crate) struct Lock(#[allow(dead_code)] File);

impl Lock {
    /// Lock of the run in `folder`; `None` if another process has it. A file system without locks grants every one.
    pub fn take(folder: &Path) -> Result<Option<Self>> {
        let path = lock_file(folder);
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
        let file = File::create(&path).map_err(Error::io("create", &path))?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Ok(None),
            Ok(()) | Err(TryLockError::Error(_)) => Ok(Some(Self(file))),
        }
    }
}

fn lock_file(folder: &Path) -> PathBuf {
    folder.join("checkpoint").join("lock")
}

/// Whether a process trains the run in `folder`: it holds the lock of its record.
pub fn is_under_way(folder: &Path) -> bool {
    let file = File::open(lock_file(folder));
    file.is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}

/// Content of `environment.json` of a record; `None` if it is missing or damaged.
pub(crate) fn environment(folder: &Path) -> Option<EnvironmentFile> {
    let text = fs::read(folder.join("environment.json")).ok()?;
    serde_json::from_slice(&text).ok()
}

pub(crate) fn is_finished(folder: &Path) -> bool {
    folder.join("summary.json").is_file()
}

impl Wanted<'_> {
    /// Newest unfinished run of the same recipe, seed, data, device and number of threads below `out` that has a checkpoint and is not
    /// under way, with its lock.
    pub fn find(&self, out: &Path) -> Result<Option<(PathBuf, Lock)>> {
        let folder = experiment_folder(out, &self.info.experiment);
        if !folder.is_dir() {
            return Ok(None);
        }
        for run in runs_of(&folder)?.into_iter().rev() {
            if self.obstacle(&run, Checkpoint::Needed)?.is_none()
                && let Some(lock) = Lock::take(&run)?
            {
                return Ok(Some((run, lock)));
            }
        }
        Ok(None)
    }

    /// Whether the record in `folder` is of this variant and seed.
    pub fn is_in(&self, folder: &Path) -> bool {
        environment(folder).is_some_and(|file| {
            (&file.run.variant, file.run.seed) == (&self.info.variant, self.info.seed)
        })
    }

    /// Reason for which the run in `folder` cannot be continued as this one; `None` if it can.
    pub fn obstacle(&self, folder: &Path, checkpoint: Checkpoint) -> Result<Option<String>> {
        let reason = |text: &str| Ok(Some(text.to_string()));
        if is_finished(folder) {
            return reason("it has finished");
        }
        let path = folder.join("config.toml");
        let config = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        let changed = differences(&config, self.config);
        if !changed.is_empty() {
            let list = changed.join(", ");
            return Ok(Some(format!("its recipe was another: {list}")));
        }
        let Some(file) = environment(folder) else {
            return reason("its environment.json is missing or damaged");
        };
        let (then, now) = (&file.environment, self.environment);
        let pairs = [
            ("data", &file.run.dataset.digest, &self.info.dataset.digest),
            ("device", &then.device, &now.device),
        ];
        for (what, then, now) in pairs {
            if then != now {
                return Ok(Some(format!("its {what} was another: {then} -> {now}")));
            }
        }
        if then.threads != now.threads {
            return Ok(Some(format!(
                "it had {} threads and this one has {}, which changes the bits of sums; use --threads {}",
                then.threads, now.threads, then.threads
            )));
        }
        if checkpoint == Checkpoint::Needed
            && newest_checkpoint(folder.join("checkpoint"))?.is_none()
        {
            return reason("it has no checkpoint yet");
        }
        Ok(None)
    }
}

/// Keys in which two configurations differ, with both values, without those that results do not depend on.
pub(crate) fn differences(before: &str, after: &str) -> Vec<String> {
    let table = |text: &str| essential(text.parse().unwrap_or_default());
    let mut found = Vec::new();
    compare("", &table(before), &table(after), &mut found);
    found
}

/// Content of a `config.toml` without the keys that results do not depend on.
pub(crate) fn essential(mut config: Table) -> Table {
    if let Some(toml::Value::Table(train)) = config.get_mut("train") {
        for key in WITHOUT_EFFECT {
            train.remove(key);
        }
    }
    config
}

fn compare(path: &str, before: &Table, after: &Table, found: &mut Vec<String>) {
    let added = after.keys().filter(|key| !before.contains_key(*key));
    for key in before.keys().chain(added) {
        let name = match path {
            "" => key.clone(),
            path => format!("{path}.{key}"),
        };
        match (before.get(key), after.get(key)) {
            (Some(toml::Value::Table(a)), Some(toml::Value::Table(b))) => {
                compare(&name, a, b, found);
            }
            (a, b) if a == b => {}
            (a, b) => {
                let text = |value: Option<&toml::Value>| {
                    value.map_or_else(|| "none".to_string(), |value| value.to_string())
                };
                found.push(format!("{name} {} -> {}", text(a), text(b)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_differ_in_what_results_depend_on() {
        let before = "seed = 0\n[train]\nworkers = 1\nepochs = 3\n[train.optimizer]\nlr = 0.1\n";
        let workers = before.replace(
            "workers = 1",
            "workers = 4\ncuda_graph = true\ncheckpoint = { every_steps = 2 }",
        );
        assert_eq!(differences(before, &workers), Vec::<String>::new());
        let other = before.replace("0.1", "0.2").replace("seed = 0", "seed = 1");
        let found = differences(before, &other);
        assert_eq!(found, ["seed 0 -> 1", "train.optimizer.lr 0.1 -> 0.2"]);
        let longer = format!("{before}[data]\nvalidation = 0.1\n");
        assert_eq!(differences(before, &longer).len(), 1);
    }

    #[test]
    fn an_invocation_goes_on_with_its_finished_runs_alone() {
        let out = tempfile::tempdir().unwrap();
        let configs = vec!["seed = 0".to_string(), "seed = 1".to_string()];
        let begin = |configs: &[String], resume: Resume| {
            Invocation::begin(out.path(), "exp", configs.to_vec(), Value::from(1), &resume).unwrap()
        };
        let mut first = begin(&configs, Resume::Auto);
        assert!(Invocation::newest(out.path()).unwrap().is_none());
        let record = |name: &str, finished: bool| {
            let folder = out.path().join("exp").join(name);
            fs::create_dir_all(&folder).unwrap();
            if finished {
                fs::write(folder.join("summary.json"), "{}").unwrap();
            }
            let environment = serde_json::json!({
                "run": { "experiment": "exp", "variant": "v", "seed": 0, "model": "mlp", "parameters": 1,
                    "dataset": { "name": "d", "provenance": "p", "digest": "d1" } },
                "environment": { "tallow": "0", "commit": null, "rustc": "", "platform": "", "cpu": "", "threads": 1,
                    "device": "cpu" },
            });
            fs::write(folder.join("environment.json"), environment.to_string()).unwrap();
            folder
        };
        let (done, cut) = (record("a", true), record("b", false));
        first.set(0, &done).unwrap();
        first.set(1, &cut).unwrap();

        let newest = Invocation::newest(out.path()).unwrap().unwrap();
        assert_eq!(newest.arguments, 1);
        assert_eq!(newest.interrupted(), Some(cut.as_path()));
        let of_run = Invocation::of_run(&cut).unwrap().unwrap();
        assert_eq!(of_run.runs.len(), 2);
        let again = begin(&configs, Resume::Auto);
        assert_eq!(
            (again.finished(0, "d1"), again.finished(1, "d1")),
            (Some(done.as_path()), None)
        );

        assert_eq!(again.finished(0, "other data"), None);

        // While a process trains one of them, another one starts anew; so does a request for other runs.
        let lock = Lock::take(&cut).unwrap().unwrap();
        assert!(Lock::take(&cut).unwrap().is_none());
        assert_eq!(begin(&configs, Resume::Auto).finished(0, "d1"), None);
        drop(lock);
        assert_eq!(begin(&configs[..1], Resume::Auto).finished(0, "d1"), None);
        // A fresh start forgets the old one.
        assert_eq!(begin(&configs, Resume::Fresh).finished(0, "d1"), None);
        assert!(Invocation::find(out.path(), "exp").unwrap().is_empty());
    }

    #[test]
    fn an_invocation_without_records_is_forgotten() {
        let out = tempfile::tempdir().unwrap();
        let configs = vec!["seed = 0".to_string()];
        let mut first =
            Invocation::begin(out.path(), "exp", configs, Value::Null, &Resume::Auto).unwrap();
        first.set(0, &out.path().join("exp/gone")).unwrap();
        assert!(first.path.is_file());
        assert!(Invocation::newest(out.path()).unwrap().is_none());
        assert!(!first.path.exists());
        first.end().unwrap();
    }
}
