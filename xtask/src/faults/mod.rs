//! `cargo xtask faults`: faults put into the source on purpose, each of which `regress` should find.

mod judge;
mod row;
mod tree;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Args;
use tallow_cli::{Ending, git_commit, output, status};
use tallow_record::Tier;

use crate::repository;
pub use row::Row;
pub use tree::CONTROL;
use tree::{Fault, Tree};

/// Examples of the command.
pub const EXAMPLES: &str = "Examples:
  {tallow} faults --check
  {tallow} faults --traces
  {tallow} faults --traces --tier smoke --out docs/regression/faults.json
  {tallow} faults adam-beta2 flip-always --tier smoke --tier standard --only guard
  {tallow} faults --shaped --tier smoke --only guard --only mnist-pixel-order

Each fault takes a release build of the workspace; the traces take some seconds more, the smoke tier two to three minutes. The source
is copied to target/faults; what was found is written after each fault, so that an interrupted run loses one fault at most, and
faults that the file has of this commit are not judged again.";

/// Arguments of `faults`.
#[derive(Args, Debug)]
pub struct FaultsArgs {
    /// Faults to judge, or `control` for the source without one; by default all, and the control.
    faults: Vec<String>,
    /// Only the faults for which `regress` was made, in xtask/mutations.
    #[arg(long, conflicts_with = "out_of_sample")]
    shaped: bool,
    /// Only the faults that were written before they were judged, in xtask/mutations/out-of-sample, and the control.
    #[arg(long)]
    out_of_sample: bool,
    /// Leave out this fault (may be given several times).
    #[arg(long, value_name = "FAULT")]
    skip: Vec<String>,
    /// Check that every fault applies to the source, and judge none.
    #[arg(long)]
    check: bool,
    /// Compare the traces.
    #[arg(long)]
    traces: bool,
    /// Train this tier, and compare its metrics (may be given several times).
    #[arg(long, value_name = "TIER", value_parser = ["smoke", "standard"])]
    tier: Vec<String>,
    /// Compare only this experiment (may be given several times).
    #[arg(long, value_name = "EXPERIMENT")]
    only: Vec<String>,
    /// File of the findings, which keeps its other rows.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Judges the faults. A fault that goes unnoticed, or a control that does not, makes the command fail only where `regress` was made for the
/// faults.
pub fn faults(args: &FaultsArgs) -> Result<Ending> {
    let root = repository::root();
    let faults = chosen(args, &root)?;
    if args.check {
        return check(&root, &faults);
    }
    ensure!(
        args.traces || !args.tier.is_empty(),
        "nothing to compare: name --traces, --tier smoke, or both"
    );
    let tiers = args.tier.iter().map(|tier| match tier.as_str() {
        "standard" => Tier::Standard,
        _ => Tier::Smoke,
    });
    let tiers: Vec<Tier> = tiers.collect();
    let folder = root.join("target/faults");
    let file = args.out.clone().unwrap_or(folder.join("faults.json"));
    let commit = git_commit(Path::new(env!("CARGO_MANIFEST_DIR")));
    let mut rows = row::read(&file)?;
    let (mut unnoticed, mut disturbed) = (Vec::new(), false);
    for (i, fault) in faults.iter().enumerate() {
        let started = Instant::now();
        let name = fault.name();
        status!("\n== {name} ({} of {})", i + 1, faults.len());
        let mut row = match rows.remove(name) {
            // What another state of the source found says nothing of this one.
            Some(row) if row.commit == commit && row.is_clean() => row,
            _ => Row::new(fault, commit.clone())?,
        };
        let left: Vec<Tier> = tiers
            .iter()
            .copied()
            .filter(|&tier| !row.metrics.contains_key(&tier))
            .collect();
        let traces = args.traces && row.traces.is_none();
        if traces || !left.is_empty() {
            let tree = Tree::with(&root, &folder, fault)?;
            let program = tree.build()?;
            if traces {
                row.traces = Some(judge::traces(&program, &tree, &args.only)?);
            }
            for tier in left {
                let found = judge::metrics(&program, &tree, tier, &args.only)?;
                row.metrics.insert(tier, found);
            }
        }
        status!(
            "{name}: {}, {:.0} s",
            row.outcome(),
            started.elapsed().as_secs_f64()
        );
        let found = row.is_found();
        match fault {
            Fault::Control => disturbed |= found,
            Fault::Patch { shaped: true, .. } if !found => unnoticed.push(name.to_string()),
            Fault::Patch { .. } => {}
        }
        rows.insert(name.to_string(), row);
        row::write(&file, &rows)?;
    }
    output::print(&format!("{}\n", file.display()))?;
    if !unnoticed.is_empty() {
        status!(
            "unnoticed, though regress was made for them: {}",
            unnoticed.join(", ")
        );
    }
    Ok(match unnoticed.is_empty() && !disturbed {
        true => Ending::Done,
        false => Ending::CheckFailed,
    })
}

/// The faults that the arguments name, in order, the control first.
fn chosen(args: &FaultsArgs, root: &Path) -> Result<Vec<Fault>> {
    let mut known: BTreeMap<String, Fault> = BTreeMap::new();
    for fault in Fault::all(root)? {
        known.insert(fault.name().to_string(), fault);
    }
    known.retain(|name, _| !args.skip.contains(name));
    if args.faults.is_empty() {
        let wanted = |fault: &Fault| match fault {
            Fault::Control => !args.shaped,
            Fault::Patch { shaped, .. } => {
                !(args.shaped && !shaped || args.out_of_sample && *shaped)
            }
        };
        let (control, patches): (Vec<Fault>, Vec<Fault>) = (known.into_values())
            .filter(wanted)
            .partition(|fault| matches!(fault, Fault::Control));
        return Ok(control.into_iter().chain(patches).collect());
    }
    let find = |name: &String| {
        let names = || known.keys().cloned().collect::<Vec<_>>().join(", ");
        (known.get(name).cloned())
            .with_context(|| format!("there is no fault `{name}`; expected one of {}", names()))
    };
    args.faults.iter().map(find).collect()
}

fn check(root: &Path, faults: &[Fault]) -> Result<Ending> {
    let copy = tempfile::tempdir()?;
    tree::copy_source(root, copy.path())?;
    let mut broken = 0;
    for fault in faults {
        if let Err(error) = tree::apply(copy.path(), fault, &["--check"]) {
            status!("{error:#}");
            broken += 1;
        }
    }
    output::print(&format!(
        "{} of {} faults apply\n",
        faults.len() - broken,
        faults.len()
    ))?;
    Ok(match broken {
        0 => Ending::Done,
        _ => Ending::CheckFailed,
    })
}
