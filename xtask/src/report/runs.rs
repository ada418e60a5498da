//! `cargo xtask report RUN...`: run records as one HTML file.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use tallow_report::html::{Story, page};
use tallow_report::{Run, by_variant};

use super::write;
use crate::cli::ReportArgs;
use crate::cli::shell_quoted;
use crate::experiment::{self, Experiment, Tier};
use crate::results::{check, statement};
use crate::{Ending, outcome, output};

/// Reads the records that are named and writes the page.
pub fn report(args: &ReportArgs) -> Result<Ending> {
    let folders = folders(args)?;
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

/// Writes the report of these runs. The claims of `given`, the experiment that they are of, are judged by them; where none is given,
/// those of the experiment of their name that comes with Tallow.
fn write_page(path: &Path, runs: &[Run], given: Option<&Experiment>) -> Result<()> {
    let names: Vec<&str> = runs
        .iter()
        .map(|run| run.info.experiment.as_str())
        .collect();
    let first = *names.first().context("there are no runs to report")?;
    let one = names.iter().all(|name| *name == first);
    let named: Vec<Run>;
    let runs = if one {
        runs
    } else {
        named = runs.iter().map(named_in_full).collect();
        &named
    };
    let mut story = Story {
        title: if one {
            first.to_string()
        } else {
            "Runs".to_string()
        },
        question: None,
        claims: Vec::new(),
        statements: Vec::new(),
        published: Default::default(),
        runs,
        command: command(runs),
    };
    let known = match given {
        None if one => known(first, runs),
        _ => None,
    };
    if let Some(experiment) = given.or(known.as_ref()) {
        tell(&mut story, experiment)?;
    }
    write(path, page(&story)?)
}

/// Variants of different experiments may have one name, and are not one.
fn named_in_full(run: &Run) -> Run {
    let mut run = run.clone();
    run.info.variant = format!("{}: {}", run.info.experiment, run.info.variant);
    run
}

/// The experiment that the runs are of, if there is one and they are of one tier.
fn known(name: &str, runs: &[Run]) -> Option<Experiment> {
    let tier = |run: &Run| run.config.get("tier")?.as_str().map(str::to_string);
    let first = tier(runs.first()?)?;
    if runs.iter().any(|run| tier(run).as_ref() != Some(&first)) {
        return None;
    }
    let tier = Tier::from_str(&first, false).ok()?;
    experiment::load(name, tier, &[]).ok()
}

fn tell(story: &mut Story, experiment: &Experiment) -> Result<()> {
    let variants = by_variant(story.runs);
    let facts = crate::facts::work_out(&experiment.facts)?;
    let of = |name: &str| variants.iter().find(|v| v.name == name).map(|v| &v.metrics);
    let mean = |name: &str, metric: &str| outcome::figure(of, &facts, name, metric);
    story.question = Some(experiment.question.clone());
    story.claims = (experiment.claims.iter())
        .map(|c| check(&c.judge(mean)))
        .collect();
    story.statements = (experiment.statements.iter())
        .map(|s| statement(&s.judge(mean)))
        .collect();
    for variant in &experiment.variants {
        let (name, published) = (variant.name.clone(), variant.published.clone());
        story.published.insert(name, published);
    }
    Ok(())
}

/// The command line of the runs, where it is one; without the program's own path.
fn command(runs: &[Run]) -> Option<String> {
    let (_, arguments) = runs.first()?.environment.command.split_first()?;
    let same = |run: &Run| run.environment.command.get(1..) == Some(arguments);
    let quoted: Vec<_> = arguments.iter().map(|a| shell_quoted(a)).collect();
    runs.iter()
        .all(same)
        .then(|| format!("cargo xtask {}", quoted.join(" ")))
}

/// The run folders that are named: runs, experiments' folders, or experiments below `--out`. Without a name, the newest experiment.
fn folders(args: &ReportArgs) -> Result<Vec<PathBuf>> {
    let mut named = args.runs.clone();
    if named.is_empty() {
        named.push(newest(&args.out)?);
    }
    let mut found = Vec::new();
    for path in named {
        let below = args.out.join(&path);
        let path = if path.is_dir() || !below.is_dir() {
            path
        } else {
            below
        };
        ensure!(
            path.is_dir(),
            "{}: no such folder; name a run's folder, an experiment's, or an experiment below {}",
            path.display(),
            args.out.display()
        );
        if is_run(&path) {
            found.push(path);
            continue;
        }
        let mut runs = subfolders(&path)?;
        runs.retain(|run| is_run(run));
        if runs.is_empty() {
            bail!("{}: there are no run records in it", path.display());
        }
        found.extend(latest(runs)?);
    }
    Ok(found)
}

fn is_run(path: &Path) -> bool {
    path.join("environment.json").is_file() && path.join("config.toml").is_file()
}

fn subfolders(path: &Path) -> Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            folders.push(path);
        }
    }
    // A run's name begins with the time.
    folders.sort();
    Ok(folders)
}

/// The finished runs of the newest one's tier; of a variant those of its newest run's recipe, and of several with one seed the last.
fn latest(folders: Vec<PathBuf>) -> Result<Vec<PathBuf>> {
    let mut kept: Vec<(Run, PathBuf)> = Vec::new();
    for folder in folders {
        let run = Run::read(&folder)?;
        if run.summary.is_none() {
            continue;
        }
        // Means over runs that differ in more than their seeds say nothing.
        kept.retain(|(before, _)| {
            before.config.get("tier") == run.config.get("tier")
                && (before.info.variant != run.info.variant
                    || (before.info.seed != run.info.seed && recipe(before) == recipe(&run)))
        });
        kept.push((run, folder));
    }
    ensure!(!kept.is_empty(), "none of the runs has finished");
    Ok(kept.into_iter().map(|(_, folder)| folder).collect())
}

/// What a run was asked, but for its seed and what does not change results.
fn recipe(run: &Run) -> toml::Table {
    let mut config = run.config.clone();
    config.remove("seed");
    if let Some(train) = config.get_mut("train").and_then(|t| t.as_table_mut()) {
        train.remove("workers");
    }
    config
}

/// The experiment's folder below `out` that was written to last.
fn newest(out: &Path) -> Result<PathBuf> {
    ensure!(
        out.is_dir(),
        "{}: no such folder; runs are made by cargo xtask run, and --out says where they are",
        out.display()
    );
    let last = |folder: &PathBuf| {
        subfolders(folder)
            .ok()
            .and_then(|mut runs| runs.pop()?.file_name().map(|n| n.to_owned()))
    };
    let mut folders = subfolders(out)?;
    folders.sort_by_key(last);
    folders
        .pop()
        .with_context(|| format!("{}: there are no run records in it", out.display()))
}

/// Where the report goes: `report.html` in the folder that the runs are in, or in the run itself where it is one.
fn beside(folders: &[PathBuf]) -> Result<PathBuf> {
    let folder = match folders {
        [one] => one.as_path(),
        [first, ..] => first.parent().unwrap_or(Path::new(".")),
        [] => bail!("there are no runs to report"),
    };
    Ok(folder.join("report.html"))
}

/// Writes `report.html` beside the runs of an experiment.
pub fn of_experiment(experiment: &Experiment, runs: &[Run]) -> Result<PathBuf> {
    let folder = runs.first().and_then(|run| run.dir.parent());
    let path = folder
        .context("there are no runs to report")?
        .join("report.html");
    write_page(&path, runs, Some(experiment))?;
    Ok(path)
}
