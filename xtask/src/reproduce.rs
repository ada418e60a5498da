//! `cargo xtask reproduce`: the experiments of a tier, one after the other.

use anyhow::{Result, bail, ensure};
use tallow_report::results::Verdict;

use crate::cli::ReproduceArgs;
use crate::experiment::{self, Experiment, Tier};
use crate::outcome::Outcome;
use crate::run::Runner;
use crate::table::{align_right, new_table};
use crate::{Ending, interrupt, output, suggest, table};

/// Runs the experiments of a tier and prints how each came out.
pub fn reproduce(args: &ReproduceArgs) -> Result<Ending> {
    let mut runner = Runner::new(&args.runner, args.json)?;
    let experiments = of_tier(args.tier, &args.only, &runner.sets(&[]))?;
    interrupt::listen()?;
    let mut outcomes = Vec::new();
    for (i, experiment) in experiments.iter().enumerate() {
        let name = &experiment.name;
        say!("\n== {name} ({} of {})", i + 1, experiments.len());
        let device = args.runner.on_device();
        let command = format!("cargo xtask run {name} --tier {}{device}", args.tier);
        let Some(outcome) = runner.run(experiment, command)? else {
            return Ok(Ending::Interrupted);
        };
        say!("{}", table::render(&outcome).trim_end_matches('\n'));
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

/// The experiments of these names that have the tier; all that have it when no name is given.
pub fn of_tier(tier: Tier, only: &[String], sets: &[String]) -> Result<Vec<Experiment>> {
    let names = experiment::names()?;
    let known: Vec<&str> = names.iter().map(String::as_str).collect();
    for name in only {
        if !known.contains(&name.as_str()) {
            bail!(suggest::unknown("experiment", name, &known));
        }
    }
    let mut experiments = Vec::new();
    for name in names {
        if !only.is_empty() && !only.contains(&name) {
            continue;
        }
        let has = |experiment: &Experiment| experiment.tiers.iter().any(|(t, _)| *t == tier);
        let full = experiment::load(&name, Tier::Full, sets)?;
        if has(&full) {
            experiments.push(experiment::load(&name, tier, sets)?);
        } else if only.contains(&name) {
            bail!("{name} has no {tier} tier");
        }
    }
    ensure!(!experiments.is_empty(), "no experiment has a {tier} tier");
    Ok(experiments)
}

fn render(outcomes: &[Outcome]) -> String {
    let mut table = new_table(&["experiment", "claims", "of the write-up", "time"]);
    for outcome in outcomes {
        let claims = outcome.claims.iter();
        let failed = claims.clone().filter(|c| c.holds == Some(false)).count();
        let statements: Vec<Verdict> = outcome.statements.iter().map(|s| s.verdict).collect();
        table.add_row([
            outcome.experiment.clone(),
            match failed {
                0 => format!("all {} hold", claims.len()),
                n => format!("{n} of {} FAIL", claims.len()),
            },
            count(&statements),
            format!("{:.0} s", outcome.seconds),
        ]);
    }
    align_right(&mut table, 3);
    let seconds: f64 = outcomes.iter().map(|o| o.seconds).sum();
    format!("{table}\nin all: {seconds:.0} s\n")
}

/// `2 hold, 1 holds partly`.
fn count(verdicts: &[Verdict]) -> String {
    let mut parts = Vec::new();
    for (verdict, one, many) in [
        (Verdict::Holds, "holds", "hold"),
        (Verdict::HoldsPartly, "holds partly", "hold partly"),
        (Verdict::DoesNotHold, "does not hold", "do not hold"),
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

    #[test]
    fn names_are_checked() {
        let error = of_tier(Tier::Full, &["mnist-pixel-ordr".to_string()], &[]);
        let message = error.unwrap_err().to_string();
        assert!(
            message.contains("did you mean `mnist-pixel-order`?"),
            "{message}"
        );
    }
}
