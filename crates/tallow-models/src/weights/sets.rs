//! Sets of weights in a checkpoint: state dicts by their keys, and the choice of one.

use crate::weights::code::{code, maker};
use crate::weights::error::{Result, WeightsProblem};
use crate::weights::pickle::{Pickle, Value};
use crate::weights::tensors::View;

/// Keys under which training scripts put the state dict beside their epoch, optimizer and the rest; the first that is there is taken.
const STATE_DICT_KEYS: [&str; 8] = [
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "network",
    "module",
    "model_state",
    "weights",
];

/// Largest depth of a state dict in dicts, largest number of dicts that are searched, and largest length of a key.
const DEPTH: usize = 4;
const SEARCHED: usize = 1000;
const LONGEST_KEY: usize = 300;

/// State dict of a checkpoint.
#[derive(Debug)]
pub(super) struct StateDict<'a> {
    /// Tensors in the file's order.
    pub views: Vec<View<'a>>,
    /// Entries `num_batches_tracked` that are plain integers.
    pub counts: Vec<(&'a str, i64)>,
    /// Keys that lead to it, joined by dots; empty for the root.
    pub key: String,
    /// Keys of other state dicts of about its size.
    pub others: Vec<String>,
    /// Rest of the key asked for, which is a prefix of names.
    pub rest: Option<String>,
}

/// Dict with tensors.
struct Set<'a> {
    key: String,
    depth: usize,
    dict: Value<'a>,
    tensors: usize,
}

impl Set<'_> {
    /// Place in the order of preference; `None` for a key that is not known.
    fn rank(&self) -> Option<(usize, usize)> {
        let ranks = self.key.split('.').map(|part| {
            let place = STATE_DICT_KEYS.iter().position(|key| *key == part);
            place.filter(|_| self.depth > 0)
        });
        let first = ranks.collect::<Option<Vec<_>>>()?.first().copied()?;
        Some((first, self.depth))
    }
}

/// State dict under `key`; without a key the one of a known key, the root, or the only one that there is.
///
/// Values that are no tensors are left out. Names of code are an error where no weights are found beside them.
pub(super) fn state_dict<'a>(pickle: &Pickle<'a>, key: Option<&str>) -> Result<StateDict<'a>> {
    let sets = search(pickle);
    let asked = key.and_then(|key| {
        let of = |set: &Set| {
            let rest = key.strip_prefix(set.key.as_str())?;
            match rest {
                _ if set.depth == 0 => None,
                "" => Some(None),
                rest => Some(Some(rest.strip_prefix('.')?.to_string())),
            }
        };
        let found = sets.iter().filter_map(|set| Some((set, of(set)?)));
        found.max_by_key(|(set, _)| set.key.len())
    });
    let (set, rest) = match asked {
        Some(asked) => asked,
        None => (choose(pickle, &sets, key)?, key.map(String::from)),
    };
    let others = sets.iter().filter(|other| {
        other.key != set.key && other.depth > 0 && 2 * other.tensors >= set.tensors
    });
    let others = others.map(|other| other.key.clone()).collect();
    let (mut views, mut counts) = (Vec::new(), Vec::new());
    for (name, value) in pickle.entries(set.dict).into_iter().flatten() {
        let Value::Str(name) = name else { continue };
        match value {
            Value::Int(count) if name.ends_with("num_batches_tracked") => {
                counts.push((name, count));
            }
            value => {
                if let Some(view) = View::of(pickle, name, value)? {
                    views.push(view);
                } else if let Some(found) = maker(pickle, value)
                    && found.starts_with("torch._utils.")
                {
                    return Err(WeightsProblem::Type {
                        tensor: name.into(),
                        expected: "a dense tensor of numbers of 8 to 64 bits",
                        found,
                    });
                }
            }
        }
    }
    Ok(StateDict {
        views,
        counts,
        key: set.key.clone(),
        others,
        rest,
    })
}

fn choose<'s, 'a>(
    pickle: &Pickle<'a>,
    sets: &'s [Set<'a>],
    key: Option<&str>,
) -> Result<&'s Set<'a>> {
    let known = sets.iter().filter_map(|set| Some((set.rank()?, set)));
    if let Some((_, set)) = known.min_by_key(|(rank, _)| *rank) {
        return Ok(set);
    }
    // A module that was pickled whole is no state dict, even where a tensor lies beside it.
    let pickled = STATE_DICT_KEYS
        .iter()
        .filter_map(|key| pickle.get(pickle.root, key))
        .find_map(|value| maker(pickle, value));
    let most = sets.iter().map(|set| set.tensors).max().unwrap_or(0);
    let large: Vec<&Set> = sets.iter().filter(|set| 2 * set.tensors >= most).collect();
    match (pickled, &large[..]) {
        (Some(global), []) => Err(WeightsProblem::Code { global }),
        (Some(global), [root, ..]) if root.depth == 0 => Err(WeightsProblem::Code { global }),
        (_, [root, ..]) if root.depth == 0 => Ok(root),
        (_, [only]) => Ok(only),
        (_, []) => Err(match code(pickle) {
            Some(global) => WeightsProblem::Code { global },
            None => WeightsProblem::NoStateDict {
                expected: &STATE_DICT_KEYS,
                found: describe(pickle),
            },
        }),
        (_, several) => Err(WeightsProblem::Key {
            asked: key.map(String::from),
            known: several.iter().map(|set| set.key.clone()).collect(),
        }),
    }
}

/// Dicts with tensors, the root first; not those of optimizers.
fn search<'a>(pickle: &Pickle<'a>) -> Vec<Set<'a>> {
    let mut found = Vec::new();
    let mut seen = Vec::new();
    let mut level = vec![(String::new(), pickle.root)];
    for depth in 0..=DEPTH {
        let mut deeper = Vec::new();
        for (key, dict) in level {
            // A dict can be in a file under two keys, or contain itself.
            if seen.len() > SEARCHED || seen.contains(&dict) {
                continue;
            }
            seen.push(dict);
            let mut tensors = 0;
            for (name, value) in pickle.entries(dict).into_iter().flatten() {
                let Value::Str(name) = name else { continue };
                match value {
                    Value::Call(_) if is_tensor(pickle, value) => tensors += 1,
                    Value::Dict(_)
                        if !is_of_training(name)
                            && name.len() <= LONGEST_KEY
                            && deeper.len() <= SEARCHED =>
                    {
                        let key = match key.as_str() {
                            "" => name.to_string(),
                            key => format!("{key}.{name}"),
                        };
                        deeper.push((key, value));
                    }
                    _ => {}
                }
            }
            if tensors > 0 {
                found.push(Set {
                    key,
                    depth,
                    dict,
                    tensors,
                });
            }
        }
        level = deeper;
    }
    found
}

fn is_of_training(key: &str) -> bool {
    ["optim", "sched", "scaler", "loops"]
        .iter()
        .any(|part| key.contains(part))
}

fn is_tensor(pickle: &Pickle, value: Value) -> bool {
    matches!(
        pickle.call(value),
        Some((
            (
                "torch._utils",
                "_rebuild_tensor" | "_rebuild_tensor_v2" | "_rebuild_parameter"
            ) | ("torch._tensor", "_rebuild_from_type_v2"),
            _
        ))
    )
}

/// The root of a pickle without tensors, in words.
fn describe(pickle: &Pickle) -> String {
    let Some(entries) = pickle.entries(pickle.root) else {
        return "no dict at all".into();
    };
    let keys: Vec<&str> = entries
        .filter_map(|(key, _)| match key {
            Value::Str(key) => Some(key),
            _ => None,
        })
        .collect();
    match keys.len() {
        0 => "an empty dict".into(),
        1..=8 => format!("a dict of {} without tensors", keys.join(", ")),
        n => format!(
            "a dict of {}, ... ({n} keys) without tensors",
            keys[..8].join(", ")
        ),
    }
}
