//! Parameter of a sweep: a key of the recipe and its values.

use tallow_transforms::SampleRng;
use toml::Value;

/// Key of the recipe and its values.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Parameter {
    /// Dotted key, such as `train.optimizer.lr`.
    pub key: String,
    /// Values.
    pub range: Range,
}

/// Whether `inner` is the key `outer`, or a key in the table of that name.
pub(super) fn is_within(inner: &str, outer: &str) -> bool {
    let rest = inner.strip_prefix(outer);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Values of a parameter.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Range {
    /// These values; at least one.
    Values(Vec<Value>),
    /// Whole numbers from the first to the last.
    Integers(i64, i64),
    /// Numbers between two bounds.
    Uniform(f64, f64),
    /// Numbers between two bounds above 0, with uniform logarithms.
    LogUniform(f64, f64),
}

impl Range {
    /// Number of values; `None` for numbers between bounds.
    pub fn count(&self) -> Option<u64> {
        match self {
            Self::Values(values) => Some(values.len() as u64),
            Self::Integers(first, last) => Some(first.abs_diff(*last).saturating_add(1)),
            Self::Uniform(..) | Self::LogUniform(..) => None,
        }
    }

    /// Value of this number, from 0; `None` beyond the last one and for numbers between bounds.
    pub fn value(&self, number: u64) -> Option<Value> {
        match self {
            Self::Values(values) => values.get(usize::try_from(number).ok()?).cloned(),
            Self::Integers(first, last) => {
                let value = first.checked_add_unsigned(number)?;
                (value <= *last).then_some(Value::Integer(value))
            }
            Self::Uniform(..) | Self::LogUniform(..) => None,
        }
    }

    /// Value drawn at random; `None` only without values.
    pub fn draw(&self, rng: &mut SampleRng) -> Option<Value> {
        match *self {
            Self::Values(_) | Self::Integers(..) => {
                let count = u32::try_from(self.count()?).ok()?;
                self.value(rng.below(count).into())
            }
            Self::Uniform(low, high) => {
                let drawn = rng.uniform(low, high);
                Some(rounded(
                    format!("{drawn:.*}", decimals(high - low)),
                    low,
                    high,
                ))
            }
            Self::LogUniform(low, high) => {
                // Rounding hides that the last digits of logarithms differ between platforms.
                let drawn = rng.uniform(low.ln(), high.ln()).exp();
                Some(rounded(format!("{drawn:.3e}"), low, high))
            }
        }
    }
}

/// Digits after the point by which some ten thousand numbers of an interval of this length differ.
fn decimals(length: f64) -> usize {
    (4.0 - length.log10().floor()).clamp(0.0, 340.0) as usize
}

fn rounded(text: String, low: f64, high: f64) -> Value {
    let value: f64 = text.parse().unwrap_or(low);
    Value::Float(value.clamp(low, high))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(range: &Range) -> Vec<Value> {
        let mut rng = SampleRng::new(1, 2, 3);
        (0..2000).map(|_| range.draw(&mut rng).unwrap()).collect()
    }

    fn numbers(range: &Range) -> Vec<f64> {
        draws(range).iter().map(|v| v.as_float().unwrap()).collect()
    }

    #[test]
    fn a_key_is_within_its_table() {
        assert!(is_within("train.loss", "train.loss"));
        assert!(is_within("train.loss.name", "train.loss"));
        assert!(!is_within("train.losses", "train.loss"));
        assert!(!is_within("train", "train.loss"));
    }

    #[test]
    fn lists_and_whole_numbers_are_counted() {
        let list = Range::Values(vec![1.into(), "a".into()]);
        assert_eq!((list.count(), list.value(1)), (Some(2), Some("a".into())));
        assert_eq!(list.value(2), None);
        let whole = Range::Integers(-1, 3);
        assert_eq!((whole.count(), whole.value(4)), (Some(5), Some(3.into())));
        assert_eq!(whole.value(5), None);
        assert_eq!(Range::Uniform(0.0, 1.0).count(), None);
        for range in [list, whole] {
            let drawn = draws(&range);
            let all = (0..range.count().unwrap()).map(|n| range.value(n).unwrap());
            assert!(all.into_iter().all(|value| drawn.contains(&value)));
        }
    }

    #[test]
    fn numbers_lie_between_the_bounds_and_have_few_digits() {
        let uniform = numbers(&Range::Uniform(0.9, 0.99));
        assert!(uniform.iter().all(|v| (0.9..=0.99).contains(v)));
        let mean = uniform.iter().sum::<f64>() / 2000.0;
        // Five standard errors of the mean of 2,000 numbers.
        assert!(
            (mean - 0.945).abs() < 5.0 * 0.09 / 12f64.sqrt() / 2000f64.sqrt(),
            "{mean}"
        );
        assert!(
            uniform
                .iter()
                .all(|v| v.to_string().len() <= "0.912345".len())
        );

        let log = numbers(&Range::LogUniform(1e-4, 1.0));
        assert!(log.iter().all(|v| (1e-4..=1.0).contains(v)));
        let below = log.iter().filter(|v| **v < 1e-2).count() as f64 / 2000.0;
        assert!((below - 0.5).abs() < 5.0 * 0.5 / 2000f64.sqrt(), "{below}");

        // Bounds close together and far from 0 still give different numbers.
        let mut narrow = numbers(&Range::Uniform(0.9999, 0.99999));
        narrow.sort_by(f64::total_cmp);
        narrow.dedup();
        assert!(narrow.len() > 1000, "{}", narrow.len());
    }
}
