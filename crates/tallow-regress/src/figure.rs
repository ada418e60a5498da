//! Values of one metric of one variant.

use tallow_record::{Metric, Statistic, Varies};

/// Values of one metric of one variant.
#[derive(Clone, Debug, PartialEq)]
pub enum Figure {
    /// Value that does not depend on the seed: a count, or a computed fact. NaN is a value that should be there and is not.
    Constant(f64),
    /// Values of the runs with their seeds.
    BySeed(Vec<(u64, f64)>),
    /// Values of some runs, of which the seeds are not known.
    Unpaired(Vec<f64>),
}

impl Figure {
    /// Values of a metric over the runs with these seeds; [`Metric::varies`] tells whether they depend on the seed.
    pub fn of(metric: &str, seeds: &[u64], statistic: &Statistic) -> Self {
        if Metric::find(metric).is_some_and(|m| m.varies == Varies::Never) {
            return Self::Constant(statistic.mean);
        }
        let values = &statistic.values;
        match values.len() == seeds.len() {
            true => Self::BySeed(seeds.iter().copied().zip(values.iter().copied()).collect()),
            // Runs without a finite value are left out of a statistic.
            false => Self::Unpaired(values.clone()),
        }
    }

    /// Mean; NaN without values.
    pub fn mean(&self) -> f64 {
        match self {
            Self::Constant(value) => *value,
            Self::BySeed(values) => mean(values.iter().map(|&(_, value)| value)),
            Self::Unpaired(values) => mean(values.iter().copied()),
        }
    }
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_statistic() {
        let statistic = Statistic::of(&[0.5, 0.75]).unwrap();
        let of = |metric: &str, seeds: &[u64]| Figure::of(metric, seeds, &statistic);
        assert_eq!(
            of("test_accuracy", &[3, 4]),
            Figure::BySeed(vec![(3, 0.5), (4, 0.75)])
        );
        assert_eq!(
            of("test_accuracy", &[3, 4, 5]),
            Figure::Unpaired(vec![0.5, 0.75])
        );
        assert_eq!(of("parameters", &[3, 4]), Figure::Constant(0.625));
        // A metric of the caller's own depends on the seed.
        assert_eq!(of("bleu", &[3]).mean(), 0.625);
    }
}
