//! Lists of pictures and their labels: CSV and JSON lines.

use std::fs;
use std::path::{Path, PathBuf};

use csv::{ReaderBuilder, StringRecord, Trim};
use serde_json::{Map, Value};

use crate::dataset::{Split, VALIDATION};
use crate::error::{Error, Result};

/// Names of the column of paths and of that of labels.
const PATHS: [&str; 6] = [
    "path",
    "file_name",
    "filename",
    "file",
    "image",
    "image_path",
];
const LABELS: [&str; 4] = ["label", "class", "target", "category"];

/// Entry of a list.
#[derive(Debug)]
pub(super) struct Item {
    /// Path as the list has it, relative to the folder of the list.
    pub path: PathBuf,
    pub label: String,
    /// Line of the list, from 1.
    pub line: u64,
}

/// List of a split below `root`: `train.csv`, `train.jsonl`, or `metadata.csv` or `metadata.jsonl` in the folder `train`. Where there is no list
/// `test`, the one of validation is that of the test split.
pub(super) fn find(root: &Path, split: Split) -> Option<PathBuf> {
    let list = |name: &str| {
        let beside = ["csv", "jsonl"].map(|end| root.join(format!("{name}.{end}")));
        let inside = ["csv", "jsonl"].map(|end| root.join(name).join(format!("metadata.{end}")));
        let mut files = beside.into_iter().chain(inside);
        files.find(|file| file.is_file())
    };
    match (split, list("test")) {
        (Split::Train, _) => list("train"),
        (Split::Test, Some(test)) => Some(test),
        (Split::Validation, None) => None,
        (Split::Test, None) | (Split::Validation, Some(_)) => {
            VALIDATION.iter().find_map(|name| list(name))
        }
    }
}

/// Entries of a list.
pub(super) fn read(path: &Path) -> Result<Vec<Item>> {
    let bytes = fs::read(path).map_err(|e| Error::io(path, e))?;
    let text = String::from_utf8(bytes)
        .map_err(|e| Error::invalid(path, "a list in UTF-8", e.utf8_error().to_string()))?;
    // Excel writes a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let items = match path.extension().is_some_and(|end| end == "jsonl") {
        true => json_lines(path, text)?,
        false => table(path, text)?,
    };
    match items.is_empty() {
        true => Err(Error::invalid(path, "at least one picture", "none")),
        false => Ok(items),
    }
}

fn table(path: &Path, text: &str) -> Result<Vec<Item>> {
    let first = text.lines().next().unwrap_or_default();
    let delimiter = [b',', b';', b'\t']
        .into_iter()
        .find(|d| first.as_bytes().contains(d));
    let mut reader = ReaderBuilder::new()
        .delimiter(delimiter.unwrap_or(b','))
        .trim(Trim::All)
        .from_reader(text.as_bytes());
    let broken = |error: csv::Error| Error::invalid(path, "a CSV file", error.to_string());
    let header = reader.headers().map_err(broken)?.clone();
    let column = |names: &[&str]| {
        header
            .iter()
            .position(|name| names.contains(&name.to_lowercase().as_str()))
    };
    let (Some(file), Some(label)) = (column(&PATHS), column(&LABELS)) else {
        let expected = format!(
            "a header with a column of paths ({}) and one of labels ({})",
            PATHS.join(", "),
            LABELS.join(", ")
        );
        let names: Vec<&str> = header.iter().collect();
        return Err(Error::invalid(path, expected, names.join(", ")));
    };
    let mut items = Vec::new();
    let mut record = StringRecord::new();
    while reader.read_record(&mut record).map_err(broken)? {
        let line = record.position().map_or(0, csv::Position::line);
        let cell = |column| record.get(column).filter(|cell: &&str| !cell.is_empty());
        items.push(item(path, line, cell(file), cell(label).map(String::from))?);
    }
    Ok(items)
}

fn json_lines(path: &Path, text: &str) -> Result<Vec<Item>> {
    let mut items = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() {
            continue;
        }
        let object: Map<String, Value> = serde_json::from_str(line).map_err(|e| {
            Error::invalid(
                path,
                format!("an object of JSON at line {number}"),
                e.to_string(),
            )
        })?;
        let value = |names: &[&str]| names.iter().find_map(|name| object.get(*name));
        let label = match value(&LABELS) {
            Some(Value::String(label)) => Some(label.clone()),
            Some(Value::Number(label)) => Some(label.to_string()),
            _ => None,
        };
        let file = value(&PATHS).and_then(Value::as_str);
        items.push(item(path, number, file, label)?);
    }
    Ok(items)
}

fn item(list: &Path, line: u64, path: Option<&str>, label: Option<String>) -> Result<Item> {
    let expected = format!("a path and a label at line {line}");
    match (path, label) {
        (Some(path), Some(label)) => Ok(Item {
            path: path.into(),
            label,
            line,
        }),
        (None, _) => Err(Error::invalid(list, expected, "no path")),
        (_, None) => Err(Error::invalid(list, expected, "no label")),
    }
}

/// Classes of labels without repetition: in the order of numbers if all are whole numbers, else of names.
pub(super) fn classes<'a>(labels: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut classes: Vec<&str> = labels.collect();
    classes.sort_unstable();
    classes.dedup();
    let numbers: Option<Vec<u64>> = classes.iter().map(|class| class.parse().ok()).collect();
    if let Some(numbers) = numbers {
        let mut order: Vec<(u64, &str)> = numbers.into_iter().zip(classes).collect();
        order.sort_unstable();
        return order
            .into_iter()
            .map(|(_, class)| class.to_string())
            .collect();
    }
    classes.into_iter().map(String::from).collect()
}
