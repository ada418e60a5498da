//! Finding run records.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Folders of the run records under `runs`, the oldest first, of one experiment or of all.
///
/// A record is a folder `<runs>/<experiment>/<name>` with an `environment.json` and a `config.toml`; other folders are
/// ignored and symbolic links are not followed. Names begin with the time, so that they sort by it.
///
/// # Errors
/// [`Error::NoRunsFolder`] when `runs` is not a folder, [`Error::UnknownExperiment`] when it has no folder of this
/// experiment.
pub fn find_runs(runs: impl AsRef<Path>, experiment: Option<&str>) -> Result<Vec<PathBuf>> {
    let runs = runs.as_ref();
    if !runs.is_dir() {
        return Err(Error::NoRunsFolder {
            dir: runs.to_path_buf(),
        });
    }
    let mut experiments = folders(runs)?;
    if let Some(wanted) = experiment {
        let known: Vec<String> = experiments.iter().map(|dir| name(dir)).collect();
        experiments.retain(|dir| name(dir) == wanted);
        if experiments.is_empty() {
            return Err(Error::UnknownExperiment {
                dir: runs.to_path_buf(),
                name: wanted.to_string(),
                known,
            });
        }
    }
    let mut found = Vec::new();
    for experiment in experiments {
        found.extend(runs_of(experiment)?);
    }
    found.sort_by(|a, b| a.file_name().cmp(&b.file_name()));
    Ok(found)
}

/// Folders of the run records in the folder of an experiment, the oldest first. Symbolic links are not followed.
///
/// # Errors
/// [`Error::Io`] when the folder cannot be read.
pub fn runs_of(experiment: impl AsRef<Path>) -> Result<Vec<PathBuf>> {
    let mut found = folders(experiment.as_ref())?;
    found.retain(|dir| is_record(dir));
    Ok(found)
}

/// Whether a folder is a run record: it has an `environment.json` and a `config.toml`.
pub fn is_record(dir: impl AsRef<Path>) -> bool {
    ["environment.json", "config.toml"]
        .iter()
        .all(|name| dir.as_ref().join(name).is_file())
}

/// Folders in `dir`, sorted by name.
fn folders(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(Error::io(dir))? {
        let entry = entry.map_err(Error::io(dir))?;
        if entry.file_type().map_err(Error::io(dir))?.is_dir() {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

fn name(dir: &Path) -> String {
    let name = dir.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}
