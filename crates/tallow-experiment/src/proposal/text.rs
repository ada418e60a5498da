//! The text of a proposed recipe.

use std::fmt::Write;

use toml::{Table, Value};

use super::choice::Choice;
use crate::error::{Error, Result};
use crate::keys::Assignment;

/// Widest line of a list that is kept on it.
const WIDTH: usize = 110;

/// Works an assignment `key=value` into the choices: into that of the key or of the table around it, or as a further one.
pub(super) fn assign(choices: &mut Vec<Choice>, set: &str) -> Result<()> {
    let assignment = Assignment::parse(set)?;
    let key = assignment.key();
    if !["data.", "model.", "train."]
        .iter()
        .any(|part| key.starts_with(part))
    {
        return Err(Error::Set(format!(
            "--set {set}: expected a key of data, model or train, such as train.epochs"
        )));
    }
    let value = assignment.value().clone();
    let reason = format!("given by --set {set}");
    let around = (choices.iter_mut()).find(|choice| key.starts_with(&format!("{}.", choice.key)));
    if let Some(choice) = around
        && let Ok(Value::Table(mut table)) = parsed(&choice.value)
    {
        let path: Vec<&str> = key[choice.key.len() + 1..].split('.').collect();
        insert(&mut table, &path, value);
        choice.value = Value::Table(table).to_string();
        choice.reason = format!("{}; {reason}", choice.reason);
        return Ok(());
    }
    // What is inside the table that is given anew.
    choices.retain(|choice| !choice.key.starts_with(&format!("{key}.")));
    let given = Choice {
        key,
        value: value.to_string(),
        reason,
    };
    match choices.iter_mut().find(|choice| choice.key == given.key) {
        Some(choice) => *choice = given,
        None => choices.push(given),
    }
    Ok(())
}

fn insert(table: &mut Table, path: &[&str], value: Value) {
    match path {
        [] => {}
        [key] => {
            table.insert(key.to_string(), value);
        }
        [key, rest @ ..] => {
            let inner = table
                .entry(key.to_string())
                .or_insert_with(|| Value::Table(Table::new()));
            if !inner.is_table() {
                *inner = Value::Table(Table::new());
            }
            if let Value::Table(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

/// The value of a TOML text.
pub(super) fn parsed(text: &str) -> std::result::Result<Value, toml::de::Error> {
    let table: Table = toml::from_str(&format!("value = {text}"))?;
    Ok(table.get("value").cloned().unwrap_or(Value::Boolean(true)))
}

/// TOML of an experiment with these choices, the reason of each above it.
pub(super) fn render(
    head: &str,
    question: &str,
    seed: u64,
    variant: &str,
    choices: &[Choice],
) -> String {
    let mut text = String::new();
    for line in head.lines() {
        let _ = writeln!(text, "# {line}");
    }
    let question = Value::from(question);
    let _ = writeln!(text, "question = {question}\nseeds = [{seed}]");
    for part in ["data", "model", "train"] {
        let _ = writeln!(text, "\n[{part}]");
        for choice in choices {
            let Some(key) = choice.key.strip_prefix(part) else {
                continue;
            };
            let Some(key) = key.strip_prefix('.') else {
                continue;
            };
            let _ = writeln!(text, "# {}", first_capital(&choice.reason));
            let _ = writeln!(text, "{key} = {}", folded(key, &choice.value));
        }
    }
    let variant = Value::from(variant);
    let _ = writeln!(text, "\n[[variants]]\nname = {variant}");
    text
}

/// The reason as a sentence.
fn first_capital(reason: &str) -> String {
    let mut letters = reason.chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string());
    format!("{}{}.", first.unwrap_or_default(), letters.as_str())
}

/// A long list with one element a line.
fn folded(key: &str, value: &str) -> String {
    if key.len() + value.len() < WIDTH {
        return value.to_string();
    }
    match parsed(value) {
        Ok(Value::Array(elements)) => {
            let lines = elements.iter().map(|element| format!("    {element},\n"));
            format!("[\n{}]", lines.collect::<String>())
        }
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(key: &str, value: &str) -> Choice {
        Choice {
            key: key.into(),
            value: value.into(),
            reason: "it is usual".into(),
        }
    }

    fn choices() -> Vec<Choice> {
        vec![
            choice("train.epochs", "3"),
            choice("train.optimizer", r#"{ name = "sgd", lr = 0.1 }"#),
        ]
    }

    #[test]
    fn what_is_given_replaces_what_was_chosen() {
        let mut all = choices();
        for set in [
            "train.epochs=5",
            "train.optimizer.lr=0.2",
            "train.schedule.curve.name=cosine",
            "train.ema={decay=0.9}",
        ] {
            assign(&mut all, set).unwrap();
        }
        let value = |key: &str| {
            let choice = all.iter().find(|choice| choice.key == key).unwrap();
            parsed(&choice.value).unwrap()
        };
        assert_eq!(value("train.epochs"), Value::Integer(5));
        let expected = parsed(r#"{ name = "sgd", lr = 0.2 }"#).unwrap();
        assert_eq!(value("train.optimizer"), expected);
        assert_eq!(value("train.schedule.curve.name"), Value::from("cosine"));
        assert_eq!(value("train.ema"), parsed("{ decay = 0.9 }").unwrap());
        assert!(all[0].reason.contains("--set train.epochs=5"));
        assert!(assign(&mut all, "train.epochs").is_err());
        assert!(assign(&mut all, "seeds=[1]").is_err());
        // A table that is given anew has nothing of the old one.
        assign(&mut all, "train.schedule={}").unwrap();
        let keys: Vec<&str> = all.iter().map(|choice| choice.key.as_str()).collect();
        assert!(!keys.contains(&"train.schedule.curve.name"), "{keys:?}");
    }

    #[test]
    fn the_text_is_toml_with_reasons() {
        let mut all = choices();
        let list = [r#"{ name = "resize", size = 64 }"#; 4].join(", ");
        all.push(choice("data.transforms", &format!("[{list}]")));
        let text = render("first\nsecond", "Is \"it\"?", 7, "cnn", &all);
        assert!(text.starts_with("# first\n# second\nquestion = "), "{text}");
        assert!(text.contains("# It is usual.\nepochs = 3\n"), "{text}");
        assert!(text.contains("transforms = [\n    {"), "{text}");
        let table: Table = toml::from_str(&text).unwrap();
        assert_eq!(table["question"].as_str(), Some("Is \"it\"?"));
        assert_eq!(table["seeds"][0].as_integer(), Some(7));
        assert_eq!(table["data"]["transforms"].as_array().unwrap().len(), 4);
    }
}
