//! Run folders: finding them, and reading metrics, seed and variant.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::json;
use super::run::{DEFAULT_VARIANT, ExternalRun};
use crate::error::{Error, Result, io};

const METRICS: &str = "metrics.jsonl";
const SUMMARY: &str = "summary.json";

/// Runs in `root`: the folder itself, or the folders in it at any depth that have a `metrics.jsonl` or a `summary.json`, in the order
/// of their names.
///
/// # Errors
///
/// [`Error::File`] if there is none, and those of reading a run.
pub fn read(root: &Path) -> Result<Vec<ExternalRun>> {
    let mut folders = Vec::new();
    find(root, &mut folders)?;
    if folders.is_empty() {
        return Err(Error::File {
            path: root.to_path_buf(),
            message: format!("expected folders of runs with {METRICS} or {SUMMARY}, found none"),
        });
    }
    (folders.iter())
        .map(|folder| read_folder(root, folder))
        .collect()
}

fn find(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    if [METRICS, SUMMARY]
        .iter()
        .any(|name| folder.join(name).is_file())
    {
        found.push(folder.to_path_buf());
        return Ok(());
    }
    let mut inner = Vec::new();
    for entry in fs::read_dir(folder).map_err(io(folder))? {
        let entry = entry.map_err(io(folder))?;
        // Of links, which may lead in a circle, the type is that of a link.
        if entry.file_type().map_err(io(folder))?.is_dir() {
            inner.push(entry.path());
        }
    }
    inner.sort();
    inner.iter().try_for_each(|folder| find(folder, found))
}

fn read_folder(root: &Path, folder: &Path) -> Result<ExternalRun> {
    let path = |name: &str| folder.join(name);
    let summary = optional(&path(SUMMARY), json::object)?;
    let environment = optional(&path("environment.json"), json::object)?;
    if environment.is_some() && summary.is_none() {
        return Err(Error::File {
            path: folder.to_path_buf(),
            message: format!("no {SUMMARY}: the run has not finished"),
        });
    }
    let rows = optional(&path(METRICS), json::lines)?;
    let mut metrics = rows.as_ref().map(json::metrics).unwrap_or_default();
    metrics.extend(summary.as_ref().map(json::metrics).unwrap_or_default());

    // Objects that may have the seed and the variant, the most specific first.
    let run_of = |object: &Option<Map<String, Value>>| {
        let run = object.as_ref()?.get("run")?;
        run.as_object().cloned()
    };
    let sources = [
        run_of(&environment),
        run_of(&summary),
        summary,
        rows,
        optional(&path("config.json"), json::object)?,
        optional(&path("config.toml"), toml)?,
    ];
    let sources: Vec<Map<String, Value>> = sources.into_iter().flatten().collect();
    let named = seed_in_names(root, folder);
    run(folder, &sources, named, metrics)
}

/// Run in a single file: JSON lines, or a JSON object.
///
/// # Errors
///
/// Those of reading the file, and [`Error::File`] if the seed is unknown.
pub fn read_file(path: &Path, text: &str) -> Result<ExternalRun> {
    let object = match path.extension().is_some_and(|e| e == "json") {
        true => json::object(path, text)?,
        false => json::lines(path, text)?,
    };
    let metrics = json::metrics(&object);
    let named = path.file_stem().and_then(seed_in).map(|seed| (seed, None));
    run(path, &[object], named, metrics)
}

fn run(
    source: &Path,
    objects: &[Map<String, Value>],
    named: Option<(u64, Option<String>)>,
    metrics: super::run::Metrics,
) -> Result<ExternalRun> {
    let seed = match objects.iter().find_map(|object| object.get("seed")) {
        None => named.as_ref().map(|(seed, _)| *seed),
        Some(value) => match value.as_u64() {
            Some(seed) => Some(seed),
            None => {
                return Err(Error::File {
                    path: source.to_path_buf(),
                    message: format!(
                        "expected `seed` to be an integer of at least 0, found {value}"
                    ),
                });
            }
        },
    };
    let Some(seed) = seed else {
        return Err(Error::File {
            path: source.to_path_buf(),
            message: format!(
                "the seed is unknown; expected a key `seed` in {SUMMARY}, {METRICS}, config.json or config.toml, \
                 or a name such as `seed-3`"
            ),
        });
    };
    let text = |object: &Map<String, Value>| Some(object.get("variant")?.as_str()?.to_string());
    let variant = objects.iter().find_map(text);
    let variant = variant.or(named.and_then(|(_, variant)| variant));
    Ok(ExternalRun {
        variant: variant.unwrap_or_else(|| DEFAULT_VARIANT.to_string()),
        seed,
        metrics,
        source: source.display().to_string(),
    })
}

/// Seed in the name of the run's folder or of a folder above it, up to `root`, and the variant: the folders between `root` and the one
/// with the seed.
fn seed_in_names(root: &Path, folder: &Path) -> Option<(u64, Option<String>)> {
    for place in folder.ancestors() {
        if let Some(seed) = place.file_name().and_then(seed_in) {
            let above = place.parent().and_then(|p| p.strip_prefix(root).ok());
            let names = above.into_iter().flat_map(Path::iter);
            let names: Vec<_> = names.map(OsStr::to_string_lossy).collect();
            return Some((seed, (!names.is_empty()).then(|| names.join("/"))));
        }
        if place == root {
            break;
        }
    }
    None
}

/// Seed in a name: the digits after its last `seed`, `seed-`, `seed_` or `seed=`, or a name of digits alone.
fn seed_in(name: &OsStr) -> Option<u64> {
    let name = name.to_str()?.to_ascii_lowercase();
    let digits = match name.rsplit_once("seed") {
        Some((_, after)) => {
            let after = after.strip_prefix(['-', '_', '=']).unwrap_or(after);
            let end = after.find(|c: char| !c.is_ascii_digit());
            &after[..end.unwrap_or(after.len())]
        }
        None => name.as_str(),
    };
    let only_digits = digits.bytes().all(|c| c.is_ascii_digit());
    digits.parse().ok().filter(|_| only_digits)
}

/// Object in a file; `None` if the file does not exist.
fn optional(
    path: &Path,
    parse: impl Fn(&Path, &str) -> Result<Map<String, Value>>,
) -> Result<Option<Map<String, Value>>> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        text => Ok(Some(parse(path, &text.map_err(io(path))?)?)),
    }
}

fn toml(path: &Path, text: &str) -> Result<Map<String, Value>> {
    toml::from_str(text).map_err(|error| Error::File {
        path: path.to_path_buf(),
        message: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_in_names() {
        for (name, seed) in [
            ("seed-3", Some(3)),
            ("seed3", Some(3)),
            ("cnn_seed=12_lr0.1", Some(12)),
            ("20260131-Seed_4", Some(4)),
            ("7", Some(7)),
            ("run7", None),
            ("seed", None),
            ("", None),
            ("+7", None),
        ] {
            assert_eq!(seed_in(OsStr::new(name)), seed, "{name}");
        }
    }

    #[test]
    fn variants_in_names() {
        let of = |folder: &str| seed_in_names(Path::new("out"), Path::new(folder));
        assert_eq!(of("out/seed-1"), Some((1, None)));
        assert_eq!(of("out/cnn/seed-1"), Some((1, Some("cnn".to_string()))));
        assert_eq!(
            of("out/cnn/seed-1/version_0"),
            Some((1, Some("cnn".to_string())))
        );
        assert_eq!(of("out/cnn"), None);
        let root = Path::new("seed-9/seed-4");
        assert_eq!(seed_in_names(root, root), Some((4, None)));
        // Folders above the one that was given say nothing.
        assert_eq!(
            seed_in_names(Path::new("seed-9/out"), Path::new("seed-9/out/a")),
            None
        );
    }
}
