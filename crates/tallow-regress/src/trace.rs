//! Traces: what a training does that neither chance nor the rounding of a kernel changes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::format::list_numbers;

/// Largest relative difference of two numbers that count as equal: eight units in the last place of an `f32`.
///
/// Functions such as the cosine of a schedule differ in their last bit from platform to platform.
const TOLERANCE: f64 = 5e-7;

/// Trace of a variant with one seed: the order of its samples, its batches, its learning rates and so on, each by name.
///
/// An entry must not depend on the seed alone in a way that a rounding decides: the same source, data, recipe and seed give an equal
/// trace on every machine. So a trace is compared exactly, and short runs show in it what they cannot show in an accuracy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trace {
    /// Seed of the training.
    pub seed: u64,
    /// Entries by name.
    pub entries: BTreeMap<String, Entry>,
}

/// Entry of a [`Trace`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Entry {
    /// Count, or other text that must be equal, such as a digest.
    Text(String),
    /// Finite numbers that must be equal but for a relative difference of 5e-7.
    Numbers(Vec<f64>),
}

impl Entry {
    /// Entry of numbers; a text if one of them is not finite, since JSON has no such numbers.
    pub fn numbers(values: Vec<f64>) -> Self {
        match values.iter().all(|value| value.is_finite()) {
            true => Self::Numbers(values),
            false => Self::Text(format!("not finite: {values:?}")),
        }
    }

    fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Numbers(a), Self::Numbers(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(&a, &b)| close(a, b))
            }
            (a, b) => a == b,
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Numbers(values) => f.write_str(&list_numbers(values)),
        }
    }
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= TOLERANCE * a.abs().max(b.abs())
}

/// Entry of a trace that differs from the baseline's.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// Name of the entry.
    pub entry: String,
    /// Entry of the baseline; `None` if it has none of this name.
    pub baseline: Option<Entry>,
    /// Entry of the trace; `None` if it has none of this name.
    pub now: Option<Entry>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |entry: &Option<Entry>| match entry {
            None => "nothing".to_string(),
            Some(entry) => shortened(&entry.to_string()),
        };
        let name = &self.entry;
        if let (Some(Entry::Numbers(before)), Some(Entry::Numbers(now))) =
            (&self.baseline, &self.now)
            && let Some(at) = first_difference(before, now)
        {
            let (count, before, now) = (before.len(), before[at], now[at]);
            let number = at + 1;
            return write!(
                f,
                "{name}: number {number} of {count} is {now}, not {before}"
            );
        }
        write!(
            f,
            "{name}: {}, not {}",
            text(&self.now),
            text(&self.baseline)
        )
    }
}

/// Index of the first number that differs, of lists of the same length.
fn first_difference(before: &[f64], now: &[f64]) -> Option<usize> {
    let pairs = || before.iter().zip(now);
    (before.len() == now.len())
        .then(|| pairs().position(|(&a, &b)| !close(a, b)))
        .flatten()
}

/// The first digits of a digest are enough to tell two apart.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(48) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_string(),
    }
}

impl Trace {
    /// Entries that differ from those of `self`, the baseline's trace, in the order of their names.
    pub fn changes(&self, now: &Self) -> Vec<Change> {
        let names: BTreeSet<&String> = self.entries.keys().chain(now.entries.keys()).collect();
        let change = |name: &String| {
            let (before, now) = (self.entries.get(name), now.entries.get(name));
            let same = match (before, now) {
                (Some(before), Some(now)) => before.equals(now),
                _ => false,
            };
            (!same).then(|| Change {
                entry: name.clone(),
                baseline: before.cloned(),
                now: now.cloned(),
            })
        };
        names.into_iter().filter_map(change).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(entries: &[(&str, Entry)]) -> Trace {
        let entries = entries.iter().cloned();
        Trace {
            seed: 3,
            entries: entries.map(|(name, e)| (name.to_string(), e)).collect(),
        }
    }

    fn text(text: &str) -> Entry {
        Entry::Text(text.to_string())
    }

    fn shown(before: &Trace, now: &Trace) -> Vec<String> {
        let changes = before.changes(now);
        changes.iter().map(Change::to_string).collect()
    }

    #[test]
    fn names_the_entries_that_differ_and_no_others() {
        let before = trace(&[
            ("batches", text(&"ab".repeat(32))),
            ("order", text("1 2 3")),
            ("rates", Entry::Numbers(vec![0.1, 0.05, 0.0])),
        ]);
        assert_eq!(before.changes(&before.clone()), []);
        let now = trace(&[
            ("batches", text(&"ba".repeat(32))),
            ("order", text("1 2 3")),
            ("rates", Entry::Numbers(vec![0.1, 0.051, 0.0])),
            ("weights", text("c")),
        ]);
        let half = "ab".repeat(24);
        assert_eq!(
            shown(&before, &now),
            [
                format!("batches: {}…, not {half}…", "ba".repeat(24)),
                "rates: number 2 of 3 is 0.051, not 0.05".to_string(),
                "weights: c, not nothing".to_string(),
            ]
        );
        assert_eq!(
            shown(&now, &before)[2],
            "weights: nothing, not c".to_string()
        );
    }

    #[test]
    fn numbers_may_differ_by_their_last_bits_only() {
        let of = |value: f64| trace(&[("rates", Entry::Numbers(vec![0.0, value]))]);
        let last_bit = f64::from(0.1f32.next_up());
        assert_eq!(of(f64::from(0.1f32)).changes(&of(last_bit)), []);
        assert_eq!(of(0.1).changes(&of(0.1 + 1e-7)).len(), 1);
        assert_eq!(of(0.1).changes(&of(-0.1)).len(), 1);
        // A number that is gone, and one that is not finite.
        let shorter = trace(&[("rates", Entry::Numbers(vec![0.0]))]);
        assert_eq!(of(0.1).changes(&shorter).len(), 1);
        let nan = trace(&[("rates", Entry::numbers(vec![0.0, f64::NAN]))]);
        assert_eq!(
            shown(&of(0.1), &nan),
            ["rates: not finite: [0.0, NaN], not 0, 0.1"]
        );
    }

    #[test]
    fn json_gives_the_trace_back() {
        let before = trace(&[
            ("order", text("1")),
            ("rates", Entry::Numbers(vec![1.0, 0.1, 1e-9])),
        ]);
        let json = serde_json::to_string(&before).unwrap();
        assert_eq!(
            json,
            r#"{"seed":3,"entries":{"order":"1","rates":[1.0,0.1,1e-9]}}"#
        );
        assert_eq!(serde_json::from_str::<Trace>(&json).unwrap(), before);
        assert!(serde_json::from_str::<Trace>(r#"{"seed":3,"entries":{"a":null}}"#).is_err());
    }
}
