//! Errors of serde in the words of a recipe.

use crate::reference;
use crate::suggest::{self, place};

/// Message for an error of serde or of toml, in the words of a recipe: what is wrong and where, then what is meant or expected.
pub(crate) fn explain(error: &str) -> String {
    match suggest::parse_unknown(error) {
        Some((word, expected)) => unknown(error, word, &expected),
        None => wrong_value(error).replace("missing field `", "missing key `"),
    }
}

/// Message about an unknown key or name. Where what is meant is known, it comes before what else there is.
fn unknown(error: &str, word: &str, expected: &[&str]) -> String {
    let (message, key) = place(error);
    let is_key = message.contains("unknown field `");
    let starts = ["unknown field `", "unknown variant `"];
    let start = starts.iter().find_map(|start| message.find(start));
    let before = &message[..start.unwrap_or(0)];
    let inside = key.map_or(String::new(), |key| format!(" in `{key}`"));
    let all = expected.join(", ");
    // serde's words are those of Rust; a variant is something else here.
    match is_key {
        true => match suggest::key_hint(word, word, expected) {
            Some(hint) => format!("{before}unknown key `{word}`{inside}; {hint}"),
            None => format!("{before}unknown key `{word}`{inside}; expected one of {all}"),
        },
        false => match suggest::name_hint(word, expected) {
            Some(hint) => format!("{before}unknown name `{word}`{inside}; {hint} (known: {all})"),
            None => format!("{before}unknown name `{word}`{inside}; expected one of {all}"),
        },
    }
}

/// Message about a value of a wrong kind, which serde calls an invalid type or value.
fn wrong_value(error: &str) -> String {
    let (message, key) = place(error);
    let starts = ["invalid type: ", "invalid value: "];
    let parts = starts.iter().find_map(|start| {
        let (before, rest) = message.split_once(start)?;
        let (found, expected) = rest.rsplit_once(", expected ")?;
        Some((before, found, expected))
    });
    let Some((before, found, expected)) = parts else {
        return error.to_string();
    };
    let (found, expected) = (found_words(found), expected_words(expected));
    let Some(key) = key else {
        return format!("{before}expected {expected}, found {found}");
    };
    let more = match reference::find(key).is_empty() {
        false => format!("; `tallow recipe {key}` describes it"),
        true => String::new(),
    };
    format!("{before}`{key}`: expected {expected}, found {found}{more}")
}

/// Value that was found, as serde describes it, in words.
fn found_words(found: &str) -> String {
    let value = |kind: &str| {
        let value = found.strip_prefix(kind)?.strip_prefix(" `")?;
        value.strip_suffix('`')
    };
    if let Some(text) = found.strip_prefix("string ") {
        return format!("the text {text}");
    }
    let kinds = ["integer", "floating point", "boolean"];
    if let Some(value) = kinds.into_iter().find_map(value) {
        return value.to_string();
    }
    match found {
        "map" => "a table".to_string(),
        "sequence" => "a list".to_string(),
        // What toml says of a value that is not the name of a case.
        "unit variant" => "another kind of value".to_string(),
        other => other.to_string(),
    }
}

/// Kind of value that was expected, as serde describes it, in words.
fn expected_words(expected: &str) -> &str {
    match expected {
        "usize" | "u8" | "u16" | "u32" | "u64" => "a whole number of at least 0",
        "isize" | "i8" | "i16" | "i32" | "i64" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        // The second is of enumerations.
        "a string" | "string only" => "a text",
        "a sequence" => "a list",
        "a map" => "a table",
        other if other.starts_with("struct ") => "a table",
        other if other.starts_with("internally tagged enum ") => "a table with a `name`",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_value_is_told_without_words_of_rust() {
        for (error, expected) in [
            (
                "invalid type: string \"many\", expected usize in `train.epochs`",
                "`train.epochs`: expected a whole number of at least 0, found the text \"many\"; `tallow recipe train.epochs` describes it",
            ),
            (
                "invalid value: integer `-1`, expected usize",
                "expected a whole number of at least 0, found -1",
            ),
            (
                "invalid type: integer `3`, expected struct Stopping in `train.early_stopping`",
                "`train.early_stopping`: expected a table, found 3; `tallow recipe train.early_stopping` describes it",
            ),
            (
                "invalid type: map, expected f64 in `no.such.key`",
                "`no.such.key`: expected a number, found a table",
            ),
            (
                "line 3\ninvalid type: sequence, expected a boolean",
                "line 3\nexpected true or false, found a list",
            ),
            ("missing field `lr`", "missing key `lr`"),
            ("something else", "something else"),
        ] {
            assert_eq!(explain(error), expected);
        }
    }

    #[test]
    fn what_is_meant_comes_first() {
        assert_eq!(
            explain("unknown field `epocs`, expected one of `epochs`, `loss` in `train`"),
            "unknown key `epocs` in `train`; did you mean `epochs`?"
        );
        assert_eq!(
            explain("line 3\nunknown field `zebra`, expected `epochs` or `loss`"),
            "line 3\nunknown key `zebra`; expected one of epochs, loss"
        );
        assert_eq!(
            explain("unknown variant `sgdd`, expected `sgd` or `adam` in `train.optimizer`"),
            "unknown name `sgdd` in `train.optimizer`; did you mean `sgd`? (known: sgd, adam)"
        );
    }
}
