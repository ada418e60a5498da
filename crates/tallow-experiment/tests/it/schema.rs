//! The JSON schema of an experiment's file: what is valid is valid by it, and what is not is not.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tallow_experiment::{Experiment, Registry, Tier, builtin, schema};

/// Checks a value by a schema of draft 7: the keywords that ours has, and no others.
fn validate(root: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let Value::Object(schema) = schema else {
        return match schema {
            Value::Bool(true) => Ok(()),
            _ => Err(format!("{at}: nothing is expected")),
        };
    };
    let number = |limit: &Value| (value.as_f64(), limit.as_f64().unwrap());
    let of = |ok: bool, what: &dyn Fn() -> String| match ok {
        true => Ok(()),
        false => Err(format!("{at}: {value} is not {}", what())),
    };
    for (keyword, rule) in schema {
        match keyword.as_str() {
            "$schema" | "title" | "description" | "default" | "examples" | "definitions" => {}
            "$ref" => {
                let pointer = rule.as_str().unwrap().trim_start_matches('#');
                validate(root, root.pointer(pointer).unwrap(), value, at)?;
            }
            "allOf" => {
                for inner in rule.as_array().unwrap() {
                    validate(root, inner, value, at)?;
                }
            }
            "anyOf" | "oneOf" => {
                let results = rule.as_array().unwrap().iter();
                let results: Vec<_> = results
                    .map(|inner| validate(root, inner, value, at))
                    .collect();
                let valid = results.iter().filter(|result| result.is_ok()).count();
                let errors: Vec<_> = results.into_iter().filter_map(Result::err).collect();
                if valid == 0 {
                    return Err(errors.join(", "));
                }
                of(keyword == "anyOf" || valid == 1, &|| {
                    "one of several".to_string()
                })?;
            }
            "type" => {
                let is = |name: &str| match name {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "boolean" => value.is_boolean(),
                    "integer" => value.is_u64() || value.is_i64(),
                    "number" => value.is_number(),
                    other => panic!("type {other}"),
                };
                of(is(rule.as_str().unwrap()), &|| rule.to_string())?;
            }
            "properties" => {
                for (key, value) in value.as_object().into_iter().flatten() {
                    if let Some(inner) = rule.get(key) {
                        validate(root, inner, value, &format!("{at}.{key}"))?;
                    }
                }
            }
            "additionalProperties" => {
                let known = schema["properties"].as_object();
                for key in value.as_object().into_iter().flat_map(|map| map.keys()) {
                    let is_known = known.is_some_and(|known| known.contains_key(key));
                    of(is_known || *rule != json!(false), &|| {
                        format!("without `{key}`")
                    })?;
                }
            }
            "required" => {
                for key in rule.as_array().unwrap() {
                    let there = value
                        .as_object()
                        .is_none_or(|map| map.contains_key(key.as_str().unwrap()));
                    of(there, &|| format!("with {key}"))?;
                }
            }
            "items" => {
                for (i, element) in value.as_array().into_iter().flatten().enumerate() {
                    let inner = match rule {
                        Value::Array(list) => &list[i.min(list.len() - 1)],
                        one => one,
                    };
                    validate(root, inner, element, &format!("{at}[{i}]"))?;
                }
            }
            "minItems" => {
                let enough = value
                    .as_array()
                    .is_none_or(|list| list.len() as u64 >= rule.as_u64().unwrap());
                of(enough, &|| format!("of {rule} elements"))?;
            }
            "maxItems" => {
                let few = value
                    .as_array()
                    .is_none_or(|list| list.len() as u64 <= rule.as_u64().unwrap());
                of(few, &|| format!("of {rule} elements"))?;
            }
            "enum" => of(rule.as_array().unwrap().contains(value), &|| {
                rule.to_string()
            })?,
            "const" => of(rule == value, &|| rule.to_string())?,
            "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" => {
                let (Some(value), limit) = number(rule) else {
                    continue;
                };
                let inside = match keyword.as_str() {
                    "minimum" => value >= limit,
                    "maximum" => value <= limit,
                    "exclusiveMinimum" => value > limit,
                    _ => value < limit,
                };
                of(inside, &|| format!("within {keyword} {limit}"))?;
            }
            other => panic!("{at}: keyword {other}"),
        }
    }
    Ok(())
}

fn json_of(text: &str) -> Value {
    let table: toml::Table = toml::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    serde_json::to_value(table).unwrap()
}

fn check(schema: &Value, text: &str) -> Result<(), String> {
    validate(schema, schema, &json_of(text), "")
}

#[test]
fn every_built_in_experiment_is_valid() {
    let schema = schema::experiment(&Registry::default());
    for name in builtin::names() {
        let text = builtin::text(name).unwrap();
        check(&schema, text).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

/// Blocks of TOML in the book are parts of experiments; those of other files say so by their first line.
#[test]
fn every_block_of_the_book_is_valid() {
    let mut schema = schema::experiment(&Registry::default());
    schema.as_object_mut().unwrap().remove("required");
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let mut blocks = 0;
    let mut wrong = Vec::new();
    for folder in [docs.clone(), docs.join("zh")] {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "md") {
                continue;
            }
            let page = fs::read_to_string(&path).unwrap();
            for block in page.split("```toml\n").skip(1) {
                let text = block.split("```").next().unwrap();
                if text.starts_with("# Cargo.toml") {
                    continue;
                }
                // A block inside a list is indented.
                let text: Vec<&str> = text.lines().map(str::trim_start).collect();
                let text = text.join("\n");
                if let Err(error) = check(&schema, &text) {
                    wrong.push(format!(
                        "{}: {error}
{text}",
                        path.display()
                    ));
                }
                blocks += 1;
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(blocks > 10, "{blocks}");
}

#[test]
fn what_is_wrong_is_refused() {
    let schema = schema::experiment(&Registry::default());
    let text = |part: &str| format!("question = \"Which?\"\n{part}\n[[variants]]\nname = \"a\"\n");
    check(&schema, &text("train.optimizer.lr = 0.1")).unwrap();
    check(&schema, &text("train.loss = { label_smoothing = 0.1 }")).unwrap();
    check(&schema, &text("data.dataset = \"folder:photos\"")).unwrap();
    for (part, word) in [
        ("train.epoch = 1", "epoch"),
        ("train.epochs = -1", "minimum"),
        ("train.epochs = \"many\"", "integer"),
        ("train.optimizer = { name = \"sgdd\", lr = 0.1 }", "sgd"),
        (
            "train.optimizer = { name = \"adam\", momentum = 0.9 }",
            "momentum",
        ),
        ("data.transforms = [{ name = \"random-crop\" }]", "size"),
        (
            "data.transforms = [{ name = \"random-crop\", size = 32, pading = 4 }]",
            "pading",
        ),
        ("train.mix = { probability = 2.0 }", "maximum"),
        (
            "train.early_stopping = { monitor = \"accuracy\" }",
            "accuracy",
        ),
        ("train.schedule.warmup = { epoch = 1 }", "epoch"),
        ("claim = []", "claim"),
    ] {
        let error = check(&schema, &text(part)).unwrap_err();
        assert!(error.contains(word), "{part}: {error}");
    }
    assert!(
        check(&schema, "question = \"Which?\"")
            .unwrap_err()
            .contains("variants")
    );
}

#[test]
fn names_are_proposed_and_not_prescribed() {
    let schema = schema::experiment(&Registry::default());
    let names = |pointer: &str| schema.pointer(pointer).unwrap()["anyOf"][0]["enum"].to_string();
    assert!(names("/definitions/PartOfModel/properties/name").contains("\"resnet18\""));
    assert!(names("/definitions/PartOfModel/properties/pretrained").contains("\"convnext-tiny\""));
    assert!(names("/definitions/PartOfData/properties/dataset").contains("\"cifar10\""));
}

/// Puts `changes` into `table`, tables key by key.
fn merge(table: &mut toml::Table, changes: &toml::Table) {
    for (key, value) in changes {
        match (table.get_mut(key), value) {
            (Some(toml::Value::Table(old)), toml::Value::Table(new)) => merge(old, new),
            _ => {
                table.insert(key.clone(), value.clone());
            }
        }
    }
}

/// The recipes beside PyTorch's code, as parts of a whole one.
#[test]
fn recipes_beside_pytorch_are_read() {
    let base: toml::Table = toml::from_str(
        "question = \"Which?\"
        data = { dataset = \"cifar10\", transforms = [{ name = \"to-tensor\" }] }
        model = { name = \"cnn\" }
        train = { epochs = 3, batch_size = 8, optimizer = { name = \"adam\" } }
        variants = [{ name = \"a\" }]",
    )
    .unwrap();
    for name in ["coming-from-pytorch.md", "recipe.md"] {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
        let page = fs::read_to_string(docs.join(name)).unwrap();
        let mut blocks = 0;
        for block in page.split("```toml\n").skip(1) {
            let text = block.split("```").next().unwrap();
            let changes: toml::Table = toml::from_str(text).unwrap();
            let mut whole = base.clone();
            if changes
                .get("data")
                .is_some_and(|data| data.get("test_transforms").is_some())
            {
                whole["data"].as_table_mut().unwrap().remove("transforms");
            }
            merge(&mut whole, &changes);
            let whole = toml::to_string(&whole).unwrap();
            Experiment::parse("page", &whole, Tier::Full, &[])
                .unwrap_or_else(|error| panic!("{}\n{text}", error.message()));
            blocks += 1;
        }
        assert!(blocks >= 2, "{name}: {blocks}");
    }
}
