//! Settings that differ, for messages.

use serde::Serialize;
use serde_json::Value;

/// Settings that differ between `before` and `after`, as `epochs 40 -> 50, optimizer.lr 0.1 -> 0.2`.
pub(crate) fn differences<T: Serialize>(before: &T, after: &T) -> String {
    let value = |settings| serde_json::to_value(settings).unwrap_or_default();
    let mut found = Vec::new();
    compare("", Some(&value(before)), Some(&value(after)), &mut found);
    found.join(", ")
}

fn compare(path: &str, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<String>) {
    match (before, after) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            let added = b.keys().filter(|key| !a.contains_key(*key));
            for key in a.keys().chain(added) {
                let path = match path {
                    "" => key.clone(),
                    path => format!("{path}.{key}"),
                };
                compare(&path, a.get(key), b.get(key), found);
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                compare(&format!("{path}[{index}]"), Some(a), Some(b), found);
            }
        }
        (a, b) if a == b => {}
        (a, b) => found.push(format!("{path} {} -> {}", text(a), text(b))),
    }
}

fn text(value: Option<&Value>) -> String {
    value.map_or_else(|| "none".to_string(), Value::to_string)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_setting_is_named_with_both_values() {
        let before = json!({"epochs": 40, "optimizer": {"name": "sgd", "lr": 0.1}, "rules": [{"a": 1}, 2], "freeze": []});
        let after = json!({"epochs": 50, "optimizer": {"name": "sgd", "lr": 0.2}, "rules": [{"a": 3}, 2], "freeze": ["conv"], "max_steps": 7});
        assert_eq!(differences(&before, &before), "");
        let mut found: Vec<String> = differences(&before, &after)
            .split(", ")
            .map(String::from)
            .collect();
        found.sort();
        let expected = [
            "epochs 40 -> 50",
            "freeze [] -> [\"conv\"]",
            "max_steps none -> 7",
            "optimizer.lr 0.1 -> 0.2",
            "rules[0].a 1 -> 3",
        ];
        assert_eq!(found, expected);
    }
}
