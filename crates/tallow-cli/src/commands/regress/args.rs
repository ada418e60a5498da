//! Arguments of `regress`.

use std::path::PathBuf;

use clap::Args;
use tallow_record::Tier;

use crate::args::{RunnerArgs, Seeds, parse_seeds, tier_parser};

/// Examples at the end of the help text.
pub const EXAMPLES: &str = "Examples:
  {tallow} regress
  {tallow} regress --only mnist-pixel-order --only cifar10-cnn
  {tallow} regress --tier standard --junit junit.xml --markdown table.md
  {tallow} regress --seeds 100..103 --json
  {tallow} regress --traces
  {tallow} regress --update --reason \"a wider first layer\" --only cifar10-cnn
  {tallow} regress --tier standard --only cifar10-cnn --update --from docs/results --reason \"first record\"

Results of another program, such as a PyTorch project:
  {tallow} regress --results runs --baseline baseline.json --update --reason \"first record\"
  {tallow} regress --results runs --baseline baseline.json --junit junit.xml
  {tallow} regress --results results.csv --baseline baseline.json --lower wer --metric wer --metric val_loss
--results takes folders of runs, each with a metrics.jsonl or a summary.json, JSON lines with numbers for each epoch, and CSV files
with the columns seed,metric,value and optionally variant. No further seeds can be trained there: one round decides.

Exit codes: 0 nothing got worse; 1 a metric got worse, a trace changed, or a claim failed; 2 bad input, missing data, or a baseline of other data or
another recipe, even if other experiments got worse; 130 interrupted.";

/// Arguments of `regress`.
#[derive(Args, Debug)]
pub struct RegressArgs {
    /// Amount of training.
    #[arg(long, value_name = "TIER", value_parser = tier_parser(), default_value = "smoke")]
    pub tier: Tier,
    /// Compare only this experiment: a name or the path of a TOML file (may be given several times).
    #[arg(long, value_name = "EXPERIMENT")]
    pub only: Vec<String>,
    /// Seeds of the first round, instead of the experiments' own: 0..3 is 0, 1, 2. With --update, seeds of the baseline; by default
    /// thirty in the smoke tier.
    #[arg(long, value_name = "SEEDS", value_parser = parse_seeds)]
    pub seeds: Option<Seeds>,
    /// Baselines: a folder of EXPERIMENT.TIER.json files, the file of the one experiment named by --only, or the file for --results.
    #[arg(long, value_name = "PATH")]
    pub baseline: Option<PathBuf>,
    /// Compare these results of another program instead of training: folders of runs, or files .csv, .jsonl or .json.
    #[arg(
        long,
        value_name = "PATH",
        num_args = 1..,
        requires = "baseline",
        conflicts_with_all = ["tier", "only", "seeds", "exact", "from"]
    )]
    pub results: Vec<PathBuf>,
    /// With --results: lower values of this metric are better (may be given several times).
    #[arg(long, value_name = "METRIC", requires = "results")]
    pub lower: Vec<String>,
    /// With --results: higher values of this metric are better (may be given several times).
    #[arg(long, value_name = "METRIC", requires = "results")]
    pub higher: Vec<String>,
    /// With --results: compare only this metric (may be given several times).
    #[arg(long, value_name = "METRIC", requires = "results")]
    pub metric: Vec<String>,
    /// Compare the traces alone, and train nothing: learning rates, order of the samples, batches, initial weights and steps of the
    /// optimizer. With --update, renew them in the baselines and keep the metrics.
    #[arg(long, conflicts_with_all = ["exact", "results", "from"])]
    pub traces: bool,
    /// Fail also if weights differ from the baseline's on the same class of machine: for changes that must not change a bit.
    #[arg(long, conflicts_with = "update")]
    pub exact: bool,
    /// Do not compare speeds: for machines that are shared, as those of CI are.
    #[arg(long, conflicts_with = "update")]
    pub no_speed: bool,
    /// Write the outcome as JUnit XML.
    #[arg(long, value_name = "FILE", conflicts_with = "update")]
    pub junit: Option<PathBuf>,
    /// Write the outcome as a table in Markdown, as for a comment on a pull request.
    #[arg(long, value_name = "FILE", conflicts_with = "update")]
    pub markdown: Option<PathBuf>,
    /// Make new baselines from the present results; needs --reason.
    #[arg(long, requires = "reason")]
    pub update: bool,
    /// Reason for the new baseline; it is stored with the commit.
    #[arg(long, value_name = "TEXT", requires = "update")]
    pub reason: Option<String>,
    /// With --update: take the metrics from the results files in this folder, and train nothing.
    #[arg(
        long,
        value_name = "DIR",
        requires = "update",
        conflicts_with = "seeds"
    )]
    pub from: Option<PathBuf>,
    /// Place and manner of training.
    #[command(flatten)]
    pub runner: RunnerArgs,
    /// Print one JSON object on standard output, and nothing else there.
    #[arg(long, conflicts_with = "update")]
    pub json: bool,
}
