//! Statements of an experiment: claims of its write-up, and the checks that decide them.

use serde::Deserialize;
use tallow_record::{ClaimResult, Verdict};
use tallow_regress::Claim;

use crate::error::{Error, Result};

/// Statement in an experiment's file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileStatement {
    text: String,
    zh: String,
    checks: Vec<String>,
}

/// Statement with the claims that decide it.
#[derive(Debug, Clone)]
pub struct Statement {
    /// English text.
    pub text: String,
    /// Chinese text.
    pub zh: String,
    checks: Vec<Claim>,
}

impl FileStatement {
    /// Statement whose checks `claim` parses.
    pub(crate) fn read(self, claim: impl Fn(&str) -> Result<Claim>) -> Result<Statement> {
        if self.checks.is_empty() {
            return Err(Error::Recipe(format!(
                "statement `{}`: there are no checks",
                self.text
            )));
        }
        let checks = self.checks.iter().map(|text| claim(text));
        Ok(Statement {
            checks: checks.collect::<Result<_>>()?,
            text: self.text,
            zh: self.zh,
        })
    }
}

impl Statement {
    /// Judges the checks. `mean(variant, metric)` is the mean over the seeds; `None` if the variant was not run.
    pub fn judge(&self, mean: impl Fn(&str, &str) -> Option<f64>) -> tallow_record::Statement {
        let checks: Vec<ClaimResult> = self.checks.iter().map(|c| c.judge(&mean)).collect();
        let verdict = Verdict::of(checks.iter().map(|check| check.holds));
        tallow_record::Statement {
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
            (vec!["b > a"], Verdict::Holds),
            (vec!["b > a", "a > 0.4"], Verdict::Holds),
            (vec!["b > a", "a > 0.9"], Verdict::HoldsPartly),
            (vec!["a > b"], Verdict::DoesNotHold),
            (vec!["a > b", "c > b"], Verdict::NotJudged),
        ] {
            let statement = FileStatement {
                text: "It is so.".to_string(),
                zh: "是这样。".to_string(),
                checks: checks.iter().map(|c| c.to_string()).collect(),
            };
            let statement = statement.read(|text| Ok(Claim::parse(text)?)).unwrap();
            assert_eq!(statement.judge(mean).verdict, verdict, "{checks:?}");
        }
    }
}
