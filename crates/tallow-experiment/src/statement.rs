//! Statements of an experiment: claims of its write-up, and the checks that decide them.

use schemars::JsonSchema;
use serde::Deserialize;
use tallow_record::{ClaimResult, Verdict};
use tallow_regress::{Claim, Figure, Rule};

use crate::error::{Error, Result};

/// Statement in an experiment's file.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(rename = "Statement")]
#[serde(deny_unknown_fields)]
pub(crate) struct FileStatement {
    /// English text.
    text: String,
    /// Chinese text.
    zh: String,
    /// Claims that decide it.
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
    /// Judges the checks. `figure(variant, metric)` has the values of a metric; `None` if the variant was not run.
    pub fn judge(
        &self,
        rule: Rule,
        figure: impl Fn(&str, &str) -> Option<Figure>,
    ) -> tallow_record::Statement {
        let checks = self.checks.iter().map(|check| check.judge(rule, &figure));
        let checks: Vec<ClaimResult> = checks.collect();
        let verdict = Verdict::of(&checks);
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
        let figure = |variant: &str, _: &str| {
            let values = match variant {
                "a" => [0.5, 0.51],
                "b" => [0.6, 0.62],
                "wide" => [0.3, 0.7],
                _ => return None,
            };
            Some(Figure::BySeed(vec![(0, values[0]), (1, values[1])]))
        };
        for (checks, verdict) in [
            (vec!["b > a"], Verdict::Holds),
            (vec!["b > a", "a > 0.4"], Verdict::Holds),
            (vec!["b > a", "a > 0.9"], Verdict::HoldsPartly),
            (vec!["a > b"], Verdict::DoesNotHold),
            (vec!["wide > a"], Verdict::Undecided),
            (vec!["b > a", "wide > a"], Verdict::Undecided),
            (vec!["b > a", "wide > a", "a > b"], Verdict::HoldsPartly),
            (vec!["a > b", "c > b"], Verdict::NotJudged),
        ] {
            let statement = FileStatement {
                text: "It is so.".to_string(),
                zh: "是这样。".to_string(),
                checks: checks.iter().map(|c| c.to_string()).collect(),
            };
            let statement = statement.read(|text| Ok(Claim::parse(text)?)).unwrap();
            let judged = statement.judge(Rule::Confidence, figure);
            assert_eq!(judged.verdict, verdict, "{checks:?}");
        }
    }
}
