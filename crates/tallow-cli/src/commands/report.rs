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
    let (folders, beside) = folders(args, program)?;
    let runs = folders
        .iter()
        .map(Run::read)
        .collect::<Result<Vec<_>, _>>()?;
    let path = match &args.output {
        Some(path) => path.clone(),
        None => beside.join("report.html"),
    };
    write_page(&path, &runs, None)?;
    output::print(&format!("{}\n", path.display()))?;
    if args.open {
        open::that_detached(&path)
            .with_context(|| format!("cannot open a browser; the report is {}", path.display()))?;
    }
    Ok(Ending::Done)
}

/// Folders of the run records that the arguments name, or those of the newest experiment, and the folder for their report: that of a run that
/// is named alone, else that of the first experiment.
fn folders(args: &ReportArgs, program: &Program) -> Result<(Vec<PathBuf>, PathBuf)> {
    let named = named(&args.runs, &args.out, program)?;
    let alone = matches!(named[..], [Named::Run(_)]);
    let mut found = Vec::new();
    for named in named {
        match named {
            Named::Run(run) => found.push(run),
            Named::Experiment(runs) => found.extend(latest(runs)?),
        }
    }
    let Some(first) = found.first() else {
        bail!("there are no runs to report");
    };
    let beside = match alone {
        true => first.as_path(),
        false => first.parent().unwrap_or(Path::new(".")),
    };
    let beside = beside.to_path_buf();
    Ok((found, beside))
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
