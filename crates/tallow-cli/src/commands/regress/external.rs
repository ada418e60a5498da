//! Comparison of results of another program with their baseline.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use tallow_regress::{Directions, ExternalBaseline, ExternalResults, Selection, compare_external};

use super::args::RegressArgs;
use super::publish::{prepare, publish};
use crate::ending::Ending;
use crate::output;
use crate::program::git_commit;

/// Compares results with their baseline, or makes a new baseline of them.
pub fn regress(args: &RegressArgs) -> Result<Ending> {
    let path = args
        .baseline
        .as_deref()
        .context("--results needs --baseline FILE")?;
    let selection = Selection {
        directions: Directions {
            lower: args.lower.clone(),
            higher: args.higher.clone(),
        },
        metrics: args.metric.clone(),
        no_speed: args.no_speed,
    };
    let started = Instant::now();
    let results = ExternalResults::read(&args.results)?;
    let before = ExternalBaseline::read(path)?;
    if args.update {
        let reason = args.reason.as_deref().unwrap_or_default();
        let commit = git_commit(Path::new("."));
        let new = ExternalBaseline::new(&results, &selection, before.as_ref(), reason, commit)?;
        new.write(path)?;
        output::print(&format!("{}\n", path.display()))?;
        return Ok(Ending::Done);
    }
    let Some(baseline) = before else {
        bail!(
            "{}: no such baseline; to make it of these results, add --update --reason \"...\"",
            path.display()
        );
    };
    prepare(args)?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let mut findings = compare_external(&name, &baseline, &results, &selection)?;
    findings.seconds = started.elapsed().as_secs_f64();
    publish(args, &findings)
}
