//! The reference of keys: its page, and whether its defaults, ranges and examples are those of the types.
//!
//! `TALLOW_WRITE_TABLES=1 cargo test -p tallow-experiment reference` writes the page.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};
use tallow_experiment::Recipe;
use tallow_experiment::reference::{self, Choice, Key};
use tallow_transforms::{Compose, TransformConfig};

const START: &str = "<!-- table: keys -->\n";
const END: &str = "<!-- /table -->";

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
        .replace("\n\n", "<br>")
        .replace('\n', " ")
}

fn rows(page: &mut String, keys: &[Key], full: bool) {
    if keys.is_empty() {
        return;
    }
    page.push_str("| key | value | default | meaning |\n| --- | --- | --- | --- |\n");
    fn add(page: &mut String, keys: &[Key], full: bool) {
        for key in keys {
            let name = if full { &key.path } else { key.name() };
            let mut meaning = key.text.clone();
            if !key.values.is_empty() {
                let words: Vec<String> = (key.values.iter())
                    .map(|(word, _)| format!("`\"{word}\"`"))
                    .collect();
                let _ = write!(meaning, " One of {}.", words.join(", "));
            }
            let default = match (key.required, &key.default) {
                (true, _) => "required".to_string(),
                (_, Some(value)) if value.as_object().is_some_and(Map::is_empty) => {
                    "empty".to_string()
                }
                (_, Some(value)) => format!("`{}`", reference::toml(value)),
                _ => "none".to_string(),
            };
            writeln!(
                page,
                "| `{name}` | {} | {} | {} |",
                cell(&key.kind),
                cell(&default),
                cell(&meaning)
            )
            .unwrap();
            if full {
                add(page, &key.keys, full);
            }
        }
    }
    add(page, keys, full);
    page.push('\n');
}

fn choices(page: &mut String, keys: &[Key]) {
    for key in keys {
        if !key.choices.is_empty() {
            writeln!(page, "### `{}`\n", key.path).unwrap();
            writeln!(page, "`{}`\n", key.example).unwrap();
            for Choice { name, text, keys } in &key.choices {
                writeln!(page, "**`{name}`**: {text}\n").unwrap();
                rows(page, keys, false);
            }
        }
        choices(page, &key.keys);
        for choice in &key.choices {
            choices(page, &choice.keys);
        }
    }
}

fn written() -> String {
    let mut page = String::from("\n## At the top of the file\n\n");
    let (tables, plain): (Vec<&Key>, Vec<&Key>) = reference::keys()
        .iter()
        .partition(|key| !key.keys.is_empty());
    let plain: Vec<Key> = plain.into_iter().cloned().collect();
    rows(&mut page, &plain, true);
    for table in tables {
        let heading = match table.path.strip_suffix("[]") {
            Some(list) => format!("[[{list}]]"),
            None => format!("[{}]", table.path),
        };
        writeln!(page, "## `{heading}`\n\n{}\n", table.text).unwrap();
        rows(&mut page, &table.keys, true);
        choices(&mut page, &table.keys);
    }
    page
}

#[test]
fn the_page_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/recipe.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(START).unwrap();
    let (found, after) = rest.split_once(END).unwrap();
    let expected = written();
    if found == expected {
        return;
    }
    if std::env::var_os("TALLOW_WRITE_TABLES").is_some() {
        fs::write(path, [before, START, &expected, END, after].concat()).unwrap();
        return;
    }
    let lines = found.lines().chain([""]).zip(expected.lines().chain([""]));
    let mut different = lines.into_iter().filter(|(a, b)| a != b);
    panic!(
        "docs/recipe.md differs at {:?}; write it with TALLOW_WRITE_TABLES=1",
        different.next()
    );
}

/// Takes a key, and a function that makes a recipe with a value of it.
type Check<'a> = dyn FnMut(&Key, &dyn Fn(Option<Value>) -> Value) + 'a;

/// Every key with a function that makes a recipe in which the key has a value, or is left out. Other keys are there where they must be.
fn visit(check: &mut Check<'_>) {
    let base = json!({
        "data": { "dataset": "mnist" },
        "model": { "name": "mlp" },
        "train": { "epochs": 3, "batch_size": 8, "optimizer": { "name": "sgd", "lr": 0.1 } },
    });
    for table in reference::keys() {
        if !["data", "model", "train"].contains(&table.path.as_str()) {
            continue;
        }
        let place = |value: Value| {
            let mut recipe = base.clone();
            recipe[&table.path] = value;
            recipe
        };
        visit_keys(&table.keys, &Map::new(), &place, check);
    }
}

fn visit_keys(
    keys: &[Key],
    known: &Map<String, Value>,
    place: &dyn Fn(Value) -> Value,
    check: &mut Check<'_>,
) {
    let mut others = known.clone();
    for key in keys.iter().filter(|key| key.required) {
        others.insert(key.name().to_string(), example(key));
    }
    for key in keys {
        let with = |value: Option<Value>| {
            let mut table = others.clone();
            match value {
                Some(value) => table.insert(key.name().to_string(), value),
                None => table.remove(key.name()),
            };
            if [
                "train.schedule.warmup.length",
                "train.schedule.warmup.steps",
            ]
            .contains(&key.path.as_str())
            {
                // Only one of the keys of the length.
                table.remove("epochs");
            }
            place(table.into())
        };
        check(key, &with);
        let listed = |table: Value| match key.path.ends_with("[]") {
            true => with(Some(json!([table]))),
            false => with(Some(table)),
        };
        let mut inner = Map::new();
        if key.path == "train.schedule.warmup" {
            // One of three keys must be there.
            inner.insert("epochs".into(), 1.into());
        }
        if key.path == "train.mix" {
            // One of two keys must be above 0.
            inner.insert("mixup_alpha".into(), json!(0.2));
        }
        visit_keys(&key.keys, &inner, &listed, check);
        for choice in &key.choices {
            let named = Map::from_iter([("name".to_string(), choice.name.clone().into())]);
            visit_keys(&choice.keys, &named, &listed, check);
        }
    }
}

/// Value of the example of a key.
fn example(key: &Key) -> Value {
    let table: toml::Table =
        toml::from_str(&key.example).unwrap_or_else(|error| panic!("{}: {error}", key.example));
    serde_json::to_value(&table[key.name()]).unwrap()
}

fn read(recipe: &Value) -> Result<Recipe, String> {
    Recipe::from_json(recipe).map_err(|error| error.to_string())
}

#[test]
fn defaults_are_those_of_the_types() {
    let mut count = 0;
    visit(&mut |key, with| {
        let Some(default) = &key.default else {
            return;
        };
        // Of one with a name only a whole table can be given.
        let given = read(&with(Some(default.clone())));
        let given = given.unwrap_or_else(|error| panic!("{}: {error}", key.path));
        let left_out = read(&with(None)).unwrap_or_else(|error| panic!("{}: {error}", key.path));
        assert_eq!(given, left_out, "{} ({:?}): {default}", key.path, key.of);
        count += 1;
    });
    assert!(count > 150, "{count}");
}

#[test]
fn examples_are_read() {
    let mut count = 0;
    visit(&mut |key, with| {
        let recipe = with(Some(example(key)));
        read(&recipe).unwrap_or_else(|error| panic!("{}: {error}", key.example));
        count += 1;
    });
    assert!(count > 200, "{count}");
}

/// Whether nothing in a recipe is refused before a run.
fn is_valid(recipe: &Value) -> Result<(), String> {
    let recipe = read(recipe)?;
    recipe.check().map_err(|error| error.to_string())?;
    let transforms = [
        recipe.data.transforms,
        recipe.train.augment,
        recipe.data.train_transforms,
    ];
    for list in transforms {
        let others = list
            .iter()
            .filter(|transform| transform.name() != "to-tensor");
        let others: Vec<TransformConfig> = others.cloned().collect();
        let tensor = vec![TransformConfig::to_tensor()];
        let before = Compose::new([others.clone(), tensor.clone()].concat());
        let after = Compose::new([tensor, others].concat());
        before.or(after).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Values outside of a range are refused before a run. Settings of a schedule are checked with the length of the run, by the trainer.
#[test]
fn ranges_are_those_that_are_checked() {
    let mut unchecked = Vec::new();
    let mut count = 0;
    visit(&mut |key, with| {
        let Some(range) = &key.range else {
            return;
        };
        if key.path.starts_with("train.schedule") {
            return;
        }
        let whole = key.kind == "whole number";
        if !whole && key.kind != "number" {
            return;
        }
        let inside = with(Some(example(key)));
        if let Err(error) = is_valid(&inside) {
            unchecked.push(format!(
                "{} = {} is refused: {error}",
                key.path, key.example
            ));
            return;
        }
        for limit in range.split(", ") {
            let (word, number) = limit.rsplit_once(' ').unwrap();
            let number: f64 = number.parse().unwrap();
            let outside = match word {
                "at least" => number - 1.0,
                "at most" => number + 1.0,
                _ => number,
            };
            let outside = if whole {
                json!(outside as i64)
            } else {
                json!(outside)
            };
            count += 1;
            if is_valid(&with(Some(outside.clone()))).is_ok() {
                unchecked.push(format!(
                    "{} ({:?}) = {outside} is not refused, {range}",
                    key.path, key.of
                ));
            }
        }
    });
    assert!(unchecked.is_empty(), "{}", unchecked.join("\n"));
    assert!(count > 30, "{count}");
}
