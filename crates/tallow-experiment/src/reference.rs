//! Reference of the keys of an experiment's file, read from the schema of the types.

mod key;
mod reader;

use std::sync::OnceLock;

pub use key::{Choice, Key, toml};

use reader::Reader;

use crate::schema;
use crate::synonyms::canonical;

/// Entry of the reference that a user asked for.
#[derive(Debug, Clone, Copy)]
pub enum Found<'a> {
    /// Key.
    Key(&'a Key),
    /// Kind of table, as the value of a key.
    Choice(&'a Key, &'a Choice),
}

/// Keys at the top of an experiment's file, with all keys below them.
pub fn keys() -> &'static [Key] {
    static KEYS: OnceLock<Vec<Key>> = OnceLock::new();
    KEYS.get_or_init(|| {
        let schema = schema::complete();
        let mut reader = Reader::new(&schema["$defs"]);
        let order = ["question", "seeds", "data", "model", "train", "variants"];
        let place = |key: &str| order.iter().position(|known| *known == key);
        let mut names = reader.names(&schema);
        names.sort_by_key(|name| place(name).unwrap_or(order.len()));
        reader.keys_of("", None, &schema, &names)
    })
}

/// Every key, in the order of the reference.
pub fn all() -> Vec<&'static Key> {
    fn add<'a>(keys: &'a [Key], all: &mut Vec<&'a Key>) {
        for key in keys {
            all.push(key);
            add(&key.keys, all);
            for choice in &key.choices {
                add(&choice.keys, all);
            }
        }
    }
    let mut found = Vec::new();
    add(keys(), &mut found);
    found
}

/// Entries of this name: of a path, such as `train.optimizer`, `train.optimizer.sgd`, `train.optimizer.lr` or `train.optimizer.sgd.lr`;
/// else of a last part, such as `lr`, or the name of a kind, such as `random-crop`. Empty if there are none.
pub fn find(name: &str) -> Vec<Found<'static>> {
    let name = name.trim().replace("[]", "");
    let word = canonical(&name);
    let mut exact = Vec::new();
    let mut last = Vec::new();
    for key in all() {
        let address = key.address();
        let longer = key.of.as_ref().map(|of| match address.rsplit_once('.') {
            Some((table, key)) => format!("{table}.{of}.{key}"),
            None => address.clone(),
        });
        if address == name || longer.as_deref() == Some(name.as_str()) {
            exact.push(Found::Key(key));
        }
        if canonical(key.name()) == word {
            last.push(Found::Key(key));
        }
        for choice in &key.choices {
            if format!("{address}.{}", choice.name) == name {
                exact.push(Found::Choice(key, choice));
            }
            if canonical(&choice.name) == word {
                last.push(Found::Choice(key, choice));
            }
        }
    }
    match exact.is_empty() {
        true => last,
        false => exact,
    }
}
