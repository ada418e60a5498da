//! Metrics in a CSV file with the columns `seed`, `metric` and `value`, and optionally `variant`.

use std::collections::BTreeMap;
use std::path::Path;

use csv::{ReaderBuilder, StringRecord, Trim};

use super::run::{DEFAULT_VARIANT, ExternalRun, Metrics};
use crate::error::{Error, Result};

/// Position of each column.
struct Columns {
    count: usize,
    seed: usize,
    metric: usize,
    value: usize,
    variant: Option<usize>,
}

/// Runs in the text of a CSV file.
///
/// # Errors
///
/// [`Error::Line`] with the line, what was expected and what was found.
pub fn read(path: &Path, text: &str) -> Result<Vec<ExternalRun>> {
    let fail = |line: u64, message: String| Error::Line {
        path: path.to_path_buf(),
        line,
        message,
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = ReaderBuilder::new()
        .trim(Trim::All)
        .flexible(true)
        .from_reader(text.as_bytes());
    let header = reader
        .headers()
        .map_err(|error| fail(1, error.to_string()))?;
    let columns = Columns::of(header).map_err(|message| fail(1, message))?;
    let mut runs: BTreeMap<(String, u64), Metrics> = BTreeMap::new();
    let mut order = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| {
            let line = error.position().map_or(1, |at| line_of(text, at.byte()));
            fail(line, error.to_string())
        })?;
        let line = || record.position().map_or(1, |at| line_of(text, at.byte()));
        let (variant, seed, metric, value) = columns
            .read(&record)
            .map_err(|message| fail(line(), message))?;
        let key = (variant, seed);
        if !runs.contains_key(&key) {
            order.push(key.clone());
        }
        let metrics = runs.entry(key).or_default();
        if metrics.insert(metric.clone(), value).is_some() {
            return Err(fail(
                line(),
                format!(
                    "seed {seed} has `{metric}` twice; expected one value, that of the last epoch"
                ),
            ));
        }
    }
    let run = |key: (String, u64)| ExternalRun {
        metrics: runs.remove(&key).unwrap_or_default(),
        source: path.display().to_string(),
        variant: key.0,
        seed: key.1,
    };
    Ok(order.into_iter().map(run).collect())
}

/// Line, from 1, of a record that the reader began to read at `byte`: it skips empty lines before the record.
fn line_of(text: &str, byte: u64) -> u64 {
    let at = (byte as usize).min(text.len());
    let is_end = |c: &u8| matches!(c, b'\r' | b'\n');
    let bytes = text.as_bytes();
    let empty = bytes[at..].iter().take_while(|&c| is_end(c)).count();
    let before = &bytes[..at + empty];
    before.iter().filter(|&&c| c == b'\n').count() as u64 + 1
}

impl Columns {
    fn of(header: &StringRecord) -> Result<Self, String> {
        let found: Vec<&str> = header.iter().collect();
        let at = |name: &str| found.iter().position(|column| *column == name);
        let known = ["seed", "metric", "value", "variant"];
        let (Some(seed), Some(metric), Some(value), true) = (
            at("seed"),
            at("metric"),
            at("value"),
            found.iter().all(|column| known.contains(column)),
        ) else {
            return Err(format!(
                "expected the columns seed,metric,value and optionally variant; found {}",
                found.join(",")
            ));
        };
        Ok(Self {
            count: found.len(),
            seed,
            metric,
            value,
            variant: at("variant"),
        })
    }

    /// Variant, seed, metric and value of a line.
    fn read(&self, record: &StringRecord) -> Result<(String, u64, String, Option<f64>), String> {
        if record.len() != self.count {
            return Err(format!(
                "expected {} fields, found {}",
                self.count,
                record.len()
            ));
        }
        let field = |at: usize| record.get(at).unwrap_or_default();
        let text = field(self.seed);
        let seed = text
            .parse()
            .map_err(|_| format!("expected a seed (an integer of at least 0), found `{text}`"))?;
        let metric = field(self.metric).to_string();
        if metric.is_empty() {
            return Err("expected the name of a metric, found an empty field".to_string());
        }
        let text = field(self.value);
        let value = match text {
            // pandas writes NaN so.
            "" => None,
            text => Some(
                text.parse::<f64>()
                    .map_err(|_| format!("expected a number, found `{text}`"))?,
            ),
        };
        let variant = match self.variant.map(field) {
            None | Some("") => DEFAULT_VARIANT.to_string(),
            Some(variant) => variant.to_string(),
        };
        Ok((variant, seed, metric, value.filter(|v| v.is_finite())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(text: &str) -> Vec<ExternalRun> {
        read(Path::new("r.csv"), text).unwrap()
    }

    fn error(text: &str) -> String {
        read(Path::new("r.csv"), text).unwrap_err().to_string()
    }

    #[test]
    fn a_line_per_value() {
        let found = runs("seed,metric,value\n0,acc,0.9\n1,acc,nan\n0,loss,\n");
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].seed, &*found[0].variant), (0, "default"));
        assert_eq!(
            found[0].metrics,
            Metrics::from([("acc".to_string(), Some(0.9)), ("loss".to_string(), None)])
        );
        assert_eq!(found[1].metrics["acc"], None);
    }

    #[test]
    fn columns_in_any_order() {
        let found =
            runs("\u{feff}value, variant, seed, metric\r\n0.9, cnn, 3, acc\r\n0.8, fc, 3, acc\r\n");
        let found: Vec<_> = found.iter().map(|r| (&*r.variant, r.seed)).collect();
        assert_eq!(found, [("cnn", 3), ("fc", 3)]);
    }

    #[test]
    fn errors_have_line_expected_and_found() {
        for (text, expected) in [
            (
                "",
                "line 1: expected the columns seed,metric,value and optionally variant; found ",
            ),
            (
                "seed,acc\n",
                "line 1: expected the columns seed,metric,value and optionally variant; found seed,acc",
            ),
            ("seed,metric,value,lr\n", "found seed,metric,value,lr"),
            (
                "seed,metric,value\n0,acc,0.9\n-1,acc,0.9\n",
                "line 3: expected a seed (an integer of at least 0), found `-1`",
            ),
            (
                "seed,metric,value\n0,acc,high\n",
                "line 2: expected a number, found `high`",
            ),
            (
                "seed,metric,value\n0,acc\n",
                "line 2: expected 3 fields, found 2",
            ),
            (
                "seed,metric,value\n0,,1\n",
                "line 2: expected the name of a metric",
            ),
            (
                "seed,metric,value\n0,acc,1\n\n0,acc,2\n",
                "line 4: seed 0 has `acc` twice",
            ),
        ] {
            let message = error(text);
            assert!(message.starts_with("r.csv, line "), "{message}");
            assert!(message.contains(expected), "{message}");
        }
    }
}
