//! Descriptions of keys.

use serde_json::Value;

/// Key of an experiment's file.
#[derive(Debug, Clone)]
pub struct Key {
    /// Dotted path, such as `train.optimizer.lr`. `[]` follows a list of tables: `train.rules[].lr_scale`.
    pub path: String,
    /// Name of the table that has the key, for tables of which there are several kinds: `sgd`.
    pub of: Option<String>,
    /// Type of the value, in words.
    pub kind: String,
    /// Whether the key must be given.
    pub required: bool,
    /// Value of a key that is not given; `None` where that is no value at all.
    pub default: Option<Value>,
    /// Range of a number, in words.
    pub range: Option<String>,
    /// Meaning.
    pub text: String,
    /// Line of TOML.
    pub example: String,
    /// Words that the value may be, each with its meaning.
    pub values: Vec<(String, String)>,
    /// Kinds of table that the value may be, which their `name` tells apart.
    pub choices: Vec<Choice>,
    /// Keys of the table that the value is.
    pub keys: Vec<Key>,
}

/// Kind of table, with a `name`.
#[derive(Debug, Clone)]
pub struct Choice {
    /// Its `name`.
    pub name: String,
    /// Meaning.
    pub text: String,
    /// Its other keys, those that must be given first.
    pub keys: Vec<Key>,
}

impl Key {
    /// Path without the marks of lists.
    pub fn address(&self) -> String {
        self.path.replace("[]", "")
    }

    /// Last part of the path.
    pub fn name(&self) -> &str {
        let last = self.path.rsplit('.').next().unwrap_or(&self.path);
        last.trim_end_matches("[]")
    }

    /// Default as TOML; "required" for a key that must be given, and "none" where the default is no value.
    pub fn default_text(&self) -> String {
        match &self.default {
            _ if self.required => "required".to_string(),
            Some(value) => toml(value),
            None => "none".to_string(),
        }
    }
}

/// A value in TOML, on one line.
pub fn toml(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Array(list) => {
            let list: Vec<String> = list.iter().map(toml).collect();
            format!("[{}]", list.join(", "))
        }
        Value::Object(table) if table.is_empty() => "{}".to_string(),
        Value::Object(table) => {
            // The name comes first.
            let mut pairs: Vec<_> = table.iter().collect();
            pairs.sort_by_key(|(key, _)| *key != "name");
            let pairs: Vec<String> = pairs
                .iter()
                .map(|(key, value)| format!("{key} = {}", toml(value)))
                .collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        other => other.to_string(),
    }
}
