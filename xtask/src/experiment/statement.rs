//! What the write-up says, and how it is decided whether it is so.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use tallow_report::results::Verdict as Outcome;

use crate::claims::{Claim, Verdict};

/// A statement of an experiment's file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileStatement {
    text: String,
    zh: String,
    checks: Vec<String>,
}

/// A statement, with the claims that decide it.
#[derive(Debug, Clone)]
pub struct Statement {
    /// In English.
    pub text: String,
    /// In Chinese.
    pub zh: String,
    checks: Vec<Claim>,
}

/// How a statement came out.
#[derive(Debug, Clone, Serialize)]
pub struct Judged {
    /// The statement in English.
    pub text: String,
    /// The statement in Chinese.
    pub zh: String,
    /// It holds when all of its checks hold, partly when some do.
    pub verdict: Outcome,
    /// What decided it.
    pub checks: Vec<Verdict>,
}

impl FileStatement {
    /// With each of its checks read by `claim`.
    pub fn read(self, claim: impl Fn(&str) -> Result<Claim>) -> Result<Statement> {
        ensure!(
            !self.checks.is_empty(),
            "statement `{}`: there are no checks",
            self.text
        );
        let checks = self.checks.iter().map(|text| claim(text));
        Ok(Statement {
            checks: checks.collect::<Result<_>>()?,
            text: self.text,
            zh: self.zh,
        })
    }
}

impl Statement {
    /// Judges its checks, `mean(variant, metric)` being the mean over the seeds, `None` when not run.
    pub fn judge(&self, mean: impl Fn(&str, &str) -> Option<f64>) -> Judged {
        let checks: Vec<Verdict> = self.checks.iter().map(|c| c.judge(&mean)).collect();
        let verdict = Outcome::of(checks.iter().map(|check| check.holds));
        Judged {
            text: self.text.clone(),
            zh: self.zh.clone(),
            verdict,
            checks,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts() {
        let mean = |variant: &str, _: &str| match variant {
            "a" => Some(0.5),
            "b" => Some(0.6),
            _ => None,
        };
        for (checks, verdict) in [
            (vec!["b > a"], Outcome::Holds),
            (vec!["b > a", "a > 0.4"], Outcome::Holds),
            (vec!["b > a", "a > 0.9"], Outcome::HoldsPartly),
            (vec!["a > b"], Outcome::DoesNotHold),
            (vec!["a > b", "c > b"], Outcome::NotJudged),
        ] {
            let statement = FileStatement {
                text: "It is so.".to_string(),
                zh: "是这样。".to_string(),
                checks: checks.iter().map(|c| c.to_string()).collect(),
            };
            let statement = statement.read(Claim::parse).unwrap();
            assert_eq!(statement.judge(mean).verdict, verdict, "{checks:?}");
        }
    }
}
