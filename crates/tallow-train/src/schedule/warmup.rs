use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use super::Per;
use crate::error::{Error, Result};

/// Increase from `start_factor` times the optimizer's rate to that rate: `LinearLR`.
///
/// In TOML: `warmup = { epochs = 5, start = 0.01, kind = "cosine" }`. The length is given by one of the keys `length` (in the
/// schedule's unit of time), `epochs` and `steps`; `start` is short for `start_factor`.
///
/// A warmup in epochs before a schedule that goes by step rises at every step. After a warmup in steps, a schedule that goes by epoch
/// changes its rate every epoch's worth of steps, counted from the end of the warmup.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "Keys", into = "Keys")]
pub struct Warmup {
    /// Length, in `unit`.
    pub length: u64,
    /// Unit of the length; `None` for the schedule's.
    pub unit: Option<Per>,
    /// First rate, relative to the optimizer's, in `(0, 1]`; 1/3 by default, as in PyTorch.
    pub start_factor: f64,
    /// Form of the increase.
    pub kind: WarmupKind,
}

/// Form of a [`Warmup`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum WarmupKind {
    /// Linear: `LinearLR`.
    #[default]
    Linear,
    /// Half a cosine, with a slow start and a slow end.
    Cosine,
    /// The first rate throughout: `ConstantLR`.
    Constant,
}

/// Keys of a warmup in a recipe.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(transform = add_start))]
#[serde(deny_unknown_fields)]
struct Keys {
    /// Length in the schedule's unit of time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    length: Option<u64>,
    /// Length in epochs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    epochs: Option<u64>,
    /// Length in optimizer steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    steps: Option<u64>,
    /// First rate, relative to the optimizer's, in `(0, 1]`; 1/3 by default.
    #[serde(default = "default_start_factor", alias = "start")]
    start_factor: f64,
    /// Form of the increase.
    #[serde(default, skip_serializing_if = "is_linear")]
    #[cfg_attr(feature = "schema", schemars(extend("default" = "linear")))]
    kind: WarmupKind,
}

/// Adds the short form of `start_factor` to the schema, which has no aliases.
#[cfg(feature = "schema")]
fn add_start(schema: &mut schemars::Schema) {
    if let Some(properties) = schema.get_mut("properties").and_then(|p| p.as_object_mut()) {
        let start = serde_json::json!({
            "description": "Short for `start_factor`.",
            "type": "number",
            "default": default_start_factor()
        });
        properties.insert("start".to_string(), start);
    }
}

fn default_start_factor() -> f64 {
    1.0 / 3.0
}

fn is_linear(kind: &WarmupKind) -> bool {
    *kind == WarmupKind::Linear
}

impl TryFrom<Keys> for Warmup {
    type Error = &'static str;

    fn try_from(keys: Keys) -> Result<Self, &'static str> {
        let (length, unit) = match (keys.length, keys.epochs, keys.steps) {
            (Some(length), None, None) => (length, None),
            (None, Some(epochs), None) => (epochs, Some(Per::Epoch)),
            (None, None, Some(steps)) => (steps, Some(Per::Step)),
            _ => return Err("a warmup has one of the keys `length`, `epochs` and `steps`"),
        };
        Ok(Self {
            length,
            unit,
            start_factor: keys.start_factor,
            kind: keys.kind,
        })
    }
}

impl From<Warmup> for Keys {
    fn from(warmup: Warmup) -> Self {
        let of = |unit| (warmup.unit == unit).then_some(warmup.length);
        Self {
            length: of(None),
            epochs: of(Some(Per::Epoch)),
            steps: of(Some(Per::Step)),
            start_factor: warmup.start_factor,
            kind: warmup.kind,
        }
    }
}

impl Warmup {
    /// Linear warmup of this length in the schedule's unit of time, from a third of the rate.
    pub fn new(length: u64) -> Self {
        Self {
            length,
            unit: None,
            start_factor: default_start_factor(),
            kind: WarmupKind::Linear,
        }
    }

    /// Key of a recipe that gives the length.
    pub(crate) fn setting(&self) -> &'static str {
        match self.unit {
            None => "schedule.warmup.length",
            Some(Per::Epoch) => "schedule.warmup.epochs",
            Some(Per::Step) => "schedule.warmup.steps",
        }
    }

    /// Rate at `time`, which is below `length`, both in one unit.
    pub(super) fn lr(&self, base_lr: f64, time: u64, length: u64) -> f64 {
        let done = time as f64 / length as f64;
        let share = match self.kind {
            WarmupKind::Linear => done,
            WarmupKind::Cosine => (1.0 - (PI * done).cos()) / 2.0,
            WarmupKind::Constant => 0.0,
        };
        base_lr * (self.start_factor + (1.0 - self.start_factor) * share)
    }

    pub(super) fn validate(&self) -> Result<()> {
        if self.start_factor > 0.0 && self.start_factor <= 1.0 {
            return Ok(());
        }
        Err(Error::config(
            "schedule.warmup.start_factor",
            format!("{} is not in (0, 1]", self.start_factor),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_is_given_once() {
        let read = |text: &str| serde_json::from_str::<Warmup>(text);
        let warmup = read(r#"{"epochs": 5, "start": 0.1, "kind": "cosine"}"#).unwrap();
        let expected = Warmup {
            unit: Some(Per::Epoch),
            start_factor: 0.1,
            kind: WarmupKind::Cosine,
            ..Warmup::new(5)
        };
        assert_eq!(warmup, expected);
        for wrong in [
            "{}",
            r#"{"epochs": 5, "steps": 5}"#,
            r#"{"length": 5, "epochs": 5}"#,
        ] {
            let message = read(wrong).unwrap_err().to_string();
            assert!(message.contains("one of the keys"), "{wrong}: {message}");
        }
        let message = read(r#"{"epoch": 5}"#).unwrap_err().to_string();
        assert!(message.contains("unknown field `epoch`"), "{message}");
    }

    #[test]
    fn keys_are_written_as_they_were_read() {
        for text in [
            r#"{"length":3,"start_factor":0.5}"#,
            r#"{"epochs":3,"start_factor":0.5}"#,
            r#"{"steps":3,"start_factor":0.5,"kind":"constant"}"#,
        ] {
            let warmup: Warmup = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&warmup).unwrap(), text);
        }
    }
}
