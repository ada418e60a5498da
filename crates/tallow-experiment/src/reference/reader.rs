//! Reading of keys from a JSON schema.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::key::{Choice, Key, toml};

/// Reader of a schema.
pub(super) struct Reader<'a> {
    definitions: &'a Value,
    /// Path at which each definition of a table was described: it is described once.
    seen: BTreeMap<String, String>,
}

impl<'a> Reader<'a> {
    /// Reader of a schema with these definitions.
    pub(super) fn new(definitions: &'a Value) -> Self {
        Self {
            definitions,
            seen: BTreeMap::new(),
        }
    }

    /// Names of the properties of a table, those that are required first.
    pub(super) fn names(&self, table: &Value) -> Vec<String> {
        let mut names: Vec<String> = match &table["properties"] {
            Value::Object(properties) => properties.keys().cloned().collect(),
            _ => Vec::new(),
        };
        // The list whose kinds of table are described comes before those that refer to it.
        names.sort_by_key(|name| (!is_required(table, name), name != "transforms"));
        names
    }

    pub(super) fn keys_of(
        &mut self,
        path: &str,
        of: Option<&str>,
        table: &Value,
        names: &[String],
    ) -> Vec<Key> {
        let inside = |name: &str| match path {
            "" => name.to_string(),
            path => format!("{path}.{name}"),
        };
        let keys = names.iter().map(|name| {
            let schema = &table["properties"][name];
            let mut key = self.key(&inside(name), schema, is_required(table, name));
            key.of = of.map(str::to_string);
            key
        });
        keys.collect()
    }

    /// The schema that a reference stands for, and the name of its definition.
    fn resolve<'s>(&self, schema: &'s Value) -> (Option<String>, &'s Value)
    where
        'a: 's,
    {
        let reference = match &schema["allOf"] {
            Value::Array(list) => list.first().unwrap_or(schema),
            _ => schema,
        };
        match reference["$ref"].as_str() {
            Some(target) => {
                let name = target.rsplit('/').next().unwrap_or_default();
                (Some(name.to_string()), &self.definitions[name])
            }
            None => (None, reference),
        }
    }

    fn key(&mut self, path: &str, schema: &Value, required: bool) -> Key {
        let (definition, target) = self.resolve(schema);
        let own = schema["description"].as_str().unwrap_or_default();
        let of_type = match definition {
            Some(_) => target["description"].as_str().unwrap_or_default(),
            None => "",
        };
        let (mut text, mut examples) = without_examples(own);
        let (about, more) = without_examples(of_type);
        examples.extend(more);
        if text.is_empty() {
            text = about.clone();
        }

        // A list is described by its elements.
        let (mut path, mut definition, mut target) = (path.to_string(), definition, target);
        let mut list = false;
        if target["type"] == "array" && target["items"].is_object() {
            let (name, element) = self.resolve(&target["items"]);
            if is_table(element) || !choices(element).is_empty() {
                (definition, target, list) = (name, element, true);
                path.push_str("[]");
                let (_, more) =
                    without_examples(element["description"].as_str().unwrap_or_default());
                examples.extend(more);
            }
        }

        let mut key = Key {
            kind: self.kind(schema, false),
            range: range(schema).or_else(|| range(target)),
            default: default(schema, target, required),
            of: None,
            required,
            text,
            example: String::new(),
            values: match target["items"].is_object() {
                true => values(self.resolve(&target["items"]).1),
                false => values(target),
            },
            choices: Vec::new(),
            keys: Vec::new(),
            path,
        };
        let described = definition.as_ref().and_then(|name| self.seen.get(name));
        let has_keys =
            is_table(target) || !choices(target).is_empty() || !single(target).is_empty();
        match (described, has_keys) {
            (_, false) => {}
            (Some(elsewhere), true) => {
                key.text = format!("{} Keys: those of `{elsewhere}`.", key.text)
                    .trim()
                    .to_string();
            }
            (None, true) => {
                if let Some(name) = definition {
                    self.seen.insert(name, key.path.clone());
                }
                let path = key.path.clone();
                for (name, table) in choices(target) {
                    let mut names = self.names(table);
                    names.retain(|key| key != "name");
                    let (text, _) =
                        without_examples(table["description"].as_str().unwrap_or_default());
                    key.choices.push(Choice {
                        text,
                        keys: self.keys_of(&path, Some(&name), table, &names),
                        name,
                    });
                }
                if is_table(target) {
                    let names = self.names(target);
                    key.keys = self.keys_of(&path, None, target, &names);
                }
                for (name, table) in single(target) {
                    let mut inner = self.key(
                        &format!("{path}.{name}"),
                        &table["properties"][&name],
                        false,
                    );
                    if inner.text.is_empty() {
                        inner.text =
                            without_examples(table["description"].as_str().unwrap_or_default()).0;
                    }
                    key.keys.push(inner);
                }
            }
        }
        key.example = self.example(&key, schema, &examples, list);
        key
    }

    /// Type of a value in words.
    fn kind(&self, schema: &Value, plural: bool) -> String {
        let (_, schema) = self.resolve(schema);
        let s = if plural { "s" } else { "" };
        if !choices(schema).is_empty() {
            return format!("table{s} with a `name`");
        }
        if !single(schema).is_empty() {
            return format!("table{s} with one of its keys");
        }
        if !values(schema).is_empty() && alternatives(schema).iter().all(|of| !words(of).is_empty())
        {
            return format!("word{s}");
        }
        let alternatives = alternatives(schema);
        if !alternatives.is_empty() {
            let mut kinds: Vec<String> = Vec::new();
            for of in alternatives {
                let (_, of) = self.resolve(of);
                let kind = match &values(of)[..] {
                    [(word, _)] => format!("`\"{word}\"`"),
                    _ => self.kind(of, plural),
                };
                if !kinds.contains(&kind) {
                    kinds.push(kind);
                }
            }
            return kinds.join(" or ");
        }
        match schema["type"].as_str() {
            Some("integer") => format!("whole number{s}"),
            Some("number") => format!("number{s}"),
            Some("boolean") => "`true` or `false`".to_string(),
            Some("string") => format!("text{s}"),
            Some("array") => {
                let items = match (&schema["items"], &schema["prefixItems"]) {
                    (Value::Object(_), _) => self.kind(&schema["items"], true),
                    (_, Value::Array(items)) if !items.is_empty() => self.kind(&items[0], true),
                    _ => "values".to_string(),
                };
                match (schema["minItems"].as_u64(), schema["maxItems"].as_u64()) {
                    (Some(1), Some(1)) => format!("list{s} of 1 {}", items.trim_end_matches('s')),
                    (Some(least), Some(most)) if least == most => {
                        format!("list{s} of {least} {items}")
                    }
                    _ => format!("list{s} of {items}"),
                }
            }
            _ => format!("table{s}"),
        }
    }

    fn example(&self, key: &Key, schema: &Value, examples: &[String], list: bool) -> String {
        let name = key.name().to_string();
        let starts = |example: &&String| {
            let rest = example.strip_prefix(name.as_str()).unwrap_or_default();
            rest.trim_start().starts_with('=')
        };
        if let Some(example) = examples.iter().find(starts) {
            return example.clone();
        }
        let value = match &schema["examples"][0] {
            Value::Null => self.sample(schema, key.default.as_ref()),
            example => example.clone(),
        };
        match value {
            value if list && !value.is_array() => format!("{name} = [{}]", toml(&value)),
            value => format!("{name} = {}", toml(&value)),
        }
    }

    /// A value of a schema: another than the default where there is an obvious one.
    fn sample(&self, schema: &Value, default: Option<&Value>) -> Value {
        let (_, schema) = self.resolve(schema);
        if let Some(example) = schema["examples"].get(0) {
            return example.clone();
        }
        let words = values(schema);
        let other = words
            .iter()
            .find(|(word, _)| default.is_none_or(|default| *default != *word.as_str()));
        if let Some((word, _)) = other {
            return word.clone().into();
        }
        if let Some((_, table)) = choices(schema).into_iter().next() {
            return self.sample_table(table);
        }
        if let Some((_, table)) = single(schema).into_iter().next() {
            return self.sample_table(table);
        }
        if let Some(of) = alternatives(schema).into_iter().next() {
            return self.sample(of, default);
        }
        match schema["type"].as_str() {
            Some("boolean") => (default != Some(&Value::Bool(true))).into(),
            Some("integer") => match default {
                Some(Value::Number(number)) if number.as_f64() != Some(0.0) => {
                    number.clone().into()
                }
                _ => schema["minimum"].as_u64().unwrap_or(1).max(1).into(),
            },
            Some("number") => match default {
                Some(Value::Number(number)) if number.as_f64() != Some(0.0) => {
                    number.clone().into()
                }
                _ => match schema["minimum"].as_f64() {
                    Some(least) if least >= 1.0 => least.into(),
                    _ => 0.1.into(),
                },
            },
            Some("string") => "...".into(),
            Some("array") => match (default, schema["prefixItems"].as_array()) {
                (Some(Value::Array(values)), _) if !values.is_empty() => values.clone().into(),
                (_, Some(items)) => items.iter().map(|item| self.sample(item, None)).collect(),
                _ => {
                    let count = schema["minItems"].as_u64().unwrap_or(1).max(1);
                    (0..count)
                        .map(|_| self.sample(&schema["items"], None))
                        .collect()
                }
            },
            _ => self.sample_table(schema),
        }
    }

    /// A table with the keys that it must have.
    fn sample_table(&self, table: &Value) -> Value {
        let names = self.names(table);
        let names = names.iter().filter(|name| is_required(table, name));
        let of = |name: &String| {
            let schema = &table["properties"][name];
            let value = match words(schema).first() {
                Some((word, _)) => word.clone().into(),
                None => self.sample(schema, None),
            };
            (name.clone(), value)
        };
        Value::Object(names.map(of).collect())
    }
}

fn is_required(table: &Value, name: &str) -> bool {
    let required = table["required"].as_array();
    required.is_some_and(|names| names.iter().any(|required| required.as_str() == Some(name)))
}

fn is_table(schema: &Value) -> bool {
    schema["properties"].is_object()
}

/// Alternatives of a schema.
fn alternatives(schema: &Value) -> Vec<&Value> {
    let lists = ["oneOf", "anyOf"]
        .iter()
        .filter_map(|key| schema[*key].as_array());
    lists.flatten().collect()
}

/// Words of a schema of text, each with its meaning.
fn words(schema: &Value) -> Vec<(String, String)> {
    let text = schema["description"].as_str().unwrap_or_default();
    let word = |value: &Value| Some((value.as_str()?.to_string(), String::new()));
    match (&schema["const"], &schema["enum"]) {
        (Value::String(one), _) => vec![(one.clone(), text.to_string())],
        (_, Value::Array(values)) => values.iter().filter_map(word).collect(),
        _ => Vec::new(),
    }
}

/// Words that a value may be.
fn values(schema: &Value) -> Vec<(String, String)> {
    let own = words(schema);
    if !own.is_empty() {
        return own;
    }
    alternatives(schema).into_iter().flat_map(words).collect()
}

/// Kinds of table that a `name` tells apart.
fn choices(schema: &Value) -> Vec<(String, &Value)> {
    let named = |table: &Value| Some(table["properties"]["name"]["const"].as_str()?.to_string());
    let of = alternatives(schema).into_iter();
    of.filter_map(|table| Some((named(table)?, table)))
        .collect()
}

/// Tables of one key each, of which a value is one.
fn single(schema: &Value) -> Vec<(String, &Value)> {
    let key = |table: &Value| {
        let properties: &Map<String, Value> = table["properties"].as_object()?;
        match (properties.keys().next(), properties.len()) {
            (Some(key), 1) if key != "name" && is_required(table, key) => Some(key.clone()),
            _ => None,
        }
    };
    let of = alternatives(schema).into_iter();
    of.filter_map(|table| Some((key(table)?, table))).collect()
}

/// Default of a key: of the schema, or that of its type, which is not written down where a value is left out when it is written.
fn default(schema: &Value, target: &Value, required: bool) -> Option<Value> {
    let given = schema.get("default").or_else(|| target.get("default"));
    given.filter(|_| !required).cloned()
}

/// Range of a number in words.
fn range(schema: &Value) -> Option<String> {
    let limit = |key: &str| schema[key].as_f64();
    let least = limit("minimum").filter(|least| schema["type"] != "integer" || *least != 0.0);
    let (above, most, below) = (
        limit("exclusiveMinimum"),
        limit("maximum"),
        limit("exclusiveMaximum"),
    );
    let low = least
        .map(|l| format!("at least {l}"))
        .or(above.map(|l| format!("above {l}")));
    let high = most
        .map(|l| format!("at most {l}"))
        .or(below.map(|l| format!("below {l}")));
    match (low, high) {
        (Some(low), Some(high)) => Some(format!("{low}, {high}")),
        (low, high) => low.or(high),
    }
}

/// A description without its sentences "In TOML: ...", and the lines of TOML in them.
fn without_examples(text: &str) -> (String, Vec<String>) {
    let mut kept = Vec::new();
    let mut examples = Vec::new();
    for paragraph in text.split("\n\n") {
        let (before, rest) = paragraph.split_once("In TOML: ").unwrap_or((paragraph, ""));
        examples.extend(rest.split('`').skip(1).step_by(2).map(str::to_string));
        // What follows the examples, such as "Not for digits.", still counts.
        let after = match rest.rsplit_once("`. ") {
            Some((_, after)) => after,
            None => "",
        };
        let text = [before.trim(), after.trim()].join(" ");
        if !text.trim().is_empty() {
            kept.push(text.trim().to_string());
        }
    }
    (kept.join("\n\n"), examples)
}
