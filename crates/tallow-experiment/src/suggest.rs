//! Suggestions for a name or key that is not known.

pub use tallow_models::nearest;

pub use crate::unknown_name::unknown;

use crate::reference::{self, Found};
use crate::synonyms::{self, Meaning, canonical};

/// Error message for a key that the reference does not have, with what is meant where that is known.
pub fn unknown_key(name: &str) -> String {
    let word = name.rsplit('.').next().unwrap_or(name);
    let hint = key_hint(name, word, &[]).or_else(|| name_hint(word, &all_names()));
    match hint {
        Some(hint) => format!("unknown key `{name}`; {hint}"),
        None => format!("unknown key `{name}`; `tallow recipe` lists the keys"),
    }
}

/// Parses serde's messages "unknown field" and "unknown variant": the unknown word and the expected ones.
pub fn parse_unknown(message: &str) -> Option<(&str, Vec<&str>)> {
    let (message, _) = place(message);
    let start = ["unknown field `", "unknown variant `"]
        .iter()
        .find_map(|p| message.find(p).map(|at| at + p.len()))?;
    let mut quoted = message[start..].split('`');
    let word = quoted.next()?;
    // After the word, text and backquoted names alternate.
    let expected = quoted.skip(1).step_by(2).collect();
    Some((word, expected))
}

/// Message and key of an error that ends in the key it is about, as those of `toml::Value` do.
pub(crate) fn place(error: &str) -> (&str, Option<&str>) {
    let parts = error.rsplit_once(" in `");
    let parts = parts.and_then(|(message, key)| Some((message, key.strip_suffix('`')?)));
    match parts.filter(|(_, key)| !key.contains('`')) {
        Some((message, key)) => (message, Some(key)),
        None => (error, None),
    }
}

/// Hint for the dotted `key`, whose part `word` is not among the `expected` ones of its table: the key that is meant by that name in
/// another library or place, or the nearest one. `None` if nothing is near.
pub(crate) fn key_hint(key: &str, word: &str, expected: &[&str]) -> Option<String> {
    let within = |near: &str| {
        let parts = key
            .split('.')
            .map(|part| if part == word { near } else { part });
        parts.collect::<Vec<_>>().join(".")
    };
    let same = (expected.iter()).find(|known| canonical(known) == canonical(word));
    if let Some(same) = same {
        return Some(did_you_mean(&within(same)));
    }
    if let Some(meaning) = synonyms::of_key(word) {
        return Some(hint(meaning));
    }
    if let Some(near) = close(word, expected.iter().copied()) {
        return Some(did_you_mean(&within(near)));
    }
    if let Some(places) = places(word) {
        return Some(places);
    }
    let keys = reference::all();
    let near = close(word, keys.iter().map(|key| key.name()))?;
    places(near)
}

/// Hint for a name that is not among the `expected` ones: of transforms, optimizers, losses, schedules and other choices.
pub(crate) fn name_hint(word: &str, expected: &[&str]) -> Option<String> {
    let same = (expected.iter()).find(|known| canonical(known) == canonical(word));
    if let Some(same) = same {
        return Some(did_you_mean(same));
    }
    match synonyms::of_name(word) {
        Some(Meaning::Same(name)) if !expected.contains(&name) => {}
        Some(meaning) => return Some(hint(meaning)),
        None => {}
    }
    close(word, expected.iter().copied()).map(did_you_mean)
}

fn did_you_mean(name: &str) -> String {
    format!("did you mean `{name}`?")
}

fn hint(meaning: Meaning) -> String {
    match meaning {
        Meaning::Same(key) => format!("did you mean {}?", with_owners(key)),
        Meaning::As(key, how) => format!("here it is `{key}`: {how}"),
        Meaning::Not(sentence) => sentence.to_string(),
    }
}

/// Keys of the name `word` that are least deep in a recipe.
fn places(word: &str) -> Option<String> {
    let mut addresses: Vec<String> = (reference::all().iter())
        .filter(|key| canonical(key.name()) == canonical(word))
        .map(|key| key.address())
        .filter(|address| {
            ["data.", "model.", "train."]
                .iter()
                .any(|table| address.starts_with(table))
        })
        .collect();
    let depth = |address: &str| address.matches('.').count();
    let least = addresses.iter().map(|address| depth(address)).min()?;
    addresses.retain(|address| depth(address) == least);
    addresses.dedup();
    let addresses: Vec<String> = addresses
        .iter()
        .map(|address| with_owners(address))
        .collect();
    Some(format!("did you mean {}?", addresses.join(" or ")))
}

/// A key in backquotes, with the kinds of table that have it if not all of its kinds do.
fn with_owners(address: &str) -> String {
    let owners: Vec<&str> = (reference::all().iter())
        .filter(|key| key.address() == address)
        .filter_map(|key| key.of.as_deref())
        .collect();
    let table = address.rsplit_once('.').map_or("", |(table, _)| table);
    let kinds = reference::find(table).into_iter().map(|found| match found {
        Found::Key(key) => key.choices.len(),
        Found::Choice(..) => 0,
    });
    match owners.is_empty() || kinds.max() == Some(owners.len()) {
        true => format!("`{address}`"),
        false => format!("`{address}` (of {})", owners.join(", ")),
    }
}

/// Names of all kinds of table.
fn all_names() -> Vec<&'static str> {
    let choices = reference::all().into_iter().flat_map(|key| &key.choices);
    choices.map(|choice| choice.name.as_str()).collect()
}

/// The word that differs from `word` by a slip: by at most two letters in five.
fn close<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    known
        .into_iter()
        .map(|known| (strsim::normalized_damerau_levenshtein(&word, known), known))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(similarity, _)| *similarity >= 0.6)
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_typo_and_not_a_stranger() {
        let known = ["mnist-pixel-order", "quickstart", "cifar10-cnn"];
        assert_eq!(nearest("mnist-pixels", known), Some("mnist-pixel-order"));
        assert_eq!(nearest("quikstart", known), Some("quickstart"));
        assert_eq!(nearest("zebra", known), None);
    }

    #[test]
    fn says_what_is_known() {
        let message = unknown("model", "cnnn", &["mlp", "cnn"]);
        assert_eq!(
            message,
            "unknown model `cnnn`; did you mean `cnn`?\nknown: mlp, cnn"
        );
        assert!(!unknown("model", "q", &["mlp"]).contains("did you mean"));
    }

    #[test]
    fn reads_serde_messages() {
        assert_eq!(
            parse_unknown("unknown field `epoch`, expected one of `epochs`, `loss`"),
            Some(("epoch", vec!["epochs", "loss"]))
        );
        assert_eq!(
            parse_unknown("unknown variant `sgdd`, expected `sgd` or `adam`"),
            Some(("sgdd", vec!["sgd", "adam"]))
        );
        assert_eq!(
            parse_unknown("unknown field `lr`, expected `loss` or `clip` in `train`"),
            Some(("lr", vec!["loss", "clip"]))
        );
        assert_eq!(parse_unknown("missing field `lr`"), None);
    }

    #[test]
    fn the_place_is_the_key_at_the_end() {
        assert_eq!(place("wrong in `a.b`"), ("wrong", Some("a.b")));
        assert_eq!(place("wrong in `a` here"), ("wrong in `a` here", None));
        assert_eq!(
            place("in `a`, expected `b`"),
            ("in `a`, expected `b`", None)
        );
    }

    #[test]
    fn keys_of_other_libraries_are_known() {
        for (word, expected) in [
            ("learning_rate", "`train.optimizer.lr`?"),
            ("lr", "`train.optimizer.lr`?"),
            ("weight-decay", "`train.optimizer.weight_decay`?"),
            (
                "momentum",
                "`train.optimizer.momentum` (of sgd, rmsprop, lars, muon)?",
            ),
            ("patience", "`train.early_stopping`: `{ patience = 3 }`"),
            ("num_workers", "`train.workers`?"),
            ("max_epochs", "`train.epochs`?"),
            ("gradient_clip_val", "`train.clip`: `{ norm = 1.0 }`"),
            ("accumulate_grad_batches", "`train.chunks`: each batch"),
            (
                "label_smoothing",
                "`train.loss.label_smoothing` (of cross-entropy,",
            ),
            ("batchSize", "`train.batch_size`?"),
            ("T_max", "`train.schedule.curve.t_max` (of cosine)?"),
            ("precision", "`train.precision`?"),
            ("pin_memory", "there is no such key"),
            ("seed", "`seeds`: a list"),
        ] {
            let hint = key_hint(word, word, &[]).unwrap();
            assert!(hint.contains(expected), "{word}: {hint}");
        }
        // A strange word is near to nothing.
        assert_eq!(key_hint("zebra", "zebra", &["epochs", "loss"]), None);
        // What the table itself has comes first.
        assert_eq!(
            key_hint("train.batchsize", "batchsize", &["batch_size"]).unwrap(),
            "did you mean `train.batch_size`?"
        );
    }

    #[test]
    fn names_of_other_libraries_are_known() {
        let names = all_names();
        for (word, expected) in [
            ("RandomResizedCrop", "`random-resized-crop`?"),
            ("RandomHorizontalFlip", "`random-horizontal-flip`?"),
            ("hflip", "`random-horizontal-flip`?"),
            ("random_rotate", "`random-rotation`?"),
            ("AdamW", "`adamw`?"),
            ("CrossEntropyLoss", "`cross-entropy`?"),
            ("ReduceLROnPlateau", "`reduce-on-plateau`?"),
            ("CosineAnnealingLR", "`cosine`?"),
            ("MixUp", "`train.mix`: it acts on batches"),
            ("ElasticTransform", "there is no such transform"),
            ("Adagrad", "there is no such optimizer"),
            ("sgdd", "`sgd`?"),
        ] {
            let hint = name_hint(word, &names).unwrap();
            assert!(hint.contains(expected), "{word}: {hint}");
        }
        // The name of a loss is none of an optimizer.
        assert_eq!(name_hint("mse", &["sgd", "adam"]), None);
    }

    /// Every key that is suggested exists, and no name has two meanings.
    #[test]
    fn synonyms_lead_to_what_exists() {
        let names = all_names();
        let targets = |table: &'static [(&[&str], Meaning)]| {
            table.iter().filter_map(|(_, meaning)| match meaning {
                Meaning::Same(target) | Meaning::As(target, _) => Some(*target),
                Meaning::Not(_) => None,
            })
        };
        for target in targets(synonyms::KEYS) {
            let found = reference::all().iter().any(|key| key.address() == target);
            assert!(found, "there is no key {target}");
        }
        for target in targets(synonyms::NAMES) {
            let key = reference::all().iter().any(|key| key.address() == target);
            assert!(key || names.contains(&target), "there is no {target}");
        }
        for table in [synonyms::KEYS, synonyms::NAMES] {
            let mut words: Vec<&str> = table
                .iter()
                .flat_map(|(words, _)| words.iter().copied())
                .collect();
            assert!(words.iter().all(|word| canonical(word) == *word));
            words.sort();
            let count = words.len();
            words.dedup();
            assert_eq!(words.len(), count, "a word has two meanings");
        }
    }
}
