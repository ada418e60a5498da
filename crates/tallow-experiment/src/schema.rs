//! JSON schema of an experiment's file, generated from the types that read it: for editors, and for the reference of keys.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use tallow_datasets::catalog;
use tallow_models::pretrained;

use crate::experiment_file::File;
use crate::model::Registry;

/// Keys of a schema with one schema, with several by name, and with several in a list.
const ONE: [&str; 2] = ["items", "additionalProperties"];
const BY_NAME: [&str; 3] = ["properties", "$defs", "definitions"];
const LISTS: [&str; 4] = ["anyOf", "oneOf", "allOf", "prefixItems"];

/// JSON schema (draft 7) of an experiment's file, for editors.
///
/// A variant changes parts of the recipe, so no key of `[data]`, `[model]` and `[train]` is required. The names of the `models`, of the
/// known datasets and of the published weights are proposed; other names are valid too.
///
/// ```
/// let schema = tallow_experiment::schema::experiment(&tallow_experiment::Registry::default());
/// assert!(schema["properties"]["train"].is_object());
/// ```
pub fn experiment(models: &Registry) -> Value {
    let mut schema = generate(SchemaSettings::draft07());
    let names = |path: [&str; 2], names: Vec<String>, schema: &mut Value| {
        let [table, key] = path;
        if let Some(Value::Object(of)) =
            schema.pointer_mut(&format!("/definitions/{table}/properties/{key}"))
        {
            of.remove("type");
            of.insert(
                "anyOf".into(),
                json!([{ "enum": names }, { "type": "string" }]),
            );
        }
    };
    let datasets = catalog().iter().map(|entry| entry.name.to_string());
    let weights = pretrained().iter().map(|weights| weights.name.to_string());
    let registered = models.iter().map(|entry| entry.name().to_string());
    names(["Data", "dataset"], datasets.collect(), &mut schema);
    names(["Model", "name"], registered.collect(), &mut schema);
    names(["Model", "pretrained"], weights.collect(), &mut schema);
    allow_parts(&mut schema);
    schema
}

/// Schema of an experiment's file with a complete recipe.
pub(crate) fn complete() -> Value {
    generate(SchemaSettings::draft2020_12())
}

fn generate(settings: SchemaSettings) -> Value {
    let mut schema = settings
        .into_generator()
        .into_root_schema_for::<File>()
        .to_value();
    tidy(&mut schema);
    schema
}

/// Applies `change` to each schema directly inside `schema`.
fn for_each_inner(schema: &mut Map<String, Value>, mut change: impl FnMut(&mut Value)) {
    for key in ONE {
        schema.get_mut(key).into_iter().for_each(&mut change);
    }
    for key in BY_NAME {
        if let Some(Value::Object(inner)) = schema.get_mut(key) {
            inner.values_mut().for_each(&mut change);
        }
    }
    for key in LISTS {
        if let Some(Value::Array(inner)) = schema.get_mut(key) {
            inner.iter_mut().for_each(&mut change);
        }
    }
}

/// Removes what TOML does not have (null) and sizes of Rust's numbers, makes plain text of descriptions, and takes ranges from them.
fn tidy(schema: &mut Value) {
    let Value::Object(map) = schema else {
        return;
    };
    add_defaults(map);
    for_each_inner(map, tidy);
    map.remove("format");
    if map.get("default") == Some(&Value::Null) {
        map.remove("default");
    }
    if let Some(Value::Array(types)) = map.get_mut("type") {
        types.retain(|name| name != "null");
        if let [one] = &types[..] {
            let one = one.clone();
            map.insert("type".into(), one);
        }
    }
    if let Some(Value::Array(values)) = map.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    if let Some(Value::Array(of)) = map.get_mut("anyOf") {
        let before = of.len();
        of.retain(|schema| schema["type"] != "null");
        if before > of.len()
            && let [one] = &of[..]
        {
            let one = one.clone();
            map.remove("anyOf");
            // Nothing stands beside a reference in draft 7.
            map.insert("allOf".into(), json!([one]));
        }
    }
    if let Some(Value::String(text)) = map.get("description") {
        let text = plain(text);
        map.insert("description".into(), text.into());
    }
    add_range(map);
}

/// Adds the defaults that serde's attributes do not show: a key that may be left out, is not null and has no default in the schema is left
/// out, when it is written, where it has the default of its type.
fn add_defaults(table: &mut Map<String, Value>) {
    let required = table.get("required").cloned().unwrap_or_default();
    let is_required = |name: &str| {
        (required.as_array()).is_some_and(|names| names.iter().any(|n| n.as_str() == Some(name)))
    };
    let Some(Value::Object(properties)) = table.get_mut("properties") else {
        return;
    };
    for (name, schema) in properties {
        let Value::Object(schema) = schema else {
            continue;
        };
        let default = match schema.get("type").and_then(Value::as_str) {
            Some("boolean") => json!(false),
            Some("integer") => json!(0),
            Some("number") => json!(0.0),
            Some("array") => json!([]),
            None if schema.contains_key("$ref") => json!({}),
            _ => continue,
        };
        if !is_required(name) && !schema.contains_key("default") {
            schema.insert("default".into(), default);
        }
    }
}

/// Text of a documentation comment: paragraphs on one line each, without code blocks, sections and links to items of a crate.
fn plain(text: &str) -> String {
    let text = text.split("```").next().unwrap_or_default();
    let text = text.split("\n# ").next().unwrap_or_default();
    let paragraphs = text.split("\n\n").map(|paragraph| {
        let lines = paragraph.lines().map(str::trim);
        lines
            .filter(|line| !line.is_empty())
            .collect::<Vec<_>>()
            .join(" ")
    });
    let paragraphs: Vec<String> = paragraphs.filter(|p| !p.is_empty()).collect();
    let text = paragraphs.join("\n\n");

    let mut plain = String::new();
    let mut rest = text.as_str();
    while let Some((before, link)) = rest.split_once("[`") {
        let Some((name, after)) = link.split_once("`]") else {
            break;
        };
        plain.push_str(before);
        let target = after
            .strip_prefix('(')
            .and_then(|link| link.split_once(')'));
        match target {
            Some((url, after)) if url.starts_with("http") => {
                plain.push_str(&format!("[`{name}`]({url})"));
                rest = after;
            }
            Some((_, after)) => {
                plain.push_str(&format!("`{name}`"));
                rest = after;
            }
            None => {
                plain.push_str(&format!("`{name}`"));
                rest = after;
            }
        }
    }
    plain + rest
}

/// Takes the range of a number from its description: "in `[0, 1)`", or a clause "above 0", "at least 1", "below 100".
fn add_range(schema: &mut Map<String, Value>) {
    let kind = schema.get("type").and_then(Value::as_str);
    let whole = kind == Some("integer");
    if !whole && kind != Some("number") {
        return;
    }
    let Some(Value::String(text)) = schema.get("description") else {
        return;
    };
    for (key, limit) in limits(text) {
        let limit = match whole {
            true => json!(limit as i64),
            false => json!(limit),
        };
        schema.insert(key.to_string(), limit);
    }
}

fn limits(text: &str) -> Vec<(&'static str, f64)> {
    let interval = ["in `[", "in `("].iter().find_map(|open| {
        let (_, rest) = text.split_once(open)?;
        let (body, after) = rest.split_once('`')?;
        let (low, high) = body.strip_suffix([']', ')'])?.split_once(", ")?;
        let ends = (low.parse().ok()?, high.parse().ok()?);
        // A value outside the interval has a meaning of its own.
        let other = after.starts_with(", or ");
        let lower = match *open {
            "in `[" => "minimum",
            _ => "exclusiveMinimum",
        };
        let upper = match body.ends_with(']') {
            true => "maximum",
            false => "exclusiveMaximum",
        };
        Some(match other {
            true => Vec::new(),
            false => vec![(lower, ends.0), (upper, ends.1)],
        })
    });
    interval.unwrap_or_else(|| {
        let clauses = text
            .split(". ")
            .flat_map(|sentence| sentence.split([',', ';', ':']));
        let limit = |clause: &str| {
            let clause = clause.trim().trim_end_matches('.').to_lowercase();
            let of = |word: &str| clause.strip_prefix(word)?.parse::<f64>().ok();
            let above = of("above ").map(|limit| ("exclusiveMinimum", limit));
            let least = of("at least ").map(|limit| ("minimum", limit));
            let below = of("below ").map(|limit| ("exclusiveMaximum", limit));
            above.or(least).or(below)
        };
        clauses.filter_map(limit).collect()
    })
}

/// Replaces `data`, `model` and `train` of the file, of its variants and of its tiers by schemas of their parts.
fn allow_parts(schema: &mut Value) {
    let Value::Object(root) = schema else {
        return;
    };
    let Some(Value::Object(mut definitions)) = root.remove("definitions") else {
        return;
    };
    let mut queue = Vec::new();
    let tables = ["Variant", "Tier"];
    let files = (tables.iter()).filter_map(|name| Some((*name, definitions.get(*name)?.clone())));
    let files: Vec<(&str, Value)> = files.collect();
    let mut of_parts = |file: &mut Map<String, Value>| {
        for table in ["data", "model", "train"] {
            if let Some(Value::Object(properties)) = file.get_mut("properties")
                && let Some(of) = properties.get_mut(table)
            {
                part(of, &mut queue);
            }
        }
    };
    of_parts(root);
    for (name, mut file) in files {
        if let Value::Object(map) = &mut file {
            of_parts(map);
        }
        definitions.insert(name.to_string(), file);
    }
    while let Some(name) = queue.pop() {
        let part_name = format!("{PART}{name}");
        if !definitions.contains_key(&part_name)
            && let Some(mut of) = definitions.get(&name).cloned()
        {
            part(&mut of, &mut queue);
            definitions.insert(part_name, of);
        }
    }
    root.insert("definitions".into(), definitions.into());
}

const DEFINITIONS: &str = "#/definitions/";
const PART: &str = "PartOf";

/// Makes every key optional, in tables inside too. Lists are replaced as a whole, so that their elements are complete. Names of
/// definitions that are needed for it are put on the `queue`.
fn part(schema: &mut Value, queue: &mut Vec<String>) {
    let Value::Object(map) = schema else {
        return;
    };
    map.remove("required");
    map.remove("default");
    if let Some(Value::String(target)) = map.get("$ref")
        && let Some(name) = target.strip_prefix(DEFINITIONS)
    {
        let (name, target) = (name.to_string(), format!("{DEFINITIONS}{PART}{name}"));
        queue.push(name);
        map.insert("$ref".into(), target.into());
    }
    // Without the keys that are required, a table may be one of several kinds.
    if let Some(kinds) = map.remove("oneOf") {
        map.insert("anyOf".into(), kinds);
    }
    if let Some(Value::Object(properties)) = map.get_mut("properties") {
        properties.values_mut().for_each(|of| part(of, queue));
    }
    for key in ["anyOf", "allOf"] {
        if let Some(Value::Array(list)) = map.get_mut(key) {
            list.iter_mut().for_each(|of| part(of, queue));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_are_plain_text() {
        let text = "Rate of [`Adam`](super::Adam),\nas [`torch`](https://pytorch.org) in `[0, 1)`.\n\n[`Per`] epoch.\n\n```\ncode\n```\nEnd.";
        assert_eq!(
            plain(text),
            "Rate of `Adam`, as [`torch`](https://pytorch.org) in `[0, 1)`.\n\n`Per` epoch."
        );
    }

    #[test]
    fn ranges_are_read_from_descriptions() {
        for (text, expected) in [
            (
                "Probability in `[0, 1]` of it.",
                vec![("minimum", 0.0), ("maximum", 1.0)],
            ),
            (
                "Rate, in `(0, 1)`; 0.5 by default.",
                vec![("exclusiveMinimum", 0.0), ("exclusiveMaximum", 1.0)],
            ),
            ("Weight, in `[0, 1]`, or -1 for none.", vec![]),
            (
                "Norm, above 0: larger ones are cut.",
                vec![("exclusiveMinimum", 0.0)],
            ),
            ("Epoch. At least 1.", vec![("minimum", 1.0)]),
            ("Steps, below 100.", vec![("exclusiveMaximum", 100.0)]),
            ("Norms count as at least 0.001.", vec![]),
        ] {
            assert_eq!(limits(text), expected, "{text}");
        }
    }
}
