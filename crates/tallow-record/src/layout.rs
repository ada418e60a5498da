//! JSON in which short arrays and objects are on one line, so that files read well and differ little between versions.

use std::cell::Cell;
use std::io::{self, Write};

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;

/// Characters of a line, the comma after it included.
const WIDTH: usize = 120;

/// Text of `value` as JSON, with a line end after it.
///
/// An array or object that fits in 120 characters is on one line; any other has one element per line, indented by two
/// spaces.
///
/// ```
/// let value = serde_json::json!({"short": [1, 2], "long": ["x".repeat(60), "y".repeat(60)]});
/// let text = tallow_record::to_json(&value)?;
/// assert!(text.starts_with("{\n  \"long\": [\n    \"xxx"));
/// assert!(text.ends_with("  \"short\": [1, 2]\n}\n"));
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn to_json(value: &impl Serialize) -> serde_json::Result<String> {
    // The value is written twice: on one line to measure its groups, then in the layout that follows from their widths.
    let column = Cell::new(0);
    let mut measure = Measure {
        column: &column,
        open: Vec::new(),
        widths: Vec::new(),
    };
    let mut nowhere = Columns {
        column: &column,
        out: io::sink(),
    };
    value.serialize(&mut Serializer::with_formatter(&mut nowhere, &mut measure))?;

    column.set(0);
    let layout = Layout {
        column: &column,
        widths: measure.widths.into_iter(),
        broken: Vec::new(),
    };
    let mut text = Columns {
        column: &column,
        out: Vec::new(),
    };
    value.serialize(&mut Serializer::with_formatter(&mut text, layout))?;
    text.out.push(b'\n');
    String::from_utf8(text.out).map_err(serde::ser::Error::custom)
}

/// Writer that counts the characters since the last line end.
struct Columns<'a, W> {
    column: &'a Cell<usize>,
    out: W,
}

impl<W: Write> Write for Columns<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for byte in bytes {
            match byte {
                b'\n' => self.column.set(0),
                // Bytes after the first one of a character.
                0x80..0xC0 => {}
                _ => self.column.set(self.column.get() + 1),
            }
        }
        self.out.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Formatter that writes everything on one line and measures each array and object.
struct Measure<'a> {
    column: &'a Cell<usize>,
    /// Groups that are open, as indices into `widths`.
    open: Vec<usize>,
    /// Width of each group, in the order in which they begin; the column of its start while it is open.
    widths: Vec<usize>,
}

impl Measure<'_> {
    fn begin<W: ?Sized + Write>(&mut self, writer: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.open.push(self.widths.len());
        self.widths.push(self.column.get());
        writer.write_all(bracket)
    }

    fn end<W: ?Sized + Write>(&mut self, writer: &mut W, bracket: &[u8]) -> io::Result<()> {
        writer.write_all(bracket)?;
        if let Some(group) = self.open.pop() {
            self.widths[group] = self.column.get() - self.widths[group];
        }
        Ok(())
    }

    fn element<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }
}

/// Formatter that breaks the groups that do not fit on a line.
struct Layout<'a> {
    column: &'a Cell<usize>,
    /// Widths of the groups that have not begun.
    widths: std::vec::IntoIter<usize>,
    /// For each open group, whether its elements have lines of their own.
    broken: Vec<bool>,
}

impl Layout<'_> {
    fn begin<W: ?Sized + Write>(&mut self, writer: &mut W, bracket: &[u8]) -> io::Result<()> {
        let width = self.widths.next().unwrap_or(0);
        let comma = usize::from(!self.broken.is_empty());
        // An empty group, of two characters, has nothing to break.
        let fits = width <= 2 || self.column.get() + width + comma <= WIDTH;
        self.broken.push(!fits);
        writer.write_all(bracket)
    }

    fn end<W: ?Sized + Write>(&mut self, writer: &mut W, bracket: &[u8]) -> io::Result<()> {
        if self.broken.pop() == Some(true) {
            self.new_line(writer)?;
        }
        writer.write_all(bracket)
    }

    fn element<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if self.broken.last() == Some(&true) {
            writer.write_all(if first { b"" } else { b"," })?;
            return self.new_line(writer);
        }
        writer.write_all(if first { b"" } else { b", " })
    }

    fn new_line<W: ?Sized + Write>(&self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b"\n")?;
        // A group on one line holds no broken one, so all open groups are broken.
        (0..self.broken.len()).try_for_each(|_| writer.write_all(b"  "))
    }
}

/// Passes what serde_json asks a formatter for on to `begin`, `end` and `element`.
macro_rules! formatter {
    ($name:ty) => {
        impl Formatter for $name {
            fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
                self.begin(writer, b"[")
            }

            fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
                self.end(writer, b"]")
            }

            fn begin_array_value<W: ?Sized + Write>(
                &mut self,
                writer: &mut W,
                first: bool,
            ) -> io::Result<()> {
                self.element(writer, first)
            }

            fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
                self.begin(writer, b"{")
            }

            fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
                self.end(writer, b"}")
            }

            fn begin_object_key<W: ?Sized + Write>(
                &mut self,
                writer: &mut W,
                first: bool,
            ) -> io::Result<()> {
                self.element(writer, first)
            }

            fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
                writer.write_all(b": ")
            }
        }
    };
}

formatter!(&mut Measure<'_>);
formatter!(Layout<'_>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn breaks_long_groups_only() {
        #[derive(Serialize)]
        struct Value<'a> {
            a: [u8; 2],
            b: Inner<'a>,
            empty: [u8; 0],
        }
        #[derive(Serialize)]
        struct Inner<'a> {
            text: &'a str,
            none: Option<u8>,
        }
        let long = "x".repeat(110);
        let value = Value {
            a: [1, 2],
            b: Inner {
                text: &long,
                none: None,
            },
            empty: [],
        };
        let expected = format!(
            "{{\n  \"a\": [1, 2],\n  \"b\": {{\n    \"text\": \"{long}\",\n    \"none\": null\n  }},\n  \"empty\": []\n}}\n"
        );
        assert_eq!(to_json(&value).unwrap(), expected);
        assert_eq!(
            to_json(&serde_json::json!({"a": 1})).unwrap(),
            "{\"a\": 1}\n"
        );
    }

    /// The outermost group may fill 120 characters; any other leaves room for the comma.
    #[test]
    fn width_of_a_line() {
        for (length, lines) in [(116, 1), (117, 3)] {
            let text = to_json(&["x".repeat(length)]).unwrap();
            assert_eq!(text.lines().count(), lines, "{text}");
        }
        for (length, lines) in [(113, 4), (114, 6)] {
            let text = to_json(&[vec!["é".repeat(length)], vec![]]).unwrap();
            assert_eq!(text.lines().count(), lines, "{text}");
        }
    }

    #[test]
    fn punctuation_in_strings_is_text() {
        let value = serde_json::json!({"a": ["x,y:{[", "\"\\", "成立\n", "b".repeat(130)], "c": {"d,\"": [[1], []]}});
        let text = to_json(&value).unwrap();
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
