//! The runs of an experiment by variant.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Run, Statistic};

/// The finished runs of one variant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Variant {
    /// The variant's name.
    pub name: String,
    /// The model's name.
    pub model: String,
    /// Number of trained values.
    pub parameters: usize,
    /// One a run, in the order of the runs.
    pub seeds: Vec<u64>,
    /// Figures of the summaries over the runs. A run in which a figure is missing or not finite
    /// does not count for it: fewer values than seeds show that.
    pub metrics: BTreeMap<String, Statistic>,
}

/// Brings finished runs together by variant, in the order in which the variants first appear.
/// Runs that have not finished are left out.
///
/// All runs handed in count: of several with one seed, choose before.
pub fn by_variant(runs: &[Run]) -> Vec<Variant> {
    let mut groups: Vec<Vec<&Run>> = Vec::new();
    for run in runs.iter().filter(|run| run.summary.is_some()) {
        match groups
            .iter_mut()
            .find(|group| group[0].info.variant == run.info.variant)
        {
            Some(group) => group.push(run),
            None => groups.push(vec![run]),
        }
    }
    groups.iter().map(|group| variant(group)).collect()
}

fn variant(runs: &[&Run]) -> Variant {
    let mut values: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (name, value) in runs
        .iter()
        .filter_map(|run| run.summary.as_ref())
        .flat_map(|s| &s.metrics)
    {
        values.entry(name).or_default().extend(*value);
    }
    let info = &runs[0].info;
    Variant {
        name: info.variant.clone(),
        model: info.model.clone(),
        parameters: info.parameters,
        seeds: runs.iter().map(|run| run.info.seed).collect(),
        metrics: values
            .into_iter()
            .filter_map(|(name, values)| Some((name.to_string(), Statistic::of(&values)?)))
            .collect(),
    }
}
