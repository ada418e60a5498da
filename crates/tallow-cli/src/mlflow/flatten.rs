//! A recipe as pairs of keys with dots and values.

use toml::{Table, Value};

/// Keys with dots and values of a table, in the order of the table. Tables in arrays have their index as key; all other arrays are one
/// value, as TOML writes them.
pub fn flattened(table: &Table) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    for (key, value) in table {
        push(key.clone(), value, &mut pairs);
    }
    pairs
}

fn push(key: String, value: &Value, pairs: &mut Vec<(String, String)>) {
    match value {
        Value::Table(table) if !table.is_empty() => {
            for (name, value) in table {
                push(format!("{key}.{name}"), value, pairs);
            }
        }
        Value::Array(values) if values.iter().any(Value::is_table) => {
            for (index, value) in values.iter().enumerate() {
                push(format!("{key}.{index}"), value, pairs);
            }
        }
        Value::String(text) => pairs.push((key, text.clone())),
        other => pairs.push((key, other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_dots_and_lists_of_numbers_are_one_value() {
        let table: Table = r#"
            seed = 3
            [data]
            dataset = "mnist"
            transforms = [{ name = "to-tensor" }, { name = "normalize", mean = [0.5, 1.0] }]
            [train]
            freeze = []
            rules = {}
            nesterov = true
            lr = 0.1
        "#
        .parse()
        .unwrap();
        let mut found = flattened(&table);
        found.sort();
        let expected = [
            ("data.dataset", "mnist"),
            ("data.transforms.0.name", "to-tensor"),
            ("data.transforms.1.mean", "[0.5, 1.0]"),
            ("data.transforms.1.name", "normalize"),
            ("seed", "3"),
            ("train.freeze", "[]"),
            ("train.lr", "0.1"),
            ("train.nesterov", "true"),
            ("train.rules", "{}"),
        ];
        assert_eq!(found, expected.map(|(k, v)| (k.to_string(), v.to_string())));
    }
}
