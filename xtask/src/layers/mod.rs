//! `cargo xtask layers`: dependencies between the crates, and imports between the files of each.

mod modules;
mod tokens;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use tallow_cli::{Ending, output};

use modules::ModuleGraph;

/// Arguments of `layers`.
#[derive(Args, Debug)]
pub struct LayersArgs {
    /// Root of the workspace; default: this repository.
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

/// Prints the layers, and the faults that were found.
pub fn layers(args: &LayersArgs) -> Result<Ending> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let layers = Layers::read(args.root.as_deref().unwrap_or(&here))?;
    let faults = layers.faults();
    let mut text = layers.render();
    for fault in &faults {
        let _ = write!(text, "\n{fault}");
    }
    match faults.len() {
        0 => text
            .push_str("\nno crate uses a higher one, and no files import each other in a circle\n"),
        n => {
            let _ = writeln!(text, "\n\n{n} faults");
        }
    }
    output::print(&text)?;
    Ok(if faults.is_empty() {
        Ending::Done
    } else {
        Ending::CheckFailed
    })
}

/// Crates that each crate may use directly, from the lowest layer to the highest.
const LAYERS: [(&str, &[&str]); 19] = [
    ("tallow-cuda", &[]),
    ("tallow-ops", &["tallow-cuda"]),
    ("tallow-transforms", &[]),
    ("tallow-metrics", &[]),
    ("tallow-record", &[]),
    ("tallow-jpeg", &[]),
    ("tallow-pickle", &[]),
    ("tallow-tensorboard", &[]),
    ("tallow-onnx", &[]),
    ("tallow-regress", &["tallow-record"]),
    (
        "tallow-models",
        &["tallow-ops", "tallow-pickle", "tallow-onnx"],
    ),
    (
        "tallow-datasets",
        &["tallow-transforms", "tallow-jpeg", "tallow-pickle"],
    ),
    ("tallow-report", &["tallow-record"]),
    (
        "tallow-train",
        &[
            "tallow-cuda",
            "tallow-datasets",
            "tallow-ops",
            "tallow-metrics",
            "tallow-record",
            "tallow-tensorboard",
            "tallow-transforms",
        ],
    ),
    ("tallow-mpi", &["tallow-train"]),
    (
        "tallow-experiment",
        &[
            "tallow-models",
            "tallow-train",
            "tallow-report",
            "tallow-regress",
            "tallow-datasets",
            "tallow-transforms",
            "tallow-ops",
            "tallow-metrics",
            "tallow-record",
        ],
    ),
    (
        "tallow",
        &[
            "tallow-experiment",
            "tallow-models",
            "tallow-train",
            "tallow-report",
            "tallow-regress",
            "tallow-datasets",
            "tallow-transforms",
            "tallow-ops",
            "tallow-metrics",
            "tallow-record",
        ],
    ),
    (
        "tallow-cli",
        &[
            "tallow-experiment",
            "tallow-mpi",
            "tallow-models",
            "tallow-train",
            "tallow-report",
            "tallow-regress",
            "tallow-datasets",
            "tallow-transforms",
            "tallow-ops",
            "tallow-metrics",
            "tallow-record",
        ],
    ),
    (
        "xtask",
        &[
            "tallow-cli",
            "tallow-cuda",
            "tallow-experiment",
            "tallow-mpi",
            "tallow-models",
            "tallow-train",
            "tallow-report",
            "tallow-regress",
            "tallow-datasets",
            "tallow-transforms",
            "tallow-ops",
            "tallow-metrics",
            "tallow-record",
        ],
    ),
];

/// Structure of the workspace.
struct Layers {
    crates: BTreeMap<String, Crate>,
}

struct Crate {
    dir: PathBuf,
    /// Crates of the workspace that it uses, tests aside.
    uses: BTreeSet<String>,
    graph: ModuleGraph,
}

impl Layers {
    /// Reads the manifests and sources of the workspace at `root`.
    fn read(root: &Path) -> Result<Self> {
        let mut dirs = vec![root.join("xtask")];
        let crates = root.join("crates");
        let entries =
            fs::read_dir(&crates).with_context(|| format!("cannot read {}", crates.display()))?;
        for entry in entries {
            dirs.push(entry?.path());
        }
        let mut found = BTreeMap::new();
        for dir in dirs {
            let manifest = dir.join("Cargo.toml");
            let text = fs::read_to_string(&manifest)
                .with_context(|| format!("cannot read {}", manifest.display()))?;
            let table: toml::Table = text
                .parse()
                .with_context(|| manifest.display().to_string())?;
            let name = table
                .get("package")
                .and_then(|p| p.get("name"))
                .and_then(|n| n.as_str());
            let name = name.with_context(|| format!("{}: no package.name", manifest.display()))?;
            found.insert(
                name.to_string(),
                Crate {
                    uses: dependencies(&table),
                    graph: ModuleGraph::read(&dir.join("src"))?,
                    dir,
                },
            );
        }
        Ok(Self { crates: found })
    }

    /// Faults: dependencies that the layers do not allow, crates that have no layer, and import circles.
    fn faults(&self) -> Vec<String> {
        let allowed: BTreeMap<&str, &[&str]> = LAYERS.into_iter().collect();
        let mut faults = Vec::new();
        for (name, found) in &self.crates {
            match allowed.get(name.as_str()) {
                None => faults.push(format!(
                    "{name} has no layer: add it to LAYERS in xtask/src/layers"
                )),
                Some(allowed) => faults.extend(
                    found
                        .uses
                        .iter()
                        .filter(|used| !allowed.contains(&used.as_str()))
                        .map(|used| format!("{name} must not use {used}")),
                ),
            }
            for circle in found.graph.circles() {
                let short = |path: &PathBuf| {
                    path.strip_prefix(&found.dir)
                        .unwrap_or(path)
                        .display()
                        .to_string()
                };
                let mut fault = format!(
                    "{name}: {} files import each other in a circle",
                    circle.len()
                );
                for (from, to) in found.graph.imports_within(&circle) {
                    let _ = write!(fault, "\n    {} -> {}", short(&from), short(&to));
                }
                faults.push(fault);
            }
        }
        faults
    }

    /// Table of the crates from the lowest layer to the highest.
    fn render(&self) -> String {
        let mut text = String::new();
        for (name, _) in LAYERS {
            let Some(found) = self.crates.get(name) else {
                continue;
            };
            let (files, imports) = found.graph.size();
            let uses: Vec<&str> = found
                .uses
                .iter()
                .map(|used| used.strip_prefix("tallow-").unwrap_or(used))
                .collect();
            let _ = writeln!(
                text,
                "{name:20} {files:4} files {imports:4} imports   uses {}",
                if uses.is_empty() {
                    "no other crate".to_string()
                } else {
                    uses.join(", ")
                }
            );
        }
        text
    }
}

/// Crates of the workspace among the dependencies of a manifest, those for tests left out.
fn dependencies(manifest: &toml::Table) -> BTreeSet<String> {
    let tables = ["dependencies", "build-dependencies"];
    let targets = manifest.get("target").and_then(|t| t.as_table());
    let targets = targets
        .into_iter()
        .flat_map(|t| t.values())
        .filter_map(|t| t.as_table());
    std::iter::once(manifest)
        .chain(targets)
        .flat_map(|table| {
            tables
                .iter()
                .filter_map(|name| table.get(*name)?.as_table())
        })
        .flat_map(|table| table.keys())
        .filter(|name| name.starts_with("tallow"))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_keeps_its_layers() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let layers = Layers::read(&root).unwrap();
        assert_eq!(layers.crates.len(), LAYERS.len());
        let faults = layers.faults();
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }

    #[test]
    fn a_broken_layer_is_a_fault() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let manifest = |name: &str, uses: &str| {
            format!("[package]\nname = \"{name}\"\n[dependencies]\n{uses}\n")
        };
        write("xtask/Cargo.toml", &manifest("xtask", "tallow-cli = \"1\""));
        write("xtask/src/main.rs", "fn main() {}");
        write(
            "crates/ops/Cargo.toml",
            &manifest("tallow-ops", "tallow-train = \"1\""),
        );
        write("crates/ops/src/lib.rs", "mod a; mod b;");
        write("crates/ops/src/a.rs", "use crate::b::B; pub struct A;");
        write("crates/ops/src/b.rs", "use crate::a::A; pub struct B;");
        write("crates/new/Cargo.toml", &manifest("tallow-new", ""));
        write("crates/new/src/lib.rs", "");
        let faults = Layers::read(dir.path()).unwrap().faults();
        assert_eq!(faults.len(), 3, "{faults:?}");
        for (fault, text) in faults.iter().zip([
            "tallow-new has no layer",
            "tallow-ops must not use tallow-train",
            "tallow-ops: 2 files import each other",
        ]) {
            assert!(fault.contains(text), "{fault}");
        }
    }
}
