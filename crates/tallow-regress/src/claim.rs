//! Claims of an experiment, such as `cnn.test_accuracy >= 0.93`, `cnn > fc`, `cnn - fc > 0.02` or `0.7 <= cnn.train_loss <= 0.8`.
//!
//! A claim compares two sums of terms, or three sums in ascending or descending order. A term is a number or a metric of a variant,
//! averaged over the seeds: `variant.metric`, or `variant` alone for its [`DEFAULT_METRIC`]. Names of variants may contain hyphens,
//! so the operators `+` and `-` stand between spaces.

use std::fmt;

use tallow_record::ClaimResult;

use crate::error::{Error, Result};
use crate::format::number;

/// Metric of a claim that names a variant alone.
pub(crate) const DEFAULT_METRIC: &str = "test_accuracy";

/// Name in place of a variant for computed figures that belong to no variant: `facts.name`.
pub const FACTS: &str = "facts";

/// Claim about the metrics of variants, parsed from text.
///
/// ```
/// let claim = tallow_regress::Claim::parse("cnn - fc > 0.02")?;
/// let mean = |variant: &str, _metric: &str| match variant {
///     "cnn" => Some(0.95),
///     "fc" => Some(0.91),
///     _ => None,
/// };
/// let result = claim.judge(mean);
/// assert_eq!(result.holds, Some(true));
/// assert_eq!(result.figures, "0.0400 > 0.0200");
/// # Ok::<(), tallow_regress::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// Text of the claim.
    pub text: String,
    /// Two or three sums: one more than `comparisons`.
    sums: Vec<Vec<Term>>,
    /// One or two comparisons.
    comparisons: Vec<Operator>,
}

#[derive(Debug, Clone, PartialEq)]
struct Term {
    sign: f64,
    value: Value,
}

#[derive(Debug, Clone, PartialEq)]
enum Value {
    Number(f64),
    Metric { variant: String, metric: String },
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Operator {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Operator {
    fn parse(token: &str) -> Option<Self> {
        Some(match token {
            "<" => Self::Less,
            "<=" => Self::LessOrEqual,
            ">" => Self::Greater,
            ">=" => Self::GreaterOrEqual,
            _ => return None,
        })
    }

    fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
        }
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        })
    }
}

impl Claim {
    /// Parses a claim.
    ///
    /// # Errors
    ///
    /// [`Error::Claim`], with the text and the token that is wrong.
    pub fn parse(text: &str) -> Result<Self> {
        let spaced = space_comparison(text);
        let tokens: Vec<&str> = spaced.split_whitespace().collect();
        let comparisons: Vec<usize> = (0..tokens.len())
            .filter(|&i| tokens[i].starts_with(['<', '>', '=']))
            .collect();
        if !(1..=2).contains(&comparisons.len()) {
            return Err(error(
                text,
                "expected one or two comparisons (<, <=, >, >=)",
            ));
        }
        let mut claim = Self {
            text: text.to_string(),
            sums: Vec::new(),
            comparisons: Vec::new(),
        };
        let mut from = 0;
        for at in comparisons {
            let Some(comparison) = Operator::parse(tokens[at]) else {
                let token = tokens[at];
                return Err(error(
                    text,
                    format!("expected one of <, <=, >, >=, found `{token}`"),
                ));
            };
            claim.sums.push(parse_sum(text, &tokens[from..at])?);
            claim.comparisons.push(comparison);
            from = at + 1;
        }
        claim.sums.push(parse_sum(text, &tokens[from..])?);
        let rising = |c: &Operator| matches!(c, Operator::Less | Operator::LessOrEqual);
        if claim
            .comparisons
            .windows(2)
            .any(|pair| rising(&pair[0]) != rising(&pair[1]))
        {
            return Err(error(
                text,
                "two comparisons must have the same direction: `a < b < c` or `a > b > c`",
            ));
        }
        Ok(claim)
    }

    /// Pairs of variant and metric that occur in it, in order.
    pub fn metrics(&self) -> impl Iterator<Item = (&str, &str)> {
        self.sums
            .iter()
            .flatten()
            .filter_map(|term| match &term.value {
                Value::Number(_) => None,
                Value::Metric { variant, metric } => Some((variant.as_str(), metric.as_str())),
            })
    }

    /// Judges the claim. `mean(variant, metric)` returns the mean over the seeds, or `None` for a variant that was not run.
    ///
    /// The result has `holds: None` if a variant was not run. A comparison with NaN does not hold.
    pub fn judge(&self, mean: impl Fn(&str, &str) -> Option<f64>) -> ClaimResult {
        let values = self.sums.iter().map(|terms| sum(terms, &mean));
        let (holds, figures) = match values.collect::<Option<Vec<f64>>>() {
            Some(values) => {
                let mut figures = number(values[0]);
                let mut holds = true;
                for (pair, comparison) in values.windows(2).zip(&self.comparisons) {
                    holds &= comparison.holds(pair[0], pair[1]);
                    figures += &format!(" {comparison} {}", number(pair[1]));
                }
                (Some(holds), figures)
            }
            None => (
                None,
                "not judged: a variant was not run to its end".to_string(),
            ),
        };
        ClaimResult {
            text: self.text.clone(),
            holds,
            figures,
        }
    }
}

/// Sum of terms, such as `cnn - fc`: a figure without a comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct Sum(Vec<Term>);

impl Sum {
    /// Parses a sum.
    ///
    /// # Errors
    ///
    /// [`Error::Claim`], with the text and the token that is wrong.
    pub fn parse(text: &str) -> Result<Self> {
        let tokens: Vec<&str> = text.split_whitespace().collect();
        Ok(Self(parse_sum(text, &tokens)?))
    }

    /// Pairs of variant and metric that occur in it, in order.
    pub fn metrics(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().filter_map(|term| match &term.value {
            Value::Number(_) => None,
            Value::Metric { variant, metric } => Some((variant.as_str(), metric.as_str())),
        })
    }

    /// Value of the sum. `mean(variant, metric)` returns the value of a term; without one, the sum is `None`.
    pub fn value(&self, mean: impl Fn(&str, &str) -> Option<f64>) -> Option<f64> {
        sum(&self.0, mean)
    }
}

/// Inserts spaces around comparison operators: `a>=b` becomes `a >= b`.
fn space_comparison(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 4);
    let mut inside = false;
    for c in text.chars() {
        let comparison = matches!(c, '<' | '>' | '=');
        if comparison != inside {
            out.push(' ');
        }
        inside = comparison;
        out.push(c);
    }
    out
}

fn error(text: &str, message: impl Into<String>) -> Error {
    Error::Claim {
        text: text.to_string(),
        message: message.into(),
    }
}

fn parse_sum(claim: &str, tokens: &[&str]) -> Result<Vec<Term>> {
    let mut terms = Vec::new();
    let mut sign = 1.0;
    for (i, token) in tokens.iter().enumerate() {
        if i % 2 == 0 {
            terms.push(Term {
                sign,
                value: parse_value(claim, token)?,
            });
        } else {
            sign = match *token {
                "+" => 1.0,
                "-" => -1.0,
                other => return Err(error(claim, format!("expected + or - before `{other}`"))),
            };
        }
    }
    if tokens.len().is_multiple_of(2) {
        return Err(error(
            claim,
            "expected a number or `variant.metric` on both sides of each operator",
        ));
    }
    Ok(terms)
}

fn parse_value(claim: &str, token: &str) -> Result<Value> {
    if let Ok(number) = token.parse::<f64>() {
        return Ok(Value::Number(number));
    }
    let (variant, metric) = token.split_once('.').unwrap_or((token, DEFAULT_METRIC));
    let word = |s: &str| {
        s.starts_with(|c: char| c.is_ascii_alphabetic())
            && s.chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    if !word(variant) || !word(metric) {
        return Err(error(
            claim,
            format!("expected a number or `variant.metric`, found `{token}`"),
        ));
    }
    Ok(Value::Metric {
        variant: variant.to_string(),
        metric: metric.to_string(),
    })
}

fn sum(terms: &[Term], mean: impl Fn(&str, &str) -> Option<f64>) -> Option<f64> {
    terms.iter().try_fold(0.0, |total, term| {
        let value = match &term.value {
            Value::Number(number) => *number,
            Value::Metric { variant, metric } => mean(variant, metric)?,
        };
        Some(total + term.sign * value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(variant: &str, metric: &str) -> Option<f64> {
        match (variant, metric) {
            ("fc", "test_accuracy") => Some(0.85),
            ("cnn", "test_accuracy") => Some(0.95),
            ("cnn", "test_loss") => Some(0.2),
            ("cnn-permuted", "test_accuracy") => Some(0.80),
            _ => None,
        }
    }

    fn holds(text: &str) -> Option<bool> {
        Claim::parse(text).unwrap().judge(mean).holds
    }

    #[test]
    fn floors() {
        assert_eq!(holds("cnn.test_accuracy >= 0.95"), Some(true));
        assert_eq!(holds("cnn.test_accuracy > 0.95"), Some(false));
        assert_eq!(holds("cnn.test_loss<0.3"), Some(true));
    }

    #[test]
    fn relations() {
        assert_eq!(holds("cnn > fc"), Some(true));
        assert_eq!(holds("fc>cnn.test_accuracy"), Some(false));
        assert_eq!(holds("fc > cnn-permuted"), Some(true));
    }

    #[test]
    fn differences() {
        assert_eq!(holds("cnn - fc > 0.09"), Some(true));
        assert_eq!(holds("cnn - fc > 0.11"), Some(false));
        assert_eq!(holds("cnn-permuted - fc < 0"), Some(true));
        assert_eq!(holds("cnn - fc > cnn-permuted - fc + 0.14"), Some(true));
        assert_eq!(holds("cnn - fc > cnn-permuted - fc + 0.16"), Some(false));
    }

    #[test]
    fn ranges() {
        assert_eq!(holds("0.8 < fc <= 0.85"), Some(true));
        assert_eq!(holds("0.86 < fc <= 0.9"), Some(false));
        assert_eq!(holds("cnn > fc > cnn-permuted"), Some(true));
        assert_eq!(holds("cnn > cnn-permuted > fc"), Some(false));
        let verdict = Claim::parse("0.1 < cnn.test_loss<0.3").unwrap().judge(mean);
        assert_eq!(verdict.figures, "0.1000 < 0.2000 < 0.3000");
    }

    #[test]
    fn not_judged_without_the_variant() {
        let verdict = Claim::parse("cnn > vgg").unwrap().judge(mean);
        assert_eq!(verdict.holds, None);
    }

    #[test]
    fn a_figure_that_is_not_a_number_fails() {
        let claim = Claim::parse("cnn > 0.1").unwrap();
        assert_eq!(claim.judge(|_, _| Some(f64::NAN)).holds, Some(false));
    }

    #[test]
    fn names_its_metrics() {
        let claim = Claim::parse("cnn.test_loss + 1 < fc").unwrap();
        let metrics: Vec<_> = claim.metrics().collect();
        assert_eq!(metrics, [("cnn", "test_loss"), ("fc", "test_accuracy")]);
    }

    #[test]
    fn refuses_nonsense() {
        for text in [
            "",
            "cnn",
            "cnn > fc < vgg",
            "cnn > fc > vgg > 0.1",
            "cnn == fc",
            "cnn >",
            "> 0.5",
            "cnn - > 0.5",
            "cnn fc > 0.5",
            "cnn * 2 > 0.5",
            "cnn. > 0.5",
            "cnn => 0.5",
        ] {
            let error = Claim::parse(text).unwrap_err().to_string();
            assert!(error.contains(&format!("claim `{text}`")), "{error}");
        }
    }
}
