//! Numbers as text, and text for the terminal.

use std::io::{IsTerminal, stdout};

use crossterm::terminal;

/// Width of text where standard output is no terminal.
const COLUMNS: usize = 100;

/// Widest lines of text, which are easier to read than those of a wide terminal.
const WIDEST: usize = 120;

/// A number of bytes in decimal units: `1.5 MB`.
pub fn size(bytes: u64) -> String {
    let value = bytes as f64;
    match bytes {
        ..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", value / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", value / 1e6),
        _ => format!("{:.1} GB", value / 1e9),
    }
}

/// Text in lines for the terminal that standard output is, all but the first with an indent. The first begins in that column.
pub fn wrapped(text: &str, indent: usize) -> String {
    let columns = match terminal::size() {
        Ok((columns, _)) if columns > 0 && stdout().is_terminal() => {
            usize::from(columns).min(WIDEST)
        }
        _ => COLUMNS,
    };
    wrapped_to(text, indent, columns)
}

fn wrapped_to(text: &str, indent: usize, columns: usize) -> String {
    let mut wrapped = String::new();
    let mut column = indent;
    for word in text.split_whitespace() {
        let width = word.chars().count();
        if column > indent && column + 1 + width > columns {
            wrapped.push('\n');
            wrapped.push_str(&" ".repeat(indent));
            column = indent;
        } else if column > indent {
            wrapped.push(' ');
            column += 1;
        }
        wrapped.push_str(word);
        column += width;
    }
    wrapped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(
            [12, 1_500, 2_000_000, 31_000_000_000].map(size),
            ["12 B", "1.5 kB", "2.0 MB", "31.0 GB"]
        );
    }

    #[test]
    fn lines_end_at_the_width() {
        assert_eq!(wrapped_to("one two three", 2, 9), "one two\n  three");
        assert_eq!(
            wrapped_to("incomprehensibilities", 2, 9),
            "incomprehensibilities"
        );
    }
}
