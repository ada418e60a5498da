//! Run records that the arguments of a command name.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use tallow_record::{find_runs, is_record, runs_of};

use crate::program::Program;

/// Run records that one argument names.
pub enum Named {
    /// The folder of a run record.
    Run(PathBuf),
    /// All run records of an experiment, the oldest first.
    Experiment(Vec<PathBuf>),
}

/// Run records by the folders of runs or experiments, or by names of experiments below `out`; without any, those of the experiment
/// below `out` that was run last.
pub fn named(paths: &[PathBuf], out: &Path, program: &Program) -> Result<Vec<Named>> {
    let mut paths = paths.to_vec();
    if paths.is_empty() {
        paths.push(newest(out, program)?);
    }
    let mut found = Vec::new();
    for path in paths {
        let below = out.join(&path);
        let path = if path.is_dir() || !below.is_dir() {
            path
        } else {
            below
        };
        ensure!(
            path.is_dir(),
            "{}: no such folder; name a run's folder, an experiment's, or an experiment below {}",
            path.display(),
            out.display()
        );
        if is_record(&path) {
            found.push(Named::Run(path));
            continue;
        }
        let runs = runs_of(&path)?;
        if runs.is_empty() {
            bail!("{}: there are no run records in it", path.display());
        }
        found.push(Named::Experiment(runs));
    }
    Ok(found)
}

/// Folder of the experiment below `out` with the newest run.
fn newest(out: &Path, program: &Program) -> Result<PathBuf> {
    ensure!(
        out.is_dir(),
        "{}: no such folder; `{} run` makes run records, and --out names their folder",
        out.display(),
        program.name
    );
    let last = find_runs(out, None)?.pop();
    last.and_then(|run| Some(run.parent()?.to_path_buf()))
        .with_context(|| format!("{}: there are no run records in it", out.display()))
}
