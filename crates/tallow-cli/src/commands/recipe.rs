//! `tallow recipe`: the keys of an experiment's file.

use std::fmt::Write;

use anyhow::{Result, anyhow};
use clap::Args;
use tallow_experiment::reference::{self, Choice, Found, Key};
use tallow_experiment::suggest;

use crate::ending::Ending;
use crate::output;
use crate::program::Program;
use crate::table::new_table;
use crate::text::wrapped;

/// Examples at the end of the help text.
pub const EXAMPLES: &str = "Examples:
  {tallow} recipe
  {tallow} recipe train.optimizer
  {tallow} recipe train.optimizer.sgd
  {tallow} recipe random-crop
  {tallow} recipe label_smoothing

`{tallow} schema` prints the same as a JSON schema, for editors.";

/// Arguments of `recipe`.
#[derive(Args, Debug)]
pub struct RecipeArgs {
    /// Key, such as train.optimizer.lr or lr, or the name of an optimizer, a transform or the like. Without one, all keys are listed.
    #[arg(value_name = "KEY")]
    key: Option<String>,
}

/// Prints the keys, or one of them.
pub fn recipe(args: &RecipeArgs, program: &Program) -> Result<Ending> {
    let text = match &args.key {
        None => overview(program),
        Some(name) => {
            let found = reference::find(name);
            if found.is_empty() {
                return Err(anyhow!(suggest::unknown_key(name)));
            }
            entries(&found)
        }
    };
    output::print(&text)?;
    Ok(Ending::Done)
}

/// Table of the keys of all tables that have one kind only.
fn overview(program: &Program) -> String {
    let mut table = new_table(&["key", "value", "default", "meaning"]);
    fn add(keys: &[Key], table: &mut comfy_table::Table) {
        for key in keys {
            // What a table is shows in its keys.
            if key.keys.is_empty() || !key.choices.is_empty() {
                table.add_row([
                    &key.path,
                    &plain(&key.kind),
                    &key.default_text(),
                    &plain(first_sentence(&key.text)),
                ]);
            }
            add(&key.keys, table);
        }
    }
    add(reference::keys(), &mut table);
    format!(
        "{table}\n\n`{} recipe KEY` describes one of them; a table with a `name` has further keys.\n",
        program.name
    )
}

/// First sentence of a text.
fn first_sentence(text: &str) -> &str {
    let paragraph = text.split("\n\n").next().unwrap_or(text);
    match paragraph.split_once(". ") {
        Some((first, _)) => first,
        None => paragraph.trim_end_matches('.'),
    }
}

/// A description for the terminal: links by their text, without marks of code.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, link)) = rest.split_once("[`") {
        let Some((name, after)) = link.split_once("`](") else {
            break;
        };
        let Some((_, after)) = after.split_once(')') else {
            break;
        };
        plain.push_str(before);
        plain.push_str(name);
        rest = after;
    }
    (plain + rest).replace('`', "")
}

/// Description of the entries found; keys that differ in their table alone are described together.
fn entries(found: &[Found]) -> String {
    let mut groups: Vec<Vec<Found>> = Vec::new();
    for entry in found {
        let same = |group: &&mut Vec<Found>| match (group.first(), entry) {
            (Some(Found::Key(a)), Found::Key(b)) => {
                (&a.path, &a.kind, &a.text, &a.range) == (&b.path, &b.kind, &b.text, &b.range)
            }
            _ => false,
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.push(*entry),
            None => groups.push(vec![*entry]),
        }
    }
    let texts = groups.iter().map(|group| match group[..] {
        [Found::Choice(key, choice), ..] => of_choice(key, choice),
        _ => {
            let keys = group.iter().filter_map(|entry| match entry {
                Found::Key(key) => Some(*key),
                Found::Choice(..) => None,
            });
            of_key(&keys.collect::<Vec<_>>())
        }
    });
    texts.collect::<Vec<_>>().join("\n")
}

/// A line of a description.
fn line(text: &mut String, title: &str, value: &str) {
    if !value.is_empty() {
        let value = wrapped(&plain(value), 12);
        let _ = writeln!(text, "  {title:<8}  {value}");
    }
}

fn paragraphs(text: &mut String, of: &str) {
    for paragraph in of.split("\n\n").filter(|paragraph| !paragraph.is_empty()) {
        let _ = writeln!(text, "  {}\n", wrapped(&plain(paragraph), 2));
    }
}

/// Description of a key, in one or several kinds of table.
fn of_key(keys: &[&Key]) -> String {
    let Some(key) = keys.first() else {
        return String::new();
    };
    let mut text = format!("{}\n\n", key.path);
    paragraphs(&mut text, &key.text);
    let of: Vec<&str> = keys.iter().filter_map(|key| key.of.as_deref()).collect();
    line(&mut text, "of", &of.join(", "));
    line(&mut text, "value", &key.kind);
    let mut defaults: Vec<(String, Vec<&str>)> = Vec::new();
    for key in keys {
        let (default, of) = (key.default_text(), key.of.as_deref().unwrap_or_default());
        match defaults.iter_mut().find(|(known, _)| *known == default) {
            Some((_, all)) => all.push(of),
            None => defaults.push((default, vec![of])),
        }
    }
    let one = defaults.len() == 1;
    let defaults = defaults.iter().map(|(default, of)| match one {
        true => default.clone(),
        false => format!("{default} ({})", of.join(", ")),
    });
    line(
        &mut text,
        "default",
        &defaults.collect::<Vec<_>>().join("; "),
    );
    line(&mut text, "range", key.range.as_deref().unwrap_or_default());
    line(&mut text, "example", &key.example);
    if !key.values.is_empty() {
        text.push_str("\n  values\n");
        rows(
            &mut text,
            key.values
                .iter()
                .map(|(word, about)| (word.clone(), about.clone())),
        );
    }
    if !key.choices.is_empty() {
        text.push_str("\n  names\n");
        rows(
            &mut text,
            key.choices
                .iter()
                .map(|choice| (choice.name.clone(), with_settings(choice))),
        );
    }
    if !key.keys.is_empty() {
        text.push_str("\n  keys\n");
        rows(
            &mut text,
            key.keys
                .iter()
                .map(|key| (key.name().to_string(), with_default(key))),
        );
    }
    text
}

/// Description of a kind of table.
fn of_choice(key: &Key, choice: &Choice) -> String {
    let mut text = format!("{}: name = \"{}\"\n\n", key.path, choice.name);
    paragraphs(&mut text, &choice.text);
    if !choice.keys.is_empty() {
        text.push_str("  keys\n");
        rows(
            &mut text,
            choice
                .keys
                .iter()
                .map(|key| (key.name().to_string(), with_default(key))),
        );
    }
    text
}

/// Meaning of a kind of table, and its keys.
fn with_settings(choice: &Choice) -> String {
    let keys: Vec<&str> = choice.keys.iter().map(Key::name).collect();
    match keys.is_empty() {
        true => first_sentence(&choice.text).to_string(),
        false => format!("{}: {}", first_sentence(&choice.text), keys.join(", ")),
    }
}

fn with_default(key: &Key) -> String {
    let about = key.text.split("\n\n").next().unwrap_or_default();
    match (key.required, &key.default) {
        (true, _) => format!("{about} Required."),
        (false, Some(default)) => format!("{about} Default: {}.", reference::toml(default)),
        (false, None) => about.to_string(),
    }
}

/// Rows of a name and its meaning.
fn rows(text: &mut String, rows: impl Iterator<Item = (String, String)> + Clone) {
    let width = rows.clone().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, about) in rows {
        let about = wrapped(&plain(&about), width + 6);
        let _ = writeln!(text, "    {name:<width$}  {about}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_several_kinds_of_table_is_described_once_for_each_meaning() {
        let text = entries(&reference::find("train.optimizer.lr"));
        // That of Lion is the size of its steps.
        assert_eq!(text.matches("train.optimizer.lr\n").count(), 2, "{text}");
        assert!(text.contains("required (sgd"), "{text}");
        assert!(text.contains("0.001 (adam"), "{text}");
        let decay = entries(&reference::find("train.optimizer.weight_decay"));
        assert!(
            decay.contains("L2 penalty") && decay.contains("Decoupled"),
            "{decay}"
        );
    }

    #[test]
    fn a_list_of_tables_names_its_kinds() {
        let text = entries(&reference::find("data.transforms"));
        assert!(
            text.contains("random-resized-crop") && text.contains("ratio"),
            "{text}"
        );
        let one = entries(&reference::find("random-resized-crop"));
        assert!(
            one.contains("Required.") && one.contains("Default: "),
            "{one}"
        );
        assert!(!one.contains('`'), "{one}");
    }
}
