//! `tallow track`: run records on a tracking server.

use std::path::PathBuf;

use anyhow::{Result, anyhow};
use clap::Args;
use serde::Serialize;
use tallow_record::{Run, thousands};

use crate::commands::run_folders::{Named, named};
use crate::console::status;
use crate::ending::Ending;
use crate::mlflow::{Action, Client, Credentials, Sent, Tracker, variable};
use crate::output;
use crate::program::Program;

/// Examples at the end of the help text.
pub const EXAMPLES: &str = "Examples:
  {tallow} track --mlflow http://127.0.0.1:5000
  {tallow} track quickstart --mlflow https://mlflow.example.org --experiment clothes
  MLFLOW_TRACKING_URI=http://127.0.0.1:5000 {tallow} track runs/quickstart/<run>

`mlflow server --port 5000` starts a server on this machine.";

/// Arguments of `track`.
#[derive(Args, Debug)]
pub struct TrackArgs {
    /// Folders of run records or of experiments, or names of experiments below --out; by default the experiment that was run last.
    #[arg(value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Address of the MLflow server; default: the value of MLFLOW_TRACKING_URI.
    #[arg(long, value_name = "URL")]
    mlflow: Option<String>,
    /// Experiment on the server; default: the value of MLFLOW_EXPERIMENT_NAME, else the experiment of each run. It is created if it is
    /// missing.
    #[arg(long, value_name = "NAME")]
    experiment: Option<String>,
    /// Folder of the run records.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    out: PathBuf,
    /// Print a JSON array on standard output, and nothing else there.
    #[arg(long)]
    json: bool,
}

/// Element of the output of `--json`.
#[derive(Serialize)]
struct Row {
    dir: PathBuf,
    #[serde(flatten)]
    sent: Sent,
}

/// Sends the runs, and prints a line for each.
///
/// A run that the server refuses, and a record that cannot be read, are reported and do not keep the others back.
pub fn track(args: &TrackArgs, program: &Program) -> Result<Ending> {
    let address = args
        .mlflow
        .clone()
        .or_else(|| variable("MLFLOW_TRACKING_URI"));
    let address = address.ok_or_else(|| {
        anyhow!(
            "no server is named: give its address, as in `{} track --mlflow http://127.0.0.1:5000`, or set MLFLOW_TRACKING_URI",
            program.name
        )
    })?;
    let experiment = args.experiment.clone();
    let experiment = experiment.or_else(|| variable("MLFLOW_EXPERIMENT_NAME"));
    let mut folders = Vec::new();
    for named in named(&args.runs, &args.out, program)? {
        match named {
            Named::Run(run) => folders.push(run),
            Named::Experiment(runs) => folders.extend(runs),
        }
    }
    let mut tracker = Tracker::new(Client::new(&address, &Credentials::of_environment())?);
    let (mut rows, mut refused) = (Vec::new(), false);
    for dir in folders {
        let run = match Run::read(&dir) {
            Ok(run) => run,
            Err(error) => {
                status!("not sent: {error}");
                refused = true;
                continue;
            }
        };
        let name = experiment.as_deref().unwrap_or(&run.info.experiment);
        match tracker.send(&run, name) {
            Ok(sent) => {
                for note in &sent.notes {
                    status!("{}: {note}", dir.display());
                }
                let row = Row { dir, sent };
                if !args.json {
                    output::print(&line(&row))?;
                }
                rows.push(row);
            }
            Err(error) if error.is_of_one_run() => {
                status!("not sent: {}: {error}", dir.display());
                refused = true;
            }
            Err(error) => return Err(error.into()),
        }
    }
    if args.json {
        output::json(&rows)?;
    }
    Ok(match refused {
        true => Ending::Refused,
        false => Ending::Done,
    })
}

fn line(row: &Row) -> String {
    let sent = &row.sent;
    let what = match sent.action {
        Action::Created => "sent",
        Action::Updated => "completed",
        Action::Unchanged => "already there",
    };
    let status = sent.status.as_str();
    format!(
        "{}: {what} ({status}), {} parameters, {} metric values\n  {}\n",
        row.dir.display(),
        thousands(sent.params as u64),
        thousands(sent.metrics as u64),
        sent.url
    )
}
