//! Settings of the trials of a search.

use std::collections::HashSet;

use tallow_transforms::SampleRng;
use toml::Value;

use super::search::Search;
use crate::error::{Error, Result};

/// Values of the parameters for each trial, in the order of the parameters.
///
/// They are a function of the search alone. All combinations come in the order of the lists, the last parameter changing fastest. Values
/// that are drawn depend on the seed, the number of the trial and the number of the parameter, so that more trials leave the first ones
/// as they are. Where there are finitely many combinations, none is drawn twice.
pub(super) fn settings(search: &Search) -> Result<Vec<Vec<Value>>> {
    let found = match search.seed {
        None => (0..search.trials)
            .map(|number| combination(search, number as u64))
            .collect(),
        Some(seed) => drawn(search, seed),
    };
    found.ok_or_else(|| Error::Recipe("sweep.parameters: a parameter has no values".to_string()))
}

/// Combination of this number, from 0.
fn combination(search: &Search, number: u64) -> Option<Vec<Value>> {
    let mut left = number;
    let mut values = Vec::new();
    for parameter in search.parameters.iter().rev() {
        let count = parameter.range.count().filter(|count| *count > 0)?;
        values.push(parameter.range.value(left % count)?);
        left /= count;
    }
    values.reverse();
    Some(values)
}

fn drawn(search: &Search, seed: u64) -> Option<Vec<Vec<Value>>> {
    let finite = search.parameters.iter().all(|p| p.range.count().is_some());
    let mut taken = HashSet::new();
    let mut trials = Vec::new();
    for trial in 0..search.trials as u64 {
        let parameters = search.parameters.iter().zip(0u64..);
        let mut streams: Vec<_> = parameters
            .map(|(parameter, number)| (parameter, SampleRng::new(seed, trial, number)))
            .collect();
        loop {
            let values = streams.iter_mut();
            let values = values.map(|(parameter, rng)| parameter.range.draw(rng));
            let values: Vec<Value> = values.collect::<Option<_>>()?;
            let text: Vec<String> = values.iter().map(Value::to_string).collect();
            if taken.insert(text) || !finite {
                trials.push(values);
                break;
            }
        }
    }
    Some(trials)
}

#[cfg(test)]
mod tests {
    use super::super::parameter::{Parameter, Range};
    use super::super::search::Method;
    use super::*;

    fn search(ranges: Vec<Range>, trials: usize, seed: Option<u64>) -> Search {
        let parameter = |(number, range): (usize, Range)| Parameter {
            key: format!("train.key{number}"),
            range,
        };
        Search {
            method: Method::Random,
            parameters: ranges.into_iter().enumerate().map(parameter).collect(),
            variant: None,
            trials,
            seed,
            metric: None,
            mode: None,
            eta: 3,
            min_epochs: 1,
        }
    }

    fn lists() -> Vec<Range> {
        vec![
            Range::Values(vec!["a".into(), "b".into()]),
            Range::Integers(1, 3),
        ]
    }

    fn texts(search: &Search) -> Vec<String> {
        let text = |values: Vec<Value>| {
            let texts: Vec<String> = values.iter().map(Value::to_string).collect();
            texts.join(" ")
        };
        settings(search).unwrap().into_iter().map(text).collect()
    }

    #[test]
    fn all_combinations_come_in_the_order_of_the_lists() {
        let expected = [
            "\"a\" 1", "\"a\" 2", "\"a\" 3", "\"b\" 1", "\"b\" 2", "\"b\" 3",
        ];
        assert_eq!(texts(&search(lists(), 6, None)), expected);
    }

    #[test]
    fn more_trials_leave_the_first_ones_as_they_are() {
        let ranges = || vec![Range::LogUniform(1e-3, 1.0), Range::Uniform(0.0, 1.0)];
        let of = |trials, seed| texts(&search(ranges(), trials, Some(seed)));
        let first = of(5, 7);
        assert_eq!(first, of(5, 7));
        assert_eq!(first, of(9, 7)[..5]);
        assert_ne!(first, of(5, 8));
        // Nor does another parameter change those before it.
        let mut more = ranges();
        more.push(Range::Integers(0, 9));
        let longer = texts(&search(more, 5, Some(7)));
        assert!(
            longer
                .iter()
                .zip(&first)
                .all(|(a, b)| a.starts_with(b.as_str()))
        );
    }

    #[test]
    fn no_combination_is_drawn_twice() {
        let mut found = texts(&search(lists(), 6, Some(3)));
        assert_ne!(found, texts(&search(lists(), 6, None)));
        found.sort();
        assert_eq!(found, texts(&search(lists(), 6, None)));
        assert_eq!(texts(&search(lists(), 4, Some(3))).len(), 4);
    }

    /// Records of sweeps are found by their values, which must not change.
    #[test]
    fn draws_depend_on_seed_trial_and_parameter() {
        let range = vec![Range::Integers(0, 999_999)];
        let first = texts(&search(range, 3, Some(0)));
        let again: Vec<String> = (0..3)
            .map(|trial| SampleRng::new(0, trial, 0).below(1_000_000).to_string())
            .collect();
        assert_eq!(first, again);
    }
}
