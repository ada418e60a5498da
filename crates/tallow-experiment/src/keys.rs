//! Merging of TOML tables, assignments `key=value`, and errors that name the key and the one that is meant.

use toml::{Table, Value};

use crate::error::{Error, Result};
use crate::model;
use crate::recipe::Recipe;
use crate::suggest;
use crate::wording::explain;

/// Assignment `key=value`, as of `--set`.
#[derive(Clone)]
pub(crate) struct Assignment {
    path: Vec<String>,
    value: Value,
    /// Text that names it in errors.
    label: String,
}

impl Assignment {
    /// Parses `train.epochs=1`. The value is TOML; anything else is text.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let Some((key, value)) = text.split_once('=') else {
            return Err(Error::Set(format!(
                "--set {text}: expected key=value, such as train.epochs=1"
            )));
        };
        let path: Vec<String> = key.trim().split('.').map(str::to_string).collect();
        if path.iter().any(String::is_empty) {
            return Err(Error::Set(format!(
                "--set {text}: `{key}` is not a key such as train.epochs"
            )));
        }
        let value = toml::from_str::<Table>(&format!("value = {value}"))
            .ok()
            .and_then(|mut table| table.remove("value"))
            .unwrap_or_else(|| Value::String(value.trim().to_string()));
        Ok(Self {
            path,
            value,
            label: format!("--set {text}"),
        })
    }

    /// Assignment of a value to a dotted key.
    pub(crate) fn of(key: &str, value: Value) -> Self {
        Self {
            path: key.split('.').map(str::to_string).collect(),
            label: format!("{key} = {value}"),
            value,
        }
    }

    /// Parses several.
    pub(crate) fn parse_all(texts: &[String]) -> Result<Vec<Self>> {
        texts.iter().map(|text| Self::parse(text)).collect()
    }

    /// The key, such as `train.epochs`.
    pub(crate) fn key(&self) -> String {
        self.path.join(".")
    }

    /// The value.
    pub(crate) fn value(&self) -> &Value {
        &self.value
    }

    /// The value inside the tables that its key names.
    fn nested(&self) -> (String, Value) {
        let mut path = self.path.iter().rev();
        let innermost = path.next().cloned().unwrap_or_default();
        path.fold((innermost, self.value.clone()), |(key, value), outer| {
            (
                outer.clone(),
                Value::Table(Table::from_iter([(key, value)])),
            )
        })
    }

    /// Works the value into `table`.
    ///
    /// A new `model.name` keeps the settings of the model that the other model takes too, and always
    /// `weights`, `pretrained` and `new_head`: weights of another network are refused when they are loaded.
    fn apply(&self, table: &mut Table) -> Result<()> {
        check_path(table, self)?;
        let (key, value) = self.nested();
        let model = match table.get("model") {
            Some(Value::Table(model)) if self.path == ["model", "name"] => model.clone(),
            _ => Table::new(),
        };
        merge(table, &key, value);
        if let (Some(Value::Table(new)), Value::String(name)) =
            (table.get_mut("model"), &self.value)
        {
            let kept = model::settings(name);
            for (key, value) in model {
                if kept.contains(&key.as_str()) {
                    new.entry(key).or_insert(value);
                }
            }
        }
        Ok(())
    }
}

/// Merges `value` into `table`: tables key by key, all else by replacement. A table with another `name`
/// than the one there (of a model, an optimizer, a loss) replaces it, because the settings of one mean nothing to the other.
pub(crate) fn merge(table: &mut Table, key: &str, value: Value) {
    let (Some(Value::Table(old)), Value::Table(new)) = (table.get_mut(key), &value) else {
        table.insert(key.to_string(), value);
        return;
    };
    if new
        .get("name")
        .is_some_and(|name| old.get("name") != Some(name))
    {
        table.insert(key.to_string(), value);
        return;
    }
    for (inner, value) in new.clone() {
        merge(old, &inner, value);
    }
}

/// Recipe of `table` after the assignments `sets`.
pub(crate) fn recipe(mut table: Table, sets: &[Assignment]) -> Result<Recipe> {
    let before = to_recipe(table.clone());
    for set in sets {
        if let Ok(before) = &before {
            add_defaults(&mut table, set, before);
        }
        set.apply(&mut table)?;
    }
    let mut recipe = to_recipe(table).map_err(|error| match before {
        // The file alone is valid, so one of the assignments is wrong.
        Ok(_) => explain_sets(sets, &error),
        Err(error) => Error::Recipe(explain(&error)),
    })?;
    recipe.fill_in()?;
    recipe.check()?;
    Ok(recipe)
}

/// Fills in a table with a `name` that the file leaves at its default and `set` changes a key of: `train.loss`, `train.schedule`.
fn add_defaults(table: &mut Table, set: &Assignment, recipe: &Recipe) {
    let [outer, inner, key] = &set.path[..] else {
        return;
    };
    let Ok(Value::Table(defaults)) = Value::try_from(recipe) else {
        return;
    };
    let default = defaults.get(outer).and_then(|table| table.get(inner));
    if let (Some(Value::Table(default)), Some(Value::Table(table))) =
        (default, table.get_mut(outer))
        && key != "name"
        && default.contains_key("name")
        && !table.contains_key(inner)
    {
        table.insert(inner.clone(), default.clone().into());
    }
}

/// The only deserialization of a recipe from TOML.
pub(crate) fn to_recipe(table: Table) -> Result<Recipe, String> {
    Value::Table(table)
        .try_into::<Recipe>()
        .map_err(|e| one_line(&e.to_string()))
}

/// A key cannot go through a value that is not a table.
fn check_path(table: &Table, set: &Assignment) -> Result<()> {
    let mut table = table;
    for (i, part) in set.path.iter().enumerate() {
        match table.get(part) {
            Some(Value::Table(inner)) => table = inner,
            Some(_) if i + 1 < set.path.len() => {
                return Err(Error::Set(format!(
                    "{}: `{}` is a value and has no `{}` inside",
                    set.label,
                    set.path[..=i].join("."),
                    set.path[i + 1]
                )));
            }
            _ => return Ok(()),
        }
    }
    Ok(())
}

/// Names the assignment that `error` is about, and the key that is meant.
fn explain_sets(sets: &[Assignment], error: &str) -> Error {
    if let Some((word, expected)) = suggest::parse_unknown(error) {
        if error.contains("unknown field")
            && let Some(set) = sets
                .iter()
                .rfind(|s| s.path.iter().any(|part| part == word))
        {
            let key = set.key();
            return Error::Set(match suggest::key_hint(&key, word, &expected) {
                Some(hint) => format!("unknown key `{key}`; {hint}"),
                None => format!("unknown key `{key}`; expected {}", expected.join(", ")),
            });
        }
        return Error::Set(explain(error));
    }
    let labels: Vec<&str> = sets.iter().map(|s| s.label.as_str()).collect();
    Error::Set(format!("{}: {}", labels.join(" "), explain(error)))
}

/// Message for an error of a whole file, which shows the line.
pub(crate) fn explain_file(error: &toml::de::Error) -> String {
    explain(error.to_string().trim_end())
}

/// Errors of toml put the name of their table on a line of its own.
fn one_line(error: &str) -> String {
    error.trim_end().replace("\n", " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Table {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn merges_by_key() {
        let mut base = table("[a]\nx = 1\ny = 2\nlist = [1, 2]");
        merge(&mut base, "a", table("y = 3\nlist = [4]\nz = 5").into());
        assert_eq!(base, table("[a]\nx = 1\ny = 3\nlist = [4]\nz = 5"));
    }

    #[test]
    fn another_name_replaces() {
        let mut base = table("[a]\nname = \"sgd\"\nlr = 1");
        merge(&mut base, "a", table("name = \"sgd\"\nmomentum = 2").into());
        assert_eq!(base, table("[a]\nname = \"sgd\"\nlr = 1\nmomentum = 2"));
        merge(&mut base, "a", table("name = \"adam\"").into());
        assert_eq!(base, table("[a]\nname = \"adam\""));
    }

    #[test]
    fn values_are_toml_or_text() {
        let value = |text: &str| Assignment::parse(text).unwrap().value;
        assert_eq!(value("k=1"), Value::Integer(1));
        assert_eq!(value("k=1e-3"), Value::Float(1e-3));
        assert_eq!(value("k=true"), Value::Boolean(true));
        assert_eq!(value("k=adam"), Value::String("adam".to_string()));
        assert_eq!(value("k=\"adam\""), Value::String("adam".to_string()));
        assert_eq!(value("k=[1,2]"), Value::Array(vec![1.into(), 2.into()]));
        assert_eq!(value("k=a=b"), Value::String("a=b".to_string()));
        assert!(Assignment::parse("k").is_err());
        assert!(Assignment::parse("a..b=1").is_err());
        assert!(Assignment::parse("=1").is_err());
    }
}
