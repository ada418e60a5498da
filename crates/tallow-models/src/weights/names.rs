//! Names of tensors in a file and in the model: prefixes of wrappers, and several sets of weights by prefix.

use std::collections::{BTreeMap, HashSet};

use candle_core::Tensor;

/// Modules that wrap a network or a part of it, anywhere in a name: data parallelism, compilation, sharding.
const WRAPPERS: [&str; 4] = [
    "module",
    "_orig_mod",
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
];

/// Usual attributes of the network in a training module, at the beginning of a name, in the order of preference where two sets of
/// weights differ by them.
const ATTRIBUTES: [&str; 13] = [
    "model",
    "net",
    "network",
    "backbone",
    "student",
    "online",
    "teacher",
    "ema",
    "ema_model",
    "model_ema",
    "averaged_model",
    "average_model",
    "target",
];

/// Largest number of prefixes of one name that are removed.
const MOST_PREFIXES: usize = 8;

/// Tensors by their names in the model.
#[derive(Debug, Default)]
pub(super) struct Named {
    /// Tensors, with names of the model where it has them.
    pub tensors: Vec<(String, Tensor)>,
    /// Prefix of the set of weights taken, where there are several.
    pub taken: Option<String>,
    /// Prefixes of the other sets.
    pub others: Vec<String>,
    /// Names in the file of tensors that belong to no part of the network.
    pub ignored: Vec<String>,
}

/// Name in the model that a name in the file stands for.
struct Match {
    label: String,
    target: String,
}

/// Names `tensors` as the model does.
///
/// A name that the model has is kept. Otherwise wrappers and usual attributes are removed, as few as possible, until the model has the
/// name. `rename` applies to each of these. Where two sets of weights are there under different prefixes, `prefix` chooses; without
/// it, the set that has most of the network. Fails with the prefixes that there are, if `prefix` is none of them.
pub(super) fn named(
    tensors: Vec<(String, Tensor)>,
    targets: &HashSet<&str>,
    rename: impl Fn(&str) -> Option<String>,
    prefix: Option<&str>,
) -> Result<Named, Vec<String>> {
    let rename = |name: &str| rename(name).unwrap_or_else(|| name.to_string());
    let matches: Vec<Option<Match>> = tensors
        .iter()
        .map(|(name, _)| {
            forms(name).find_map(|(label, form)| {
                let target = rename(&form);
                targets.contains(target.as_str()).then_some(Match {
                    label: label.to_string(),
                    target,
                })
            })
        })
        .collect();
    let mut by_label: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for found in matches.iter().flatten() {
        by_label
            .entry(&found.label)
            .or_default()
            .push(&found.target);
    }
    let mut labels: Vec<&str> = by_label.keys().copied().collect();
    labels.sort_by_key(|label| {
        let count = by_label.get(label).map_or(0, Vec::len);
        (usize::MAX - count, preference(label))
    });
    if let Some(prefix) = prefix {
        labels.sort_by_key(|label| !is_at(label, prefix));
        if !labels.first().is_some_and(|label| is_at(label, prefix)) {
            let named = labels.iter().filter(|label| !label.is_empty());
            return Err(named.map(|label| label.to_string()).collect());
        }
    }
    // Parts of one network can have different prefixes. What is there twice is two sets.
    let (mut taken, mut others) = (Vec::new(), Vec::new());
    let mut covered: HashSet<&str> = HashSet::new();
    for label in &labels {
        let own = by_label.get(label).map_or(&[][..], Vec::as_slice);
        let asked = prefix.is_none_or(|prefix| is_at(label, prefix));
        if asked && own.iter().all(|target| !covered.contains(target)) {
            covered.extend(own);
            taken.push(*label);
        } else {
            others.push(*label);
        }
    }
    let taken_labels: HashSet<&str> = taken.iter().copied().collect();
    let other_labels: HashSet<&str> = others.iter().copied().collect();
    let complete = targets
        .iter()
        .all(|name| name.ends_with(".num_batches_tracked") || covered.contains(name));
    let mut result = Named {
        taken: taken
            .first()
            .filter(|_| !others.is_empty())
            .map(|label| label.to_string()),
        others: others.iter().map(|label| label.to_string()).collect(),
        ..Named::default()
    };
    let wrapper = common_wrapper(&tensors);
    let mut used: HashSet<&str> = HashSet::new();
    for ((name, tensor), found) in tensors.iter().zip(&matches) {
        match found {
            Some(found) if other_labels.contains(found.label.as_str()) => {}
            // Of two names for one parameter within a set, the first stays, and the other is unexpected.
            Some(found) if used.insert(&found.target) => {
                result.tensors.push((found.target.clone(), tensor.clone()));
            }
            Some(_) => result.tensors.push((name.clone(), tensor.clone())),
            // Number of models that `torch.optim.swa_utils.AveragedModel` has averaged.
            None if name.rsplit('.').next() == Some("n_averaged") => {}
            None => {
                let own = starts(name).into_iter().rev().find(|start| {
                    let label = label(name, *start);
                    taken_labels.contains(label) || other_labels.contains(label)
                });
                let start = match own {
                    Some(start) if other_labels.contains(label(name, start)) => continue,
                    Some(start) => start,
                    None if complete && !taken.is_empty() => {
                        result.ignored.push(name.clone());
                        continue;
                    }
                    None => wrapper,
                };
                let rest = rename(name.get(start..).unwrap_or(name));
                result.tensors.push((rest, tensor.clone()));
            }
        }
    }
    Ok(result)
}

/// Positions in a name after each wrapper or attribute at its beginning.
fn starts(name: &str) -> Vec<usize> {
    let mut starts = vec![0];
    let mut at = 0;
    while let Some((part, rest)) = name.get(at..).and_then(|rest| rest.split_once('.'))
        && (WRAPPERS.contains(&part) || ATTRIBUTES.contains(&part))
        && !rest.is_empty()
        && starts.len() <= MOST_PREFIXES
    {
        at += part.len() + 1;
        starts.push(at);
    }
    starts
}

/// Prefix of a name before `start`, without the dot.
fn label(name: &str, start: usize) -> &str {
    name.get(..start.saturating_sub(1)).unwrap_or_default()
}

/// Label and rest of a name, with as few wrappers removed as possible first.
fn forms(name: &str) -> impl Iterator<Item = (&str, String)> {
    starts(name).into_iter().flat_map(move |start| {
        let label = label(name, start);
        let rest = name.get(start..).unwrap_or_default();
        // A wrapper at the beginning belongs to the label of the next form.
        let begins = rest
            .split('.')
            .next()
            .is_some_and(|part| WRAPPERS.contains(&part));
        let parts = rest.split('.').filter(|part| !WRAPPERS.contains(part));
        let inner = parts.collect::<Vec<_>>().join(".");
        let unwrapped = (!begins && inner != rest).then_some((label, inner));
        [Some((label, rest.to_string())), unwrapped]
            .into_iter()
            .flatten()
    })
}

/// Place of a prefix in the order of preference.
fn preference(label: &str) -> usize {
    let places = label
        .split('.')
        .map(|part| ATTRIBUTES.iter().position(|attribute| *attribute == part));
    places
        .map(|place| place.map_or(0, |place| place + 1))
        .max()
        .unwrap_or(0)
}

/// Whether `prefix` is the label, its beginning or one of its parts.
fn is_at(label: &str, prefix: &str) -> bool {
    let prefix = prefix.strip_suffix('.').unwrap_or(prefix);
    label == prefix
        || label
            .strip_prefix(prefix)
            .is_some_and(|rest| rest.starts_with('.'))
        || label.split('.').any(|part| part == prefix)
}

/// Length of the wrappers that begin all names.
fn common_wrapper(tensors: &[(String, Tensor)]) -> usize {
    let of = |name: &str| {
        let mut at = 0;
        while let Some((part, _)) = name.get(at..).and_then(|rest| rest.split_once('.'))
            && WRAPPERS.contains(&part)
        {
            at += part.len() + 1;
        }
        name[..at].to_string()
    };
    let Some((first, _)) = tensors.first() else {
        return 0;
    };
    let first = of(first);
    match tensors.iter().all(|(name, _)| name.starts_with(&first)) {
        true => first.len(),
        false => 0,
    }
}
