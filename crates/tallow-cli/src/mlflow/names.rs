//! Keys and values within MLflow's limits.

use std::collections::BTreeSet;

/// Longest key of a parameter, a metric or a tag, in characters.
pub const LONGEST_KEY: usize = 250;
/// Longest value of a parameter, in characters.
pub const LONGEST_PARAMETER: usize = 6000;
/// Longest value of a tag that every server takes, in characters.
pub const LONGEST_TAG: usize = 5000;

/// Keys of one kind, each of which is given once.
#[derive(Default)]
pub struct Keys(BTreeSet<String>);

impl Keys {
    /// The key as MLflow takes it: letters, digits and `_-.:/ `, at most 250 characters, no empty part of a path. A key that was given
    /// before gets a number. Tells `notes` what was changed.
    pub fn key(&mut self, name: &str, notes: &mut Vec<String>) -> String {
        let allowed = |c: char| c.is_alphanumeric() || "_-.:/ ".contains(c);
        let text: String = name
            .chars()
            .map(|c| if allowed(c) { c } else { '_' })
            .collect();
        let parts = text.split('/');
        let parts: Vec<&str> = parts.filter(|p| !["", ".", ".."].contains(p)).collect();
        let whole = match parts.is_empty() {
            true => "_".to_string(),
            false => parts.join("/"),
        };
        let mut key = first(&whole, LONGEST_KEY);
        let mut number = 2;
        while !self.0.insert(key.clone()) {
            let suffix = format!("_{number}");
            key = first(&whole, LONGEST_KEY - suffix.len()) + &suffix;
            number += 1;
        }
        if key != name {
            notes.push(format!("`{name}` is sent as `{key}`"));
        }
        key
    }
}

/// The value, cut to so many characters; tells `notes` when it is cut.
pub fn value(key: &str, value: &str, longest: usize, notes: &mut Vec<String>) -> String {
    let cut = first(value, longest);
    if cut.len() < value.len() {
        notes.push(format!(
            "`{key}` has {} characters, of which MLflow takes the first {longest}",
            value.chars().count()
        ));
    }
    cut
}

fn first(text: &str, characters: usize) -> String {
    text.chars().take(characters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_that_mlflow_takes() {
        let (mut keys, mut notes) = (Keys::default(), Vec::new());
        for (name, expected) in [
            ("train.optimizer.lr", "train.optimizer.lr"),
            ("f1 (macro)", "f1 _macro_"),
            ("f1 [macro]", "f1 _macro__2"),
            ("/a//../b", "a/b"),
            ("..", "_"),
            ("", "__2"),
            ("größe", "größe"),
        ] {
            assert_eq!(keys.key(name, &mut notes), expected, "{name}");
        }
        assert_eq!(notes.len(), 5, "{notes:?}");
        let long = "k".repeat(300);
        assert_eq!(keys.key(&long, &mut notes), "k".repeat(250));
        assert_eq!(keys.key(&long, &mut notes), "k".repeat(248) + "_2");
    }

    #[test]
    fn long_values_are_cut_and_said_so() {
        let mut notes = Vec::new();
        assert_eq!(value("k", "äbc", 3, &mut notes), "äbc");
        assert!(notes.is_empty());
        assert_eq!(value("k", "äbcd", 3, &mut notes), "äbc");
        assert_eq!(
            notes,
            ["`k` has 4 characters, of which MLflow takes the first 3"]
        );
    }
}
