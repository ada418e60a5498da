//! Names of classes in the metadata of Parquet files, as Hugging Face's `datasets` writes and reads them.

use parquet::file::metadata::KeyValue;
use serde_json::{Value, json};

/// Key of the metadata.
const KEY: &str = "huggingface";

/// Names of the classes of the column `label`, if the metadata of a file has them. The error says what was found instead.
pub(crate) fn read(
    metadata: Option<&Vec<KeyValue>>,
    label: &str,
) -> Result<Option<Vec<String>>, String> {
    let pair = metadata.and_then(|pairs| pairs.iter().find(|pair| pair.key == KEY));
    let Some(text) = pair.and_then(|pair| pair.value.as_deref()) else {
        return Ok(None);
    };
    let value: Value = serde_json::from_str(text)
        .map_err(|error| format!("metadata `{KEY}` that is not JSON ({error})"))?;
    let Some(names) = value["info"]["features"][label]["names"].as_array() else {
        return Ok(None);
    };
    let names: Option<Vec<String>> = names
        .iter()
        .map(|name| name.as_str().map(String::from))
        .collect();
    match names {
        Some(names) => Ok(Some(names).filter(|names| !names.is_empty())),
        None => Err(format!(
            "metadata `{KEY}` in which the name of a class is no text"
        )),
    }
}

/// Metadata of a file with images in the column `image` and labels of these classes in the column `label`.
pub(crate) fn metadata(classes: &[String]) -> KeyValue {
    let features = json!({
        "image": { "_type": "Image" },
        "label": { "names": classes, "_type": "ClassLabel" },
    });
    let text = json!({ "info": { "features": features } }).to_string();
    KeyValue::new(KEY.to_string(), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_and_damage_is_told() {
        let names = vec!["cat".to_string(), "猫".into()];
        let both = vec![
            KeyValue::new("other".into(), None::<String>),
            metadata(&names),
        ];
        assert_eq!(read(Some(&both), "label"), Ok(Some(names)));
        assert_eq!(read(Some(&both), "fine_label"), Ok(None));
        assert_eq!(read(None, "label"), Ok(None));
        let of = |text: &str| {
            let pairs = vec![KeyValue::new(KEY.into(), text.to_string())];
            read(Some(&pairs), "label")
        };
        // As older versions of `datasets` wrote it.
        let old = r#"{"info": {"features": {"label": {"num_classes": 2, "names": ["a", "b"], "id": null, "_type": "ClassLabel"}}}}"#;
        assert_eq!(of(old), Ok(Some(vec!["a".into(), "b".into()])));
        assert_eq!(of(r#"{"info": {}}"#), Ok(None));
        assert_eq!(of(&old.replace(r#"["a", "b"]"#, "[]")), Ok(None));
        assert!(of("{").unwrap_err().contains("not JSON"));
        let number = old.replace(r#""b""#, "7");
        assert!(of(&number).unwrap_err().contains("no text"));
    }
}
