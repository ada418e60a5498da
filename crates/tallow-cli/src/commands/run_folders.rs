//! Run records that the arguments of a command name.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use tallow_record::{Run, find_runs, is_record, runs_of};

use crate::console::status;
use crate::program::Program;

/// Weights of a finished run.
const WEIGHTS: &str = "model.safetensors";

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

/// Folder of a trained run: `path`, or of the folder of an experiment its newest finished run, which is told.
///
/// # Errors
/// For an experiment of which no run has finished, and for one with finished runs of several variants.
pub fn trained(path: &Path) -> Result<PathBuf> {
    let runs = match path.is_dir() && !is_record(path) {
        true => runs_of(path)?,
        false => Vec::new(),
    };
    if runs.is_empty() {
        // What is wrong with it is told by those who read it.
        return Ok(path.to_path_buf());
    }
    let finished = runs.iter().filter(|run| run.join(WEIGHTS).is_file());
    let mut newest: Vec<(String, &PathBuf)> = Vec::new();
    for run in finished {
        let variant = Run::read(run)?.info.variant;
        newest.retain(|(other, _)| *other != variant);
        newest.push((variant, run));
    }
    match &newest[..] {
        [] => bail!(
            "--run {}: none of its {} runs has finished; `tallow resume` continues one",
            path.display(),
            runs.len()
        ),
        [(_, run)] => {
            status!("run: {}", run.display());
            Ok(run.to_path_buf())
        }
        several => {
            let lines = several.iter();
            let lines = lines.map(|(variant, run)| format!("\n  {variant}: {}", run.display()));
            bail!(
                "--run {}: its runs are of several variants; name one of them:{}",
                path.display(),
                lines.collect::<String>()
            )
        }
    }
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
