//! `tallow report`: run records as one HTML file.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::Value;
use tallow_experiment::report::write_page;
use tallow_record::Run;
use tallow_regress::comparable;

use crate::commands::run_folders::{Named, named};
use crate::ending::Ending;
use crate::output;
use crate::program::Program;

/// Examples at the end of the help text.
pub const EXAMPLES: &str = "Examples:
  {tallow} report --open
  {tallow} report quickstart -o quickstart.html
  {tallow} report runs/quickstart/<run> runs/mnist-pixel-order/<run> -o both.html";

/// Arguments of `report`.
#[derive(Args, Debug)]
pub struct ReportArgs {
    /// Folders of run records or of experiments, or names of experiments below --out; by default the experiment that was run last.
    #[arg(value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    /// Write the page to this file instead of report.html beside the runs.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Open the page in the browser.
    #[arg(long)]
    pub open: bool,
    /// Folder of the run records.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub out: PathBuf,
}

/// Reads the run records and writes the page.
pub fn report(args: &ReportArgs, program: &Program) -> Result<Ending> {
    let folders = folders(args, program)?;
    let runs = folders
        .iter()
        .map(Run::read)
        .collect::<Result<Vec<_>, _>>()?;
    let path = match &args.output {
        Some(path) => path.clone(),
        None => beside(&folders)?,
    };
    write_page(&path, &runs, None)?;
    output::print(&format!("{}\n", path.display()))?;
    if args.open {
        open::that_detached(&path)
            .with_context(|| format!("cannot open a browser; the report is {}", path.display()))?;
    }
    Ok(Ending::Done)
}

/// Folders of the run records that the arguments name, or those of the newest experiment.
fn folders(args: &ReportArgs, program: &Program) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for named in named(&args.runs, &args.out, program)? {
        match named {
            Named::Run(run) => found.push(run),
            Named::Experiment(runs) => found.extend(latest(runs)?),
        }
    }
    Ok(found)
}

/// The finished runs of the newest tier; of each variant those with its newest recipe, and of several with one seed the last.
fn latest(folders: Vec<PathBuf>) -> Result<Vec<PathBuf>> {
    let mut kept: Vec<(Run, Value)> = Vec::new();
    for folder in folders {
        let run = Run::read(&folder)?;
        if run.summary.is_none() {
            continue;
        }
        let recipe = recipe(&run)?;
        // A mean is over runs that differ in their seeds alone.
        kept.retain(|(before, other)| {
            before.config.get("tier") == run.config.get("tier")
                && (before.info.variant != run.info.variant
                    || (before.info.seed != run.info.seed && *other == recipe))
        });
        kept.push((run, recipe));
    }
    ensure!(!kept.is_empty(), "none of the runs has finished");
    Ok(kept.into_iter().map(|(run, _)| run.dir).collect())
}

/// Recipe of a run without its seed and keys that do not change results.
fn recipe(run: &Run) -> Result<Value> {
    let mut config = run.config.clone();
    config.remove("seed");
    Ok(comparable(serde_json::to_value(config)?))
}

/// Path of the report: `report.html` in the folder of the runs, or in the run's own folder where it is one.
fn beside(folders: &[PathBuf]) -> Result<PathBuf> {
    let folder = match folders {
        [one] => one.as_path(),
        [first, ..] => first.parent().unwrap_or(Path::new(".")),
        [] => bail!("there are no runs to report"),
    };
    Ok(folder.join("report.html"))
}
