//! Finding the marks in a page.
//!
//! ```text
//! <!-- tallow: KIND EXPERIMENT ... -->            a block, its marks on lines of their own
//! ...generated...
//! <!-- /tallow -->
//!
//! text <!-- tallow: value EXPERIMENT EXPRESSION FORMAT -->generated<!-- /tallow --> text
//! ```

use anyhow::{Error, Result, anyhow};

const OPEN: &str = "<!-- tallow:";
const END: &str = "-->";
const CLOSE: &str = "<!-- /tallow -->";

/// A mark's words.
pub enum Mark<'a> {
    /// On lines of its own.
    Block(&'a [&'a str]),
    /// In a line.
    Inline(&'a [&'a str]),
}

/// The page with what `make` gives for each mark, or all that is wrong, each with its line from 1. Marks in code are text.
pub fn rewrite(
    text: &str,
    mut make: impl FnMut(Mark<'_>) -> Result<String>,
) -> Result<String, Vec<(usize, Error)>> {
    let mut out = String::with_capacity(text.len());
    let mut errors = Vec::new();
    let mut fence: Option<&str> = None;
    let mut lines = text.split_inclusive('\n').enumerate();
    while let Some((number, line)) = lines.next() {
        let trimmed = line.trim();
        if let Some(mark) = fence_of(trimmed) {
            match fence {
                None => fence = Some(mark),
                Some(open) if open == mark => fence = None,
                Some(_) => {}
            }
        }
        if fence.is_some() || !line.contains("tallow") {
            out.push_str(line);
            continue;
        }
        let result = match block_words(trimmed) {
            Some(words) => {
                let end = lines.by_ref().find(|(_, line)| {
                    let line = line.trim();
                    line == CLOSE || block_words(line).is_some()
                });
                match end {
                    Some((_, close)) if close.trim() == CLOSE => {
                        make(Mark::Block(&words)).map(|made| {
                            // Markdown takes a line for HTML that follows a comment; an empty one ends that.
                            format!("{}\n\n{}\n\n{}", line.trim_end(), made.trim(), close)
                        })
                    }
                    _ => Err(anyhow!("`{trimmed}` has no `{CLOSE}` after it")),
                }
            }
            None => rewrite_line(line, &mut make),
        };
        match result {
            Ok(made) => out.push_str(&made),
            Err(error) => errors.push((number + 1, error)),
        }
    }
    if errors.is_empty() {
        Ok(out)
    } else {
        Err(errors)
    }
}

/// Fence of a code block.
fn fence_of(line: &str) -> Option<&'static str> {
    ["```", "~~~"]
        .into_iter()
        .find(|mark| line.starts_with(mark))
}

/// The words of a line that is a block's first mark and nothing else.
fn block_words(line: &str) -> Option<Vec<&str>> {
    let inside = line.strip_prefix(OPEN)?.strip_suffix(END)?;
    (!inside.contains(END)).then(|| inside.split_whitespace().collect())
}

/// A line with the marks in it.
fn rewrite_line(line: &str, make: &mut impl FnMut(Mark<'_>) -> Result<String>) -> Result<String> {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find(OPEN).into_iter().chain(rest.find(CLOSE)).min() {
        let is_code = (out.matches('`').count() + rest[..at].matches('`').count()) % 2 == 1;
        if is_code {
            let end = at + OPEN.len().min(rest.len() - at);
            out.push_str(&rest[..end]);
            rest = &rest[end..];
            continue;
        }
        if rest[at..].starts_with(CLOSE) {
            return Err(anyhow!("`{CLOSE}` without a mark before it"));
        }
        out.push_str(&rest[..at]);
        if out
            .trim_matches(|c: char| c.is_whitespace() || "-*+>".contains(c))
            .is_empty()
        {
            return Err(anyhow!(
                "a line begins with a mark: Markdown takes the line for HTML; put a word before it"
            ));
        }
        let after = &rest[at + OPEN.len()..];
        let parts = after
            .split_once(END)
            .and_then(|(words, after)| Some((words, after.split_once(CLOSE)?.1)));
        let Some((words, after)) = parts else {
            return Err(anyhow!(
                "a mark in a line has no `{CLOSE}` in the same line"
            ));
        };
        let list: Vec<&str> = words.split_whitespace().collect();
        let made = make(Mark::Inline(&list))?;
        out.push_str(&format!("{OPEN} {} {END}{made}{CLOSE}", list.join(" ")));
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(text: &str) -> String {
        let make = |mark: Mark<'_>| {
            Ok(match mark {
                Mark::Block(words) => format!("[{}]", words.join("+")),
                Mark::Inline(words) => words.join("+"),
            })
        };
        rewrite(text, make).unwrap_or_else(|errors| {
            errors
                .iter()
                .map(|(line, error)| format!("{line}: {error}\n"))
                .collect()
        })
    }

    #[test]
    fn blocks_and_values() {
        let page = "# A\n<!-- tallow: results a b -->\nold\nolder\n<!-- /tallow -->\nIt is <!-- tallow: value a b - c d -->1 %<!-- /tallow -->, or <!-- tallow: value e -->—<!-- /tallow -->.\n";
        let expected = "# A\n<!-- tallow: results a b -->\n\n[results+a+b]\n\n<!-- /tallow -->\nIt is <!-- tallow: value a b - c d -->value+a+b+-+c+d<!-- /tallow -->, or <!-- tallow: value e -->value+e<!-- /tallow -->.\n";
        assert_eq!(made(page), expected);
        assert_eq!(made(expected), expected);
        let table = "| a | <!-- tallow: value x -->1<!-- /tallow --> |\n";
        assert_eq!(made(table), table.replace(">1<", ">value+x<"));
    }

    #[test]
    fn code_is_text() {
        for text in [
            "```\n<!-- tallow: results a -->\n<!-- /tallow -->\n```\n",
            "Write `<!-- tallow: value a -->` and `<!-- /tallow -->`.\n",
            "Nothing to see.\n<!-- a comment -->\n",
        ] {
            assert_eq!(made(text), text);
        }
    }

    #[test]
    fn what_is_wrong_has_its_line() {
        assert_eq!(
            made("\n<!-- tallow: results a -->\nx\n"),
            "2: `<!-- tallow: results a -->` has no `<!-- /tallow -->` after it\n"
        );
        assert!(
            made("<!-- tallow: a -->\n<!-- tallow: b -->\n<!-- /tallow -->\n").starts_with("1: ")
        );
        assert!(made("a <!-- tallow: value a -->\n").contains("1: a mark in a line"));
        assert!(made("a\n<!-- /tallow -->\n").contains("2: "));
        assert!(made("- <!-- tallow: value a -->1<!-- /tallow -->\n").contains("HTML"));
    }
}
