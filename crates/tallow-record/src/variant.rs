//! Runs of an experiment by variant.

use std::collections::BTreeMap;

use crate::results::Variant;
use crate::run::Run;
use crate::statistic::Statistic;

/// Groups finished runs by variant, in the order in which the variants first appear, with statistics of their metrics
/// over the runs.
///
/// Runs that have not finished are left out. All other runs count: of several with one seed, choose before. A run in
/// which a metric is missing or not finite does not count for that metric, which then has fewer values than there are
/// seeds. `published`, `recipe` and `runs` of each variant are empty.
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
        .flat_map(|summary| &summary.metrics)
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
        ..Variant::default()
    }
}
