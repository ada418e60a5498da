//! Files below the folder of the pages.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;

/// Files with this extension in `dir/below` and its folders, sorted, as paths below `dir`.
pub fn files(dir: &Path, below: &Path, extension: &str) -> Result<Vec<PathBuf>> {
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

/// Text of a file.
pub fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(reading(path))
}

/// Values of a text with one of JSON in each line. Errors name the file and the line.
pub fn json_lines<T: DeserializeOwned>(path: &Path, text: &str) -> Result<Vec<T>> {
    let lines = text.lines().enumerate();
    let lines = lines.filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(number, line)| {
            serde_json::from_str(line)
                .with_context(|| format!("{}: line {}", path.display(), number + 1))
        })
        .collect()
}

/// Context of an error of reading.
pub fn reading(path: &Path) -> impl FnOnce() -> String {
    move || format!("cannot read {}", path.display())
}
