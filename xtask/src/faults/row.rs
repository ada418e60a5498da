//! Findings about a fault, and the file of all findings.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tallow_record::{Tier, write_json};

use super::tree::Fault;

/// Findings about a fault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Name of the fault, or `control`.
    pub fault: String,
    /// Description of the fault.
    pub what: String,
    /// Whether `regress` was made with this fault in mind.
    pub shaped: bool,
    /// Changes of the traces; `None` if they were not compared.
    pub traces: Option<Vec<String>>,
    /// Regressions, missed floors and refusals of each tier that was trained.
    pub metrics: BTreeMap<Tier, Vec<String>>,
    /// Commit of the source, with `-dirty` where files were changed.
    pub commit: Option<String>,
}

impl Row {
    /// Row of a fault that is not judged yet.
    pub fn new(fault: &Fault, commit: Option<String>) -> Result<Self> {
        Ok(Self {
            fault: fault.name().to_string(),
            what: fault.what()?,
            shaped: matches!(fault, Fault::Patch { shaped: true, .. }),
            traces: None,
            metrics: BTreeMap::new(),
            commit,
        })
    }

    /// Whether the commit says all of the source.
    pub fn is_clean(&self) -> bool {
        let commit = self.commit.as_deref();
        commit.is_some_and(|commit| !commit.ends_with("-dirty"))
    }

    /// Whether anything tells of the fault.
    pub fn is_found(&self) -> bool {
        let mut found = self.traces.iter().chain(self.metrics.values());
        found.any(|found| !found.is_empty())
    }

    /// Outcome in words.
    pub fn outcome(&self) -> String {
        let mut outcomes = Vec::new();
        let mut add = |by: &str, found: &[String]| {
            outcomes.push(match found {
                [] => format!("{by} find nothing"),
                [first, ..] => format!("{by} find {} ({first})", found.len()),
            });
        };
        if let Some(found) = &self.traces {
            add("traces", found);
        }
        for (tier, found) in &self.metrics {
            add(&format!("metrics of the {tier} tier"), found);
        }
        outcomes.join(", ")
    }
}

/// Reads the rows of a file by the names of their faults; none if there is no file.
pub fn read(path: &Path) -> Result<BTreeMap<String, Row>> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
        text => text.with_context(|| path.display().to_string())?,
    };
    let rows: Vec<Row> = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    Ok(rows
        .into_iter()
        .map(|row| (row.fault.clone(), row))
        .collect())
}

/// Writes the rows, atomically.
pub fn write(path: &Path, rows: &BTreeMap<String, Row>) -> Result<()> {
    let rows: Vec<&Row> = rows.values().collect();
    Ok(write_json(path, &rows)?)
}
