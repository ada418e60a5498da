//! PyTorch's best times of the day: a time that is clearly above shows that the machine is slower now.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use tallow_record::write_atomic;

use super::side::Place;
use super::worker::case::Case;

/// Largest file that is read, in bytes: some ten thousand times.
const LARGEST: u64 = 1 << 20;

/// Best times of a day.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// UTC, as `20260131`.
    day: String,
    /// Seconds by the name that [`name`] gives.
    seconds: BTreeMap<String, f64>,
}

impl Best {
    /// The times in a file, of this day; none of an earlier day or where there is no file.
    pub fn read(path: &Path, day: &str) -> Result<Self> {
        let new = Self {
            day: day.to_string(),
            ..Self::default()
        };
        if !path.exists() {
            return Ok(new);
        }
        let wrong = || {
            format!(
                "{}: no file of best times; remove it, or name another with --best",
                path.display()
            )
        };
        let size = fs::metadata(path).with_context(wrong)?.len();
        ensure!(size <= LARGEST, "{} ({size} bytes)", wrong());
        let text = fs::read_to_string(path).with_context(wrong)?;
        let found: Self = serde_json::from_str(&text).with_context(wrong)?;
        Ok(if found.day == day { found } else { new })
    }

    /// A time in terms of the best one so far, if there is one.
    pub fn drift(&self, name: &str, seconds: f64) -> Option<f64> {
        let best = self.seconds.get(name).filter(|best| **best > 0.0)?;
        Some(seconds / best)
    }

    /// Keeps a time if it is the best.
    pub fn note(&mut self, name: &str, seconds: f64) {
        let best = self.seconds.entry(name.to_string()).or_insert(seconds);
        if seconds < *best || *best <= 0.0 {
            *best = seconds;
        }
    }

    /// Writes the times to a file.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = format!("{}\n", serde_json::to_string_pretty(self)?);
        write_atomic(path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Name of a benchmark with everything that its time depends on, other than the arm: the fastest one counts.
pub fn name(case: &Case, place: &Place, version: &str) -> String {
    format!(
        "{} {}, batch {}, {} threads, {}, {version}, arms {}",
        case.kind,
        case.name,
        case.batch,
        place.threads,
        place.device,
        place.arms.name()
    )
}

/// The usual file: beside this program, so that a clean build forgets it.
pub fn usual_path() -> Result<PathBuf> {
    let this = std::env::current_exe().context("cannot find this program")?;
    Ok(this.with_file_name("bench-best.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_of_the_day_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("best.json");
        let mut best = Best::read(&path, "20260131").unwrap();
        assert_eq!(best.drift("step fc", 2.0), None);
        for seconds in [2.0, 1.0, 3.0] {
            best.note("step fc", seconds);
        }
        assert_eq!(best.drift("step fc", 1.5), Some(1.5));
        best.write(&path).unwrap();
        assert_eq!(Best::read(&path, "20260131").unwrap(), best);
        let next = Best::read(&path, "20260201").unwrap();
        assert_eq!(next.drift("step fc", 1.5), None, "of the day before");
    }

    #[test]
    fn other_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("best.json");
        let whole = "{\"day\": \"20260131\", \"seconds\": {\"a\": 1.0}}";
        let large = format!("{whole}{}", " ".repeat(1 << 20));
        let wrong_kind = "[{\"day\": \"20260131\"}]";
        for text in ["", &whole[..20], wrong_kind, "\0\u{1}", large.as_str()] {
            fs::write(&path, text).unwrap();
            let message = format!("{:#}", Best::read(&path, "20260131").unwrap_err());
            assert!(
                message.contains("best.json") && message.contains("--best"),
                "{message}"
            );
        }
        assert!(Best::read(dir.path(), "20260131").is_err(), "a folder");
    }

    #[test]
    fn a_time_of_zero_is_replaced() {
        let mut best = Best::default();
        best.note("a", 0.0);
        assert_eq!(best.drift("a", 1.0), None);
        best.note("a", 2.0);
        assert_eq!(best.drift("a", 1.0), Some(0.5));
    }
}
