//! Finished runs that need not be repeated.

use std::fs;
use std::path::{Path, PathBuf};

use tallow_record::{Environment, runs_of};
use tallow_train::experiment_folder;

use crate::error::Result;
use crate::unfinished::{differences, environment, is_finished};

/// Finished runs of an experiment by one build of the program, on one kind of machine with one number of threads.
pub(crate) struct Finished(Vec<FinishedRun>);

struct FinishedRun {
    folder: PathBuf,
    /// Its `config.toml`.
    config: String,
    /// Digest of its training data.
    digest: String,
}

impl Finished {
    /// Those below `out`.
    pub fn read(out: &Path, experiment: &str, by: &Environment) -> Result<Self> {
        let folder = experiment_folder(out, experiment);
        if !folder.is_dir() {
            return Ok(Self(Vec::new()));
        }
        let by = by.clone().without_command();
        let read = |folder: PathBuf| {
            let file = environment(&folder).filter(|_| is_finished(&folder))?;
            let config = fs::read_to_string(folder.join("config.toml")).ok()?;
            let same = file.environment.without_command() == by;
            same.then_some(FinishedRun {
                folder,
                config,
                digest: file.run.dataset.digest,
            })
        };
        let runs = runs_of(&folder)?.into_iter();
        Ok(Self(runs.filter_map(read).collect()))
    }

    /// Folder of the newest one of this configuration, on training data of this digest.
    pub fn find(&self, config: &str, digest: &str) -> Option<&Path> {
        let same = |run: &&FinishedRun| {
            run.digest == digest && differences(&run.config, config).is_empty()
        };
        let found = self.0.iter().rev().find(same)?;
        Some(&found.folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> Environment {
        tallow_train::capture_environment(&candle_core::Device::Cpu, Some("c1".to_string()))
    }

    fn record(out: &Path, name: &str, config: &str, environment: &Environment) -> PathBuf {
        let folder = experiment_folder(out, "exp").join(name);
        fs::create_dir_all(&folder).unwrap();
        let run = serde_json::json!({ "experiment": "exp", "variant": "v", "seed": 0, "model": "mlp", "parameters": 1,
            "dataset": { "name": "d", "provenance": "p", "digest": "d1" } });
        let file = serde_json::json!({ "run": run, "environment": environment });
        fs::write(folder.join("environment.json"), file.to_string()).unwrap();
        fs::write(folder.join("config.toml"), config).unwrap();
        fs::write(folder.join("summary.json"), "{}").unwrap();
        folder
    }

    #[test]
    fn the_newest_finished_run_of_the_same_recipe_data_and_program_is_found() {
        let out = tempfile::tempdir().unwrap();
        let environment = here();
        let find = |config: &str, digest: &str, environment: &Environment| {
            let finished = Finished::read(out.path(), "exp", environment).unwrap();
            finished.find(config, digest).map(PathBuf::from)
        };
        let config = "seed = 0\n[train]\nworkers = 1\nepochs = 3\n";
        assert_eq!(find(config, "d1", &environment), None);

        record(out.path(), "20260101T000000Z-v-s0", config, &environment);
        let newest = record(out.path(), "20260102T000000Z-v-s0", config, &environment);
        let cut = record(out.path(), "20260103T000000Z-v-s0", config, &environment);
        fs::remove_file(cut.join("summary.json")).unwrap();
        assert_eq!(find(config, "d1", &environment), Some(newest.clone()));
        // Workers do not change results.
        let workers = config.replace("workers = 1", "workers = 4");
        assert_eq!(find(&workers, "d1", &environment), Some(newest));

        let longer = config.replace("epochs = 3", "epochs = 4");
        assert_eq!(find(&longer, "d1", &environment), None);
        assert_eq!(find(config, "d2", &environment), None);
        for change in [
            |e: &mut Environment| e.commit = Some("c2".to_string()),
            |e: &mut Environment| e.threads += 1,
            |e: &mut Environment| e.device = "cuda:0".to_string(),
            |e: &mut Environment| e.cpu = "another".to_string(),
        ] {
            let mut other = environment.clone();
            change(&mut other);
            assert_eq!(find(config, "d1", &other), None);
        }
    }
}
