//! JSON that reads well and changes little from one version to the next: what is short stays on one line.

use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::run::io;
use crate::{Error, Result};

/// Characters of a line.
const WIDTH: usize = 120;

/// Writes a value as such a file, in place of one that is there; its folder is made if need be.
pub fn write_json(path: impl AsRef<Path>, value: &impl Serialize) -> Result<()> {
    let path = path.as_ref();
    let text = serde_json::to_string(value).map_err(|error| Error::Json {
        path: path.to_path_buf(),
        line: error.line(),
        message: error.to_string(),
    })?;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(io(folder))?;
    }
    // Under another name first: what is half written is not to be taken for a result.
    let partial = path.with_extension("json.partial");
    fs::write(&partial, layout(&text)).map_err(io(&partial))?;
    fs::rename(&partial, path).map_err(io(path))
}

/// `json`, which has no spaces between its parts, with line breaks and indentation, and a line break at its end.
fn layout(json: &str) -> String {
    let mut out = String::with_capacity(2 * json.len());
    put(json, 0, 0, &mut out);
    out.push('\n');
    out
}

/// Appends `json`, which begins `column` characters into a line that is indented by `indent`.
fn put(json: &str, indent: usize, column: usize, out: &mut String) {
    let group = json.starts_with(['{', '[']);
    if !group || json.len() == 2 || column + spaced(json) <= WIDTH {
        return put_line(json, out);
    }
    out.push_str(&json[..1]);
    for (number, part) in parts(&json[1..json.len() - 1]).enumerate() {
        out.push_str(if number > 0 { ",\n" } else { "\n" });
        out.push_str(&" ".repeat(indent + 2));
        let (key, value) = part;
        let mut column = indent + 3;
        if !key.is_empty() {
            out.push_str(key);
            out.push_str(": ");
            column += key.chars().count() + 2;
        }
        put(value, indent + 2, column, out);
    }
    out.push('\n');
    out.push_str(&" ".repeat(indent));
    out.push_str(&json[json.len() - 1..]);
}

/// The characters of `json` on one line.
fn spaced(json: &str) -> usize {
    let mut line = String::new();
    put_line(json, &mut line);
    line.chars().count()
}

/// Appends `json` on one line, with a space after each comma and colon.
fn put_line(json: &str, out: &mut String) {
    let mut inside = Quotes::default();
    for c in json.chars() {
        out.push(c);
        if !inside.after(c) && (c == ',' || c == ':') {
            out.push(' ');
        }
    }
}

/// The parts of an object or array without its brackets, each with its key; an array's keys are empty.
fn parts(json: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = json;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (mut inside, mut depth, mut colon, mut end) = (Quotes::default(), 0, None, rest.len());
        for (at, c) in rest.char_indices() {
            if inside.after(c) {
                continue;
            }
            match c {
                '{' | '[' => depth += 1,
                '}' | ']' => depth -= 1,
                ':' if depth == 0 => colon = Some(at),
                ',' if depth == 0 => {
                    end = at;
                    break;
                }
                _ => {}
            }
        }
        let part = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or("");
        Some(match colon {
            Some(at) => (&part[..at], &part[at + 1..]),
            None => ("", part),
        })
    })
}

/// Whether a text is inside quotation marks.
#[derive(Default)]
struct Quotes {
    inside: bool,
    escaped: bool,
}

impl Quotes {
    /// Whether it is after this character.
    fn after(&mut self, c: char) -> bool {
        if self.escaped {
            self.escaped = false;
        } else if c == '"' {
            self.inside = !self.inside;
        } else if c == '\\' {
            self.escaped = self.inside;
        }
        self.inside
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn breaks_what_is_long_and_nothing_else() {
        let long = "x".repeat(110);
        let json = format!(r#"{{"a":[1,2],"b":{{"text":"{long}","none":null}},"empty":[]}}"#);
        let expected = format!(
            "{{\n  \"a\": [1, 2],\n  \"b\": {{\n    \"text\": \"{long}\",\n    \"none\": null\n  }},\n  \"empty\": []\n}}\n"
        );
        assert_eq!(layout(&json), expected);
        assert_eq!(layout(r#"{"a":1}"#), "{\"a\": 1}\n");
    }

    #[test]
    fn marks_in_strings_are_text() {
        let value = serde_json::json!({"a": ["x,y:{[", "\"\\", "成立\n", "b".repeat(130)], "c": {"d,\"": [[1], []]}});
        let text = layout(&value.to_string());
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&text).unwrap(),
            value
        );
        assert!(
            text.contains("    \"x,y:{[\",\n    \"\\\"\\\\\",\n"),
            "{text}"
        );
        assert!(
            text.contains("  \"c\": {\"d,\\\"\": [[1], []]}\n"),
            "{text}"
        );
    }
}
