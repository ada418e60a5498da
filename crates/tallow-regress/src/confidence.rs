//! Confidence bounds of a difference over seeds: Student's t for values that are paired by their seeds, Welch's for others.

use std::collections::BTreeMap;

use statrs::distribution::{ContinuousCDF, StudentsT};
use tallow_record::{Difference, Statistic};

use crate::figure::Figure;

/// Confidence of each one-sided bound.
pub(crate) const CONFIDENCE: f64 = 0.95;

/// Term of a sum: a metric of a variant with its factor.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub factor: f64,
    pub variant: String,
    pub figure: Figure,
}

impl Part {
    pub fn negated(&self) -> Self {
        Self {
            factor: -self.factor,
            ..self.clone()
        }
    }
}

/// Mean of the sum of these terms, with its bounds.
///
/// Where all variants were run with the same seeds, the sum is taken seed by seed: a seed gives all of them the same order of the data.
/// Otherwise the variants are independent samples (Welch 1947, with Satterthwaite's degrees of freedom).
pub(crate) fn difference(parts: &[Part]) -> Difference {
    let constant: f64 = parts.iter().map(fixed).sum();
    let mut variants: BTreeMap<&str, Vec<&Part>> = BTreeMap::new();
    for part in parts {
        if !matches!(part.figure, Figure::Constant(_)) {
            variants.entry(&part.variant).or_default().push(part);
        }
    }
    let seeds = parts.iter().filter_map(|part| match &part.figure {
        Figure::Constant(_) => None,
        Figure::BySeed(values) => Some(values.len()),
        Figure::Unpaired(values) => Some(values.len()),
    });
    let mean = parts.iter().map(|part| part.factor * part.figure.mean());
    Difference {
        mean: mean.sum(),
        seeds: seeds.min().unwrap_or(0),
        interval: match variants.is_empty() {
            true => None,
            false => interval(&variants, constant),
        },
    }
}

fn fixed(part: &Part) -> f64 {
    match part.figure {
        Figure::Constant(value) => part.factor * value,
        _ => 0.0,
    }
}

fn interval(variants: &BTreeMap<&str, Vec<&Part>>, constant: f64) -> Option<[f64; 2]> {
    let all: Vec<&Part> = variants.values().flatten().copied().collect();
    if let Some(values) = seed_by_seed(&all) {
        return bounds(&[Statistic::of(&values)?], constant);
    }
    let samples = variants.values().map(|parts| {
        let values = match &parts[..] {
            [
                Part {
                    factor,
                    figure: Figure::Unpaired(values),
                    ..
                },
            ] => Some(values.iter().map(|value| factor * value).collect()),
            parts => seed_by_seed(parts),
        };
        Statistic::of(&values?)
    });
    bounds(&samples.collect::<Option<Vec<_>>>()?, constant)
}

/// Sum of the terms for each seed; `None` if they do not have the same seeds.
fn seed_by_seed(parts: &[&Part]) -> Option<Vec<f64>> {
    let mut sums: BTreeMap<u64, (f64, usize)> = BTreeMap::new();
    for part in parts {
        let Figure::BySeed(values) = &part.figure else {
            return None;
        };
        for &(seed, value) in values {
            let (sum, count) = sums.entry(seed).or_default();
            *sum += part.factor * value;
            *count += 1;
        }
    }
    let whole = sums.values().all(|&(_, count)| count == parts.len());
    whole.then(|| sums.into_values().map(|(sum, _)| sum).collect())
}

/// Bounds of the sum of the means of independent samples and a constant; `None` if a sample has a single value.
pub(crate) fn bounds(samples: &[Statistic], constant: f64) -> Option<[f64; 2]> {
    let mean = samples.iter().map(|s| s.mean).sum::<f64>() + constant;
    let mut variance = 0.0;
    let mut degrees = 0.0;
    for sample in samples {
        let count = sample.values.len() as f64;
        let part = sample.std?.powi(2) / count;
        variance += part;
        degrees += part.powi(2) / (count - 1.0);
    }
    // Values without spread have no quantile to multiply.
    if variance == 0.0 {
        return Some([mean; 2]);
    }
    let student = StudentsT::new(0.0, 1.0, variance.powi(2) / degrees).ok()?;
    let reach = student.inverse_cdf(CONFIDENCE) * variance.sqrt();
    Some([mean - reach, mean + reach])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(factor: f64, variant: &str, seeds: &[u64], values: &[f64]) -> Part {
        let pairs = seeds.iter().copied().zip(values.iter().copied());
        Part {
            factor,
            variant: variant.to_string(),
            figure: Figure::BySeed(pairs.collect()),
        }
    }

    fn near(interval: Option<[f64; 2]>, expected: [f64; 2]) {
        let [low, high] = interval.unwrap();
        let error = (low - expected[0]).abs().max((high - expected[1]).abs());
        assert!(error < 1e-9, "{low} {high}");
    }

    const CNN: [f64; 4] = [0.951, 0.948, 0.957, 0.953];
    const PAIRED: [f64; 2] = [0.001005586382, 0.014994413618];
    const WELCH: [f64; 2] = [0.005022298628, 0.014144368039];
    const FC: [f64; 4] = [0.942, 0.945, 0.941, 0.949];

    /// `scipy.stats.ttest_rel(cnn, fc).confidence_interval(0.9)`.
    #[test]
    fn paired_by_seed() {
        let parts = [
            part(1.0, "cnn", &[0, 1, 2, 3], &CNN),
            // In another order.
            part(-1.0, "fc", &[3, 2, 1, 0], &[FC[3], FC[2], FC[1], FC[0]]),
        ];
        let found = difference(&parts);
        near(found.interval, PAIRED);
        assert_eq!(found.seeds, 4);
    }

    /// `scipy.stats.ttest_ind(cnn, fc[:3], equal_var=False).confidence_interval(0.9)`.
    #[test]
    fn other_seeds_are_independent_samples() {
        let parts = [
            part(1.0, "cnn", &[0, 1, 2, 3], &CNN),
            part(-1.0, "fc", &[4, 5, 6], &FC[..3]),
        ];
        let found = difference(&parts);
        near(found.interval, WELCH);
        assert_eq!(found.seeds, 3);
        let mut unknown = parts.clone();
        unknown[1].figure = Figure::Unpaired(FC[..3].to_vec());
        near(difference(&unknown).interval, WELCH);
    }

    #[test]
    fn two_metrics_of_a_run_are_one_sample() {
        let seeds = [0, 1];
        let train = part(1.0, "cnn", &seeds, &[0.99, 0.97]);
        let test = part(-1.0, "cnn", &seeds, &[0.95, 0.93]);
        let other = part(1.0, "fc", &[5, 6], &[0.1, 0.1]);
        // The gap is the same for both seeds.
        let found = difference(&[train, test, other]);
        let [low, high] = found.interval.unwrap();
        assert!((low - 0.14).abs() < 1e-9 && (high - 0.14).abs() < 1e-9);
    }

    #[test]
    fn constants_move_the_bounds_and_one_seed_has_none() {
        let cnn = part(1.0, "cnn", &[0, 1, 2, 3], &CNN);
        let number = Part {
            factor: -1.0,
            variant: String::new(),
            figure: Figure::Constant(0.9),
        };
        let [low, high] = difference(&[cnn, number.clone()]).interval.unwrap();
        assert!(0.04 < low && low < 0.05225 && 0.05225 < high && high < 0.06);
        let one = part(1.0, "cnn", &[0], &[0.95]);
        let found = difference(&[one, number.clone()]);
        assert_eq!((found.interval, found.seeds), (None, 1));
        let found = difference(&[number]);
        assert_eq!((found.interval, found.seeds, found.mean), (None, 0, -0.9));
    }
}
