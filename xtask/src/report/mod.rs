//! `cargo xtask report --docs`: writes the figures of `docs/results/*.json` into the pages that tell of them.
//!
//! A page marks where figures go; what stands between the marks is made here, and pictures are made beside it. The same
//! results give the same bytes, so that `--check` can say whether somebody changed a figure by hand or forgot to write
//! the pages again.

mod blocks;
mod charts;
mod format;
pub mod gallery;
mod language;
mod marks;
mod metrics;
mod pictures;
mod prose;
mod regression;
pub mod runs;
mod store;
mod tables;
mod value;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::cli::ReportArgs;
use crate::{Ending, output, results};
use language::Language;
use marks::Mark;
use pictures::Pictures;
use store::Store;

/// What a generated SVG file begins with, after its first tag; a file that has it and belongs to no page is removed.
const MADE: &str = "<!-- made by cargo xtask report -->";

/// Writes the pages and pictures, or says which are not as they would be written.
pub fn report(args: &ReportArgs) -> Result<Ending> {
    if !args.docs {
        return runs::report(args);
    }
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
        let file = |name| Stale {
            name,
            content: None,
        };
        stale.extend(judged.into_iter().map(file));
        return check(&dir, &stale);
    }
    for file in &stale {
        let path = dir.join(&file.name);
        match &file.content {
            Some(content) => write(&path, content)?,
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

/// Judges the results by what the experiments' files claim now: writes those that differ, or only names them.
fn judge(dir: &Path, check: bool) -> Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for name in files(dir, Path::new("results"), "json")? {
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

fn check(dir: &Path, stale: &[Stale]) -> Result<Ending> {
    if stale.is_empty() {
        output::print("the pages are what the results make them\n")?;
        return Ok(Ending::Done);
    }
    for file in stale {
        say!("{}", dir.join(&file.name).display());
    }
    say!(
        "these files differ from what the results make them; cargo xtask report --docs writes them"
    );
    Ok(Ending::DocsDiffer)
}

/// Pages and pictures as the results make them, by path below the folder of the pages.
struct Made {
    pages: BTreeMap<PathBuf, String>,
    charts: BTreeMap<PathBuf, String>,
    /// Made only where the data is, and never when checking.
    images: BTreeMap<PathBuf, Vec<u8>>,
}

/// A file that is not as it should be.
struct Stale {
    name: PathBuf,
    /// What it should hold; `None` for a file that should not be.
    content: Option<Vec<u8>>,
}

impl std::fmt::Display for Stale {
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
    fn stale(&self, dir: &Path) -> Result<Vec<Stale>> {
        let mut stale = Vec::new();
        let texts = self.pages.iter().chain(&self.charts);
        let all = texts
            .map(|(name, text)| (name, text.as_bytes()))
            .chain(self.images.iter().map(|(name, bytes)| (name, &bytes[..])));
        for (name, content) in all {
            let path = dir.join(name);
            if !path.exists() || fs::read(&path).with_context(reading(&path))? != content {
                stale.push(Stale {
                    name: name.clone(),
                    content: Some(content.to_vec()),
                });
            }
        }
        for name in files(dir, Path::new(pictures::FOLDER), "svg")? {
            if !self.charts.contains_key(&name) && read(&dir.join(&name))?.contains(MADE) {
                stale.push(Stale {
                    name,
                    content: None,
                });
            }
        }
        stale.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(stale)
    }
}

/// A page on its way: what its marks may ask for.
struct Page<'a> {
    /// Path below the folder of the pages.
    name: &'a Path,
    language: Language,
    store: &'a Store,
    pictures: &'a mut Pictures,
}

impl Page<'_> {
    /// The way from this page to a file below the folder of the pages.
    fn link(&self, to: &str) -> String {
        let folders = |path: &str| -> Vec<String> {
            let mut parts: Vec<String> = path.split('/').map(str::to_string).collect();
            parts.pop();
            parts
        };
        let (from, target) = (folders(&self.name.to_string_lossy()), folders(to));
        let alike = from.iter().zip(&target).take_while(|(a, b)| a == b).count();
        let rest: Vec<&str> = to.split('/').skip(alike).collect();
        format!("{}{}", "../".repeat(from.len() - alike), rest.join("/"))
    }
}

/// Makes everything; all that is wrong with the marks is one error, a line each.
fn make(dir: &Path, args: &ReportArgs) -> Result<Made> {
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

/// The files of this kind in `dir/below` and its folders, sorted, by path below `dir`.
fn files(dir: &Path, below: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let folder = dir.join(below);
    if !folder.is_dir() {
        return Ok(found);
    }
    let entries =
        fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let name = below.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            found.extend(files(dir, &name, extension)?);
        } else if name.extension().is_some_and(|e| e == extension) {
            found.push(name);
        }
    }
    found.sort();
    Ok(found)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(reading(path))
}

fn reading(path: &Path) -> impl FnOnce() -> String {
    move || format!("cannot read {}", path.display())
}

/// Writes under another name and renames, so that nothing half-written stays behind.
pub fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    let context = || format!("cannot write {}", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(context)?;
    }
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    fs::write(&partial, content).with_context(context)?;
    fs::rename(&partial, path).with_context(context)
}
