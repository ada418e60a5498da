//! Claims of an experiment, such as `cnn.test_accuracy >= 0.93`, `cnn > fc`, `cnn - fc > 0.02` or `0.7 <= cnn.train_loss <= 0.8`.
//!
//! A claim compares two sums of terms, or three sums in ascending or descending order. A term is a number or a metric of a variant,
//! averaged over the seeds: `variant.metric`, or `variant` alone for its [`DEFAULT_METRIC`]. Names of variants may contain hyphens,
//! so the operators `+` and `-` stand between spaces.

use std::fmt;

use tallow_record::{ClaimResult, Difference, Tier, number};

use crate::confidence::{self, Part};
use crate::error::{Error, Result};
use crate::figure::Figure;

/// Metric of a claim that names a variant alone.
pub(crate) const DEFAULT_METRIC: &str = "test_accuracy";

/// Name in place of a variant for computed figures that belong to no variant: `facts.name`.
pub const FACTS: &str = "facts";

/// Rule by which a claim is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Every claim by its one-sided 95 % confidence bounds over the seeds.
    Confidence,
    /// Floors and ranges of one variant by its mean, the others by confidence: for short runs of one seed that only a fault can bring
    /// below a floor far from the usual value.
    FloorsByMean,
}

impl Rule {
    /// Rule of a tier: the smoke tier trains one seed for a few steps and has floors, the others have claims.
    pub fn of(tier: Tier) -> Self {
        match tier {
            Tier::Smoke => Self::FloorsByMean,
            _ => Self::Confidence,
        }
    }
}

/// Claim about the metrics of variants, parsed from text.
///
/// It holds when the confidence bound of each compared difference is on the right side, does not hold when that of one is on the wrong
/// side, and is undecided otherwise. One seed never decides a claim about a metric that depends on the seed. docs/claims.md has the
/// rule's rates of error.
///
/// ```
/// use tallow_regress::{Claim, Figure, Rule};
///
/// let claim = Claim::parse("cnn - fc > 0.02")?;
/// let accuracy = |variant: &str, _metric: &str| match variant {
///     "cnn" => Some(Figure::BySeed(vec![(0, 0.95), (1, 0.96), (2, 0.94)])),
///     "fc" => Some(Figure::BySeed(vec![(0, 0.91), (1, 0.91), (2, 0.90)])),
///     _ => None,
/// };
/// let result = claim.judge(Rule::Confidence, accuracy);
/// assert_eq!(result.holds, Some(true));
/// assert_eq!(result.figures, "0.0433 > 0.0200");
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

    /// Whether a difference holds that is between these bounds; `None` if they do not decide it.
    fn decide(self, [low, high]: [f64; 2]) -> Option<bool> {
        let (worst, best) = match self {
            Self::Less | Self::LessOrEqual => (high, low),
            Self::Greater | Self::GreaterOrEqual => (low, high),
        };
        match (self.holds(worst, 0.0), self.holds(best, 0.0)) {
            (true, _) => Some(true),
            (false, false) => Some(false),
            (false, true) => None,
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

    /// Judges the claim. `figure(variant, metric)` returns the values of a metric, or `None` for a variant that was not run.
    ///
    /// The result has no differences if a variant was not run. A comparison with NaN does not hold.
    pub fn judge(&self, rule: Rule, figure: impl Fn(&str, &str) -> Option<Figure>) -> ClaimResult {
        let sums = self.sums.iter().map(|terms| values(terms, &figure));
        let Some(sums) = sums.collect::<Option<Vec<_>>>() else {
            return ClaimResult {
                text: self.text.clone(),
                holds: None,
                figures: "not judged: a variant was not run to its end".to_string(),
                differences: Vec::new(),
            };
        };
        let means: Vec<f64> = sums.iter().map(|terms| mean(terms)).collect();
        let by_mean = rule == Rule::FloorsByMean && self.is_floor();
        let mut figures = number(means[0]);
        let mut differences = Vec::new();
        let mut verdicts = Vec::new();
        for (i, comparison) in self.comparisons.iter().enumerate() {
            figures += &format!(" {comparison} {}", number(means[i + 1]));
            let right = sums[i + 1].iter().map(|part| part.negated());
            let parts: Vec<Part> = sums[i].iter().cloned().chain(right).collect();
            let mut difference = confidence::difference(&parts);
            // Sums that are equal as written differ by rounding when subtracted term by term.
            difference.mean = means[i] - means[i + 1];
            verdicts.push(match difference {
                _ if by_mean || means[i].is_nan() || means[i + 1].is_nan() => {
                    Some(comparison.holds(means[i], means[i + 1]))
                }
                Difference { seeds: 0, .. } => Some(comparison.holds(means[i], means[i + 1])),
                Difference { interval, .. } => interval.and_then(|ends| comparison.decide(ends)),
            });
            // What is not a number has no difference, which JSON could not hold.
            if difference.mean.is_finite() {
                differences.push(difference);
            }
        }
        ClaimResult {
            text: self.text.clone(),
            // A comparison that does not hold decides the claim, whatever the others are.
            holds: match verdicts.contains(&Some(false)) {
                true => Some(false),
                false => verdicts
                    .into_iter()
                    .try_fold(true, |all, holds| Some(all & holds?)),
            },
            figures,
            differences,
        }
    }

    /// Whether it compares a single variant with numbers.
    fn is_floor(&self) -> bool {
        let mut variants = self.metrics().map(|(variant, _)| variant);
        let first = variants.next();
        variants.all(|variant| Some(variant) == first)
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

/// Terms with the values of their metrics.
fn values(terms: &[Term], figure: impl Fn(&str, &str) -> Option<Figure>) -> Option<Vec<Part>> {
    let part = |term: &Term| {
        Some(match &term.value {
            Value::Number(number) => Part {
                factor: term.sign,
                variant: String::new(),
                figure: Figure::Constant(*number),
            },
            Value::Metric { variant, metric } => Part {
                factor: term.sign,
                variant: variant.clone(),
                figure: figure(variant, metric)?,
            },
        })
    };
    terms.iter().map(part).collect()
}

fn mean(terms: &[Part]) -> f64 {
    terms
        .iter()
        .fold(0.0, |total, part| total + part.factor * part.figure.mean())
}

#[cfg(test)]
mod tests {
    use tallow_record::Verdict;

    use super::*;

    /// Two seeds close to each value, so that all is decided.
    fn figure(variant: &str, metric: &str) -> Option<Figure> {
        let mean = mean(variant, metric)?;
        Some(Figure::BySeed(vec![(0, mean - 1e-9), (1, mean + 1e-9)]))
    }

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
        let claim = Claim::parse(text).unwrap();
        claim.judge(Rule::Confidence, figure).holds
    }

    #[test]
    fn floors() {
        assert_eq!(holds("cnn.test_accuracy >= 0.94"), Some(true));
        assert_eq!(holds("cnn.test_accuracy > 0.96"), Some(false));
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
        assert_eq!(holds("0.8 < fc <= 0.86"), Some(true));
        assert_eq!(holds("0.86 < fc <= 0.9"), Some(false));
        assert_eq!(holds("cnn > fc > cnn-permuted"), Some(true));
        assert_eq!(holds("cnn > cnn-permuted > fc"), Some(false));
        let claim = Claim::parse("0.1 < cnn.test_loss<0.3").unwrap();
        let verdict = claim.judge(Rule::Confidence, figure);
        assert_eq!(verdict.figures, "0.1000 < 0.2000 < 0.3000");
    }

    #[test]
    fn not_judged_without_the_variant() {
        let claim = Claim::parse("cnn > vgg").unwrap();
        let result = claim.judge(Rule::Confidence, figure);
        assert_eq!((result.holds, result.verdict()), (None, Verdict::NotJudged));
    }

    #[test]
    fn seeds_that_do_not_decide_leave_it_undecided() {
        let accuracies = |variant: &str, _: &str| {
            let values: &[f64] = match variant {
                "cnn" => &[0.95, 0.92, 0.96],
                "fc" => &[0.94, 0.93, 0.94],
                "one" => &[0.99],
                _ => return None,
            };
            let seeds = 0..values.len() as u64;
            Some(Figure::BySeed(seeds.zip(values.iter().copied()).collect()))
        };
        let judge = |text: &str, rule| Claim::parse(text).unwrap().judge(rule, accuracies);
        let result = judge("cnn > fc", Rule::Confidence);
        assert_eq!((result.holds, result.verdict()), (None, Verdict::Undecided));
        assert_eq!(result.figures, "0.9433 > 0.9367");
        // Neither holds its opposite, and a wide margin is decided.
        assert_eq!(judge("cnn < fc", Rule::Confidence).holds, None);
        assert_eq!(judge("cnn - fc > 0.2", Rule::Confidence).holds, Some(false));
        assert_eq!(judge("fc > 0.9", Rule::Confidence).holds, Some(true));
        // One of two comparisons is undecided, or wrong.
        assert_eq!(judge("0.5 < cnn < 0.95", Rule::Confidence).holds, None);
        assert_eq!(
            judge("0.95 > cnn > 1.2", Rule::Confidence).holds,
            Some(false)
        );
        // One seed decides nothing but a floor by its mean.
        assert_eq!(judge("one > 0.5", Rule::Confidence).holds, None);
        assert_eq!(judge("one > 0.5", Rule::FloorsByMean).holds, Some(true));
        assert_eq!(judge("one < 0.5", Rule::FloorsByMean).holds, Some(false));
        assert_eq!(judge("one > fc", Rule::FloorsByMean).holds, None);
    }

    #[test]
    fn what_does_not_depend_on_the_seed_is_compared_exactly() {
        let figure = |_: &str, _: &str| Some(Figure::Constant(9760.0));
        let holds = |text: &str| {
            Claim::parse(text)
                .unwrap()
                .judge(Rule::Confidence, figure)
                .holds
        };
        assert_eq!(holds("lenet.parameters <= 9760"), Some(true));
        assert_eq!(holds("lenet.parameters < 9760"), Some(false));
    }

    #[test]
    fn a_figure_that_is_not_a_number_fails() {
        let claim = Claim::parse("cnn > 0.1").unwrap();
        let result = claim.judge(Rule::Confidence, |_, _| Some(Figure::Constant(f64::NAN)));
        assert_eq!(result.holds, Some(false));
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
