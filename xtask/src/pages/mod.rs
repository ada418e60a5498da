//! `cargo xtask docs`: writes the results of `docs/results/*.json` into the pages of the docs.
//!
//! A page has marks; the text between them is generated, and pictures are generated beside it. The same results give the same bytes, so
//! that `--check` finds results that were changed by hand and pages that were not generated again.

mod bench;
mod block;
mod blocks;
mod charts;
mod equivalence;
mod files;
mod format;
mod images;
mod language;
mod marks;
mod minutes;
mod page;
mod pictures;
mod prose;
mod regression;
mod schedules;
mod speedrun;
mod store;
mod tables;
mod trained;
mod value;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use tallow_cli::console::status;
use tallow_cli::{Ending, output};
use tallow_experiment::results;
use tallow_record::write_atomic;

use files::{files, read, reading};
use language::Language;
use marks::Mark;
use page::Page;
use pictures::{FOLDER, MADE, Pictures};
use store::{Store, results_files};

/// Examples at the end of the help text.
pub const EXAMPLES: &str = "Examples:
  {tallow} docs
  {tallow} docs --check

Marks in a page:
  <!-- tallow: results mnist-pixel-order -->
  <!-- /tallow -->
  ... reaches <!-- tallow: value mnist-pixel-order cnn percent --><!-- /tallow --> ...
Blocks: results, metrics, statements, claims, setup, per-class, predictions, facts, curves, bars, waterfall, confusion,
gradients, inputs, samples, summary, recipes, faults, repeats, schedules, equivalence, equivalence-plan, bench. Formats of values: percent,
points, number:N, count, seconds, minutes.";

/// Arguments of `docs`.
#[derive(Args, Debug)]
pub struct DocsArgs {
    /// Write nothing; exit with 1 and name the files that would change.
    #[arg(long)]
    check: bool,
    /// Folder of the pages, instead of Tallow's own docs.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Look for the data in this folder before the usual places.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Writes the pages and pictures, or lists those that differ.
pub fn docs(args: &DocsArgs) -> Result<Ending> {
    let dir = match &args.dir {
        Some(dir) => dir.clone(),
        None => Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .unwrap_or(Path::new("."))
            .join("docs"),
    };
    ensure!(
        dir.is_dir(),
        "{}: no such folder; a folder of pages holds *.md and results/*.json",
        dir.display()
    );
    let judged = judge(&dir, args.check)?;
    let made = make(&dir, args)?;
    let mut stale = made.stale(&dir)?;
    if args.check {
        let file = |name| CheckFailed {
            name,
            content: None,
        };
        stale.extend(judged.into_iter().map(file));
        return check(&dir, &stale);
    }
    for file in &stale {
        let path = dir.join(&file.name);
        match &file.content {
            Some(content) => write_atomic(&path, content)?,
            None => fs::remove_file(&path)
                .with_context(|| format!("cannot remove {}", path.display()))?,
        }
    }
    let names: Vec<String> = stale.iter().map(|file| format!("{file}\n")).collect();
    output::print(&format!(
        "{} pages, {} pictures; {} changed\n{}",
        made.pages.len(),
        made.charts.len() + made.images.len(),
        names.len(),
        names.concat()
    ))?;
    Ok(Ending::Done)
}

/// Judges the results by the current claims of the experiments: writes the files that differ, or only names them.
fn judge(dir: &Path, check: bool) -> Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for name in results_files(dir)? {
        let path = dir.join(&name);
        if let Some(judged) = results::judged_anew(&path)? {
            if !check {
                judged.write(&path)?;
            }
            names.push(name);
        }
    }
    Ok(names)
}

fn check(dir: &Path, stale: &[CheckFailed]) -> Result<Ending> {
    if stale.is_empty() {
        output::print("the pages agree with the results\n")?;
        return Ok(Ending::Done);
    }
    for file in stale {
        status!("{}", dir.join(&file.name).display());
    }
    status!(
        "these files differ from those generated from the results; `cargo xtask docs` writes them"
    );
    Ok(Ending::CheckFailed)
}

/// Generated pages and pictures by path below the folder of the pages.
struct Made {
    pages: BTreeMap<PathBuf, String>,
    charts: BTreeMap<PathBuf, String>,
    /// Generated only where the data is found, and not for --check.
    images: BTreeMap<PathBuf, Vec<u8>>,
}

/// A file that differs from the generated one.
struct CheckFailed {
    name: PathBuf,
    /// Generated content; `None` for a file to remove.
    content: Option<Vec<u8>>,
}

impl std::fmt::Display for CheckFailed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = if self.content.is_some() {
            "wrote"
        } else {
            "removed"
        };
        write!(f, "  {what} {}", self.name.display())
    }
}

impl Made {
    /// The files that differ, sorted.
    fn stale(&self, dir: &Path) -> Result<Vec<CheckFailed>> {
        let mut stale = Vec::new();
        let texts = self.pages.iter().chain(&self.charts);
        let all = texts
            .map(|(name, text)| (name, text.as_bytes()))
            .chain(self.images.iter().map(|(name, bytes)| (name, &bytes[..])));
        for (name, content) in all {
            let path = dir.join(name);
            if !path.exists() || fs::read(&path).with_context(reading(&path))? != content {
                stale.push(CheckFailed {
                    name: name.clone(),
                    content: Some(content.to_vec()),
                });
            }
        }
        for name in files(dir, Path::new(FOLDER), "svg")? {
            if !self.charts.contains_key(&name) && read(&dir.join(&name))?.contains(MADE) {
                stale.push(CheckFailed {
                    name,
                    content: None,
                });
            }
        }
        stale.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(stale)
    }
}

/// Generates everything; all errors in marks are one error, a line each.
fn make(dir: &Path, args: &DocsArgs) -> Result<Made> {
    let store = Store::open(dir)?;
    let mut pictures = Pictures::new(dir, args.data.clone(), !args.check);
    let mut pages = BTreeMap::new();
    let mut errors = Vec::new();
    for name in files(dir, Path::new(""), "md")? {
        let path = dir.join(&name);
        let text = read(&path)?;
        let mut page = Page {
            name: &name,
            language: Language::of(&name),
            store: &store,
            pictures: &mut pictures,
        };
        let rewritten = marks::rewrite(&text, |mark| match mark {
            Mark::Block(words) => blocks::block(words, &mut page),
            Mark::Inline(words) => value::inline(words, &page),
        });
        match rewritten {
            Ok(text) => {
                pages.insert(name.clone(), text);
            }
            Err(problems) => errors.extend(problems.into_iter().map(|(line, error)| {
                format!(
                    "{}, line {line}: {}",
                    path.display(),
                    output::message(&error)
                )
            })),
        }
    }
    if !errors.is_empty() {
        bail!("{}", errors.join("\n"));
    }
    let (charts, images) = pictures.into_made();
    Ok(Made {
        pages,
        charts,
        images,
    })
}
