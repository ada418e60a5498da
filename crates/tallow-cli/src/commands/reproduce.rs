//! `tallow reproduce`: all experiments of a tier, one after the other.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use tallow_experiment::report::shell_quoted;
use tallow_experiment::{Experiment, Outcome};
use tallow_record::{Tier, Verdict, duration, elapsed};

use crate::args::{RunnerArgs, tier_parser};
use crate::console::status;
use crate::ending::Ending;
use crate::program::Program;
use crate::runner::Runner;
use crate::table::{align_right, new_table};
use crate::{interrupt, output, results_table};

/// Examples at the end of the help text.
pub const EXAMPLES: &str = "Examples:
  {tallow} reproduce --tier smoke
  {tallow} reproduce --tier standard --results results
  {tallow} reproduce --tier full --only cifar10-vgg16 --device cuda
  {tallow} reproduce --tier smoke --tui
  {tallow} reproduce --tier smoke --events - | jq .event

Exit codes: 0 no claim failed; 1 a claim failed; 2 bad input, missing data or another error; 130 interrupted.";

/// Arguments of `reproduce`.
#[derive(Args, Debug)]
pub struct ReproduceArgs {
    /// Amount of training.
    #[arg(long, value_name = "TIER", value_parser = tier_parser(), default_value = "smoke")]
    pub tier: Tier,
    /// Run only this experiment: a name or the path of a TOML file (may be given several times).
    #[arg(long, value_name = "EXPERIMENT")]
    pub only: Vec<String>,
    /// Also write the results with the curves of all runs into this folder, as `EXPERIMENT.json`.
    #[arg(long, value_name = "DIR")]
    pub results: Option<PathBuf>,
    /// Place and manner of training.
    #[command(flatten)]
    pub runner: RunnerArgs,
    /// Print a JSON array of the results on standard output, and nothing else there.
    #[arg(long)]
    pub json: bool,
}

/// Runs the experiments of a tier and prints the result of each.
pub fn reproduce(args: &ReproduceArgs, program: &Program) -> Result<Ending> {
    let mut runner = Runner::new(&args.runner, args.json, program)?;
    let options = runner.engine.options_mut();
    options.results.clone_from(&args.results);
    let experiments = Experiment::of_tier(args.tier, &args.only, &runner.sets(&[]))?;
    interrupt::listen()?;
    let mut outcomes = Vec::new();
    for (i, experiment) in experiments.iter().enumerate() {
        let name = &experiment.name;
        status!("\n== {name} ({} of {})", i + 1, experiments.len());
        let Some(outcome) = runner.run(experiment, &command(args, program, name))? else {
            return Ok(Ending::Interrupted);
        };
        status!("{}", results_table::render(&outcome).trim_end_matches('\n'));
        outcomes.push(outcome);
    }

    let text = render(&outcomes);
    let events = args.runner.events_on_stdout();
    output::result(&text, args.json.then_some(&outcomes), events)?;
    Ok(if outcomes.iter().any(Outcome::failed) {
        Ending::ClaimFailed
    } else {
        Ending::Done
    })
}

/// The command that repeats the run of one experiment.
fn command(args: &ReproduceArgs, program: &Program, experiment: &str) -> String {
    let by_path = |path: &&String| {
        let stem = std::path::Path::new(path).file_stem();
        path.ends_with(".toml") && stem.is_some_and(|stem| stem == experiment)
    };
    let given = args.only.iter().find(by_path);
    format!(
        "{} run {} --tier {}{}",
        program.name,
        shell_quoted(given.map_or(experiment, String::as_str)),
        args.tier,
        args.runner.on_device()
    )
}

fn render(outcomes: &[Outcome]) -> String {
    let mut table = new_table(&["experiment", "claims", "statements", "time"]);
    for outcome in outcomes {
        let claims: Vec<Verdict> = outcome.claims.iter().map(|c| c.verdict()).collect();
        let statements: Vec<Verdict> = outcome.statements.iter().map(|s| s.verdict).collect();
        table.add_row([
            outcome.experiment.clone(),
            count(&claims),
            count(&statements),
            elapsed(outcome.seconds),
        ]);
    }
    align_right(&mut table, 3);
    let seconds: f64 = outcomes.iter().map(|o| o.seconds).sum();
    format!("{table}\nin all: {}\n", duration(seconds))
}

/// `2 hold, 1 holds partly`.
fn count(verdicts: &[Verdict]) -> String {
    let mut parts = Vec::new();
    for (verdict, one, many) in [
        (Verdict::Holds, "holds", "hold"),
        (Verdict::HoldsPartly, "holds partly", "hold partly"),
        (Verdict::DoesNotHold, "does not hold", "do not hold"),
        (Verdict::Undecided, "undecided", "undecided"),
        (Verdict::NotJudged, "not judged", "not judged"),
    ] {
        match verdicts.iter().filter(|v| **v == verdict).count() {
            0 => {}
            1 => parts.push(format!("1 {one}")),
            n => parts.push(format!("{n} {many}")),
        }
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_verdicts() {
        assert_eq!(count(&[]), "");
        assert_eq!(
            count(&[Verdict::Holds, Verdict::DoesNotHold, Verdict::Holds]),
            "2 hold, 1 does not hold"
        );
    }
}
