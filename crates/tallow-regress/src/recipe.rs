//! Comparison of recipes.

use serde_json::Value;

/// Recipe without the keys that change no result.
pub fn comparable(mut recipe: Value) -> Value {
    if let Some(train) = recipe.get_mut("train").and_then(Value::as_object_mut) {
        train.remove("workers");
    }
    recipe
}

/// Keys whose values differ, each as `key: new value, not old value`. A missing key equals `null`.
pub fn differences(before: &Value, now: &Value) -> Vec<String> {
    let mut found = Vec::new();
    collect(before, now, "", &mut found);
    found
}

fn collect(before: &Value, now: &Value, key: &str, found: &mut Vec<String>) {
    let join = |name: &str| match key {
        "" => name.to_string(),
        _ => format!("{key}.{name}"),
    };
    match (before, now) {
        (Value::Object(before), Value::Object(now)) => {
            for (name, value) in before {
                let other = now.get(name).unwrap_or(&Value::Null);
                collect(value, other, &join(name), found);
            }
            for (name, value) in now.iter().filter(|(name, _)| !before.contains_key(*name)) {
                collect(&Value::Null, value, &join(name), found);
            }
        }
        (before, now) if before != now => found.push(format!("{key}: {now}, not {before}")),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn workers_change_no_result() {
        let with = |workers| json!({"train": {"epochs": 1, "workers": workers}});
        assert_eq!(comparable(with(1)), comparable(with(4)));
    }

    #[test]
    fn names_every_key_that_differs() {
        let before = json!({"model": {"name": "cnn"}, "train": {"lr": 0.5, "epochs": 1}});
        let now =
            json!({"model": {"name": "cnn", "hidden": [8]}, "train": {"lr": 0.02, "epochs": 1}});
        assert_eq!(
            differences(&before, &now),
            ["model.hidden: [8], not null", "train.lr: 0.02, not 0.5"]
        );
        assert_eq!(differences(&now, &now), Vec::<String>::new());
    }
}
