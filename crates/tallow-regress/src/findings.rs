//! Outcome of comparing several experiments.

use serde::Serialize;
use tallow_record::Tier;

use crate::compare::{Bits, Comparison};
use crate::judge::Judgement;

/// Outcome of comparing several experiments with their baselines.
#[derive(Debug, Default, Serialize)]
pub struct Findings {
    /// Tier of the experiments; `None` for results of other programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<Tier>,
    /// Whether no comparison fails.
    pub passed: bool,
    /// Class of this machine, if something was trained.
    pub machine: Option<String>,
    /// p-value below which a metric is a regression, where no further seeds could be trained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<f64>,
    /// Comparisons, in order.
    pub experiments: Vec<Comparison>,
    /// Wall time in seconds.
    pub seconds: f64,
}

impl Findings {
    /// Sets `passed` once all comparisons are there.
    pub fn conclude(&mut self) {
        self.passed = !(self.experiments.iter()).any(|report| report.verdict.fails());
    }

    /// Whether an experiment was not compared.
    pub fn refused(&self) -> bool {
        (self.experiments.iter()).any(|report| report.verdict == Judgement::Refused)
    }

    /// Number of variants with this bitwise comparison.
    pub fn count(&self, bits: Bits) -> usize {
        let variants = self.experiments.iter().flat_map(|r| &r.variants);
        variants.filter(|v| v.bits == bits).count()
    }

    /// Heading of a document.
    pub fn title(&self) -> String {
        match self.tier {
            Some(tier) => format!("Accuracy, {tier} tier"),
            None => "Results".to_string(),
        }
    }
}
