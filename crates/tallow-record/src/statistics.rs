//! Statistics of gradients and activations.

use serde::{Deserialize, Serialize};

/// Statistics of the values of a tensor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TensorStatistics {
    /// Mean.
    pub mean: f64,
    /// Standard deviation, with the number of values as divisor.
    pub std: f64,
    /// Least value.
    pub min: f64,
    /// Largest value.
    pub max: f64,
    /// Share of values that are 0, in `[0, 1]`.
    pub zeros: f64,
}

/// Statistics of gradients by parameter and of outputs by layer in one epoch: a row of `statistics.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StatisticsRow {
    /// Epoch, from 0.
    pub epoch: usize,
    /// Gradient of each parameter at the last step of the epoch, before clipping.
    #[serde(default)]
    pub gradients: Vec<(String, TensorStatistics)>,
    /// Output of each layer for a fixed batch of training images, in evaluation mode, after the epoch.
    #[serde(default)]
    pub activations: Vec<(String, TensorStatistics)>,
}

impl TensorStatistics {
    /// Statistics of these values, in two passes; all 0 without any.
    pub fn of(values: &[f32]) -> Self {
        let count = values.len() as f64;
        if values.is_empty() {
            return Self::default();
        }
        let wide = || values.iter().map(|&v| f64::from(v));
        let mean = wide().sum::<f64>() / count;
        let square = wide().map(|v| (v - mean).powi(2)).sum::<f64>();
        Self {
            mean,
            std: (square / count).sqrt(),
            min: wide().fold(f64::INFINITY, f64::min),
            max: wide().fold(f64::NEG_INFINITY, f64::max),
            zeros: values.iter().filter(|&&v| v == 0.0).count() as f64 / count,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_those_of_the_values() {
        let found = TensorStatistics::of(&[0.0, 1.0, 0.0, -3.0]);
        let expected = TensorStatistics {
            mean: -0.5,
            std: 2.25f64.sqrt(),
            min: -3.0,
            max: 1.0,
            zeros: 0.5,
        };
        assert_eq!(found, expected);
        assert_eq!(TensorStatistics::of(&[]), TensorStatistics::default());
    }
}
