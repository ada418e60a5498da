//! Finished runs that need not be repeated.

use std::fs;
use std::path::{Path, PathBuf};

use tallow_record::{Environment, runs_of};
use tallow_train::experiment_folder;

use crate::error::Result;
use crate::unfinished::{differences, environment, is_finished};

/// Run that would be trained.
pub(crate) struct Repeated<'a> {
    /// Its `config.toml`.
    pub config: &'a str,
    /// Digest of its training data.
    pub digest: &'a str,
    /// Machine and program.
    pub environment: &'a Environment,
}

impl Repeated<'_> {
    /// Folder of the newest finished run below `out` that this one would repeat: of the same recipe, seed and data, by the same build of the
    /// program, on the same kind of machine with the same number of threads.
    pub fn find(&self, out: &Path, experiment: &str) -> Result<Option<PathBuf>> {
        let folder = experiment_folder(out, experiment);
        if !folder.is_dir() {
            return Ok(None);
        }
        let runs = runs_of(&folder)?.into_iter().rev();
        Ok(runs.into_iter().find(|run| self.is_in(run)))
    }

    fn is_in(&self, run: &Path) -> bool {
        let config = fs::read_to_string(run.join("config.toml"));
        is_finished(run)
            && config.is_ok_and(|config| differences(&config, self.config).is_empty())
            && environment(run).is_some_and(|file| {
                file.run.dataset.digest == self.digest
                    && file.environment.without_command()
                        == self.environment.clone().without_command()
            })
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
            let repeated = Repeated {
                config,
                digest,
                environment,
            };
            repeated.find(out.path(), "exp").unwrap()
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
