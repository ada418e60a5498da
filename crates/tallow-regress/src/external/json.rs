//! Metrics in JSON objects and in JSON lines.

use std::path::Path;

use serde_json::{Map, Value};

use super::run::Metrics;
use crate::error::{Error, Result};

/// Keys that describe a run and its progress.
const NO_METRICS: [&str; 12] = [
    "epoch",
    "epochs",
    "global_step",
    "learning_rate",
    "lr",
    "run",
    "seed",
    "step",
    "time",
    "timestamp",
    "variant",
    "wall_time",
];

/// Object in a JSON file.
///
/// # Errors
///
/// [`Error::Line`] if the text is not JSON, or not an object.
pub fn object(path: &Path, text: &str) -> Result<Map<String, Value>> {
    parse(text).map_err(|(line, message)| Error::Line {
        path: path.to_path_buf(),
        line,
        message,
    })
}

/// Values of the keys of JSON lines, each of the last line that has it.
///
/// A last line without its line end that is not JSON was cut off when its program was killed, and is ignored.
///
/// # Errors
///
/// [`Error::Line`] if a line is not a JSON object, and [`Error::File`] if there is none.
pub fn lines(path: &Path, text: &str) -> Result<Map<String, Value>> {
    let mut row = Map::new();
    let mut lines = text.split_inclusive('\n').enumerate().peekable();
    while let Some((index, line)) = lines.next() {
        if line.trim().is_empty() {
            continue;
        }
        let last = lines.peek().is_none() && !line.ends_with('\n');
        match parse(line) {
            Ok(object) => row.extend(object),
            Err(_) if last => {}
            Err((_, message)) => {
                return Err(Error::Line {
                    path: path.to_path_buf(),
                    line: index as u64 + 1,
                    message,
                });
            }
        }
    }
    if row.is_empty() {
        return Err(Error::File {
            path: path.to_path_buf(),
            message: "expected a JSON object with numbers on each line, found none".to_string(),
        });
    }
    Ok(row)
}

/// Metrics of an object: its numbers, and those of nested objects as `outer.inner`. The name `metrics` of a nested object is left out.
pub fn metrics(object: &Map<String, Value>) -> Metrics {
    let mut metrics = Metrics::new();
    flatten(object, "", &mut metrics);
    metrics
}

fn flatten(object: &Map<String, Value>, prefix: &str, metrics: &mut Metrics) {
    for (key, value) in object {
        if prefix.is_empty() && NO_METRICS.contains(&key.as_str()) {
            continue;
        }
        let name = format!("{prefix}{key}");
        match value {
            Value::Number(number) => {
                let finite = number.as_f64().filter(|value| value.is_finite());
                metrics.insert(name, finite);
            }
            Value::Null => {
                metrics.insert(name, None);
            }
            Value::Object(inner) if prefix.is_empty() && key == "metrics" => {
                flatten(inner, "", metrics);
            }
            Value::Object(inner) => flatten(inner, &format!("{name}."), metrics),
            Value::Bool(_) | Value::String(_) | Value::Array(_) => {}
        }
    }
}

/// JSON object, or the line and the message of an error.
fn parse(text: &str) -> Result<Map<String, Value>, (u64, String)> {
    let value = match serde_json::from_str(text) {
        Ok(value) => value,
        Err(error) => match serde_json::from_str(&null_non_finite(text)) {
            Ok(value) => value,
            Err(_) => {
                let message = format!("expected a JSON object: {error}");
                return Err((error.line() as u64, message));
            }
        },
    };
    match value {
        Value::Object(object) => Ok(object),
        other => Err((1, format!("expected a JSON object, found {}", kind(&other)))),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Text with `null` in place of `NaN`, `Infinity` and `-Infinity`, which Python's `json` module writes and JSON does not allow.
fn null_non_finite(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let (mut in_string, mut escaped) = (false, false);
    while let Some(c) = rest.chars().next() {
        if !in_string {
            let word = ["NaN", "Infinity", "-Infinity"];
            if let Some(word) = word.into_iter().find(|word| rest.starts_with(word)) {
                out.push_str("null");
                rest = &rest[word.len()..];
                continue;
            }
        }
        match c {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => in_string = !in_string,
            _ => {}
        }
        out.push(c);
        rest = &rest[c.len_utf8()..];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Metrics {
        metrics(&lines(Path::new("m.jsonl"), text).unwrap())
    }

    fn error(text: &str) -> String {
        lines(Path::new("m.jsonl"), text).unwrap_err().to_string()
    }

    #[test]
    fn last_value_of_each_key() {
        let text =
            "{\"epoch\": 0, \"loss\": 0.5, \"acc\": 0.8}\n\n{\"epoch\": 1, \"loss\": 0.25}\n";
        let expected = [("acc", Some(0.8)), ("loss", Some(0.25))];
        let expected = expected.map(|(name, value)| (name.to_string(), value));
        assert_eq!(of(text), Metrics::from(expected));
    }

    #[test]
    fn nested_objects_and_other_types() {
        let text = r#"{"metrics": {"acc": 1}, "test": {"loss": 0.5}, "name": "x", "ok": true, "list": [1], "run": {"seed": 1}}"#;
        let expected = [("acc", Some(1.0)), ("test.loss", Some(0.5))];
        let expected = expected.map(|(name, value)| (name.to_string(), value));
        assert_eq!(of(text), Metrics::from(expected));
    }

    /// `json.dumps({"loss": math.nan, "best": -math.inf, "name": "a \"NaN\""})` of Python.
    #[test]
    fn python_writes_values_that_are_not_finite() {
        let text = r#"{"loss": NaN, "best": -Infinity, "name": "a \"NaN\""}"#;
        let expected = [("best".to_string(), None), ("loss".to_string(), None)];
        assert_eq!(of(text), Metrics::from(expected));
        let row = lines(Path::new("m.jsonl"), text).unwrap();
        assert_eq!(row["name"], "a \"NaN\"");
    }

    #[test]
    fn malformed_lines_are_named() {
        let text = error("{\"loss\": 1}\n{\"loss\": }\n{\"loss\": 2}\n");
        assert!(
            text.starts_with("m.jsonl, line 2: expected a JSON object: "),
            "{text}"
        );
        let text = error("{\"loss\": 1}\n[1]\n");
        assert_eq!(
            text,
            "m.jsonl, line 2: expected a JSON object, found an array"
        );
        assert!(error("").contains("found none"));
    }

    #[test]
    fn a_last_line_that_was_cut_off_is_ignored() {
        assert_eq!(of("{\"loss\": 1}\n{\"lo"), of("{\"loss\": 1}\n"));
        assert_eq!(of("{\"loss\": 1}\n{\"loss\": 2}"), of("{\"loss\": 2}\n"));
        assert!(error("{\"loss\": 1}\n{\"lo\n").contains("line 2"));
    }
}
