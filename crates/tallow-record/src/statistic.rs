use std::fmt;

use serde::{Deserialize, Serialize};

/// Mean and standard deviation of a metric over several seeds.
///
/// ```
/// use tallow_record::Statistic;
///
/// let accuracy = Statistic::of(&[0.9615, 0.9546, 0.9506]).unwrap();
/// assert_eq!(format!("{accuracy:.4}"), "0.9556 ± 0.0055");
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Statistic {
    /// Arithmetic mean.
    pub mean: f64,
    /// Sample standard deviation (with `n - 1`); `None` for a single value.
    pub std: Option<f64>,
    /// Values, in the order of the runs.
    pub values: Vec<f64>,
}

impl Statistic {
    /// Statistic of these values; `None` if there are none.
    pub fn of(values: &[f64]) -> Option<Self> {
        if values.is_empty() {
            return None;
        }
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Some(Self {
            mean,
            std: (values.len() > 1).then(|| (squares / (count - 1.0)).sqrt()),
            values: values.to_vec(),
        })
    }
}

/// `mean ± std`, or the mean alone for a single value. Takes a precision.
impl fmt::Display for Statistic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.mean.fmt(f)?;
        if let Some(std) = self.std {
            f.write_str(" ± ")?;
            std.fmt(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `statistics.mean` and `statistics.stdev` of Python.
    #[test]
    fn mean_and_sample_standard_deviation() {
        let found = Statistic::of(&[85.70, 87.74, 88.57]).unwrap();
        assert!((found.mean - 87.336_666_666_666_66).abs() < 1e-12);
        assert!((found.std.unwrap() - 1.476_899_906_335_333_9).abs() < 1e-12);
        assert_eq!(found.values, [85.70, 87.74, 88.57]);
        assert_eq!(format!("{found:.2}"), "87.34 ± 1.48");
    }

    #[test]
    fn one_value_and_none() {
        let found = Statistic::of(&[0.5]).unwrap();
        assert_eq!((found.mean, found.std), (0.5, None));
        assert_eq!(format!("{found:.3}"), "0.500");
        assert_eq!(Statistic::of(&[]), None);
    }
}
