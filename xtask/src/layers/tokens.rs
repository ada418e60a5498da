//! Tokens of Rust source, as far as paths need them.
//!
//! Comments, literals, and items under `#[cfg(test)]` are left out. A full parser would need `syn` with its `full` and `visit`
//! features, which no other part of the workspace builds.

/// Token of a source file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// Identifier or keyword.
    Word(String),
    /// `::`.
    PathSeparator,
    /// Any other character.
    Symbol(char),
}

impl Token {
    /// Identifier or keyword, if it is one.
    pub fn word(&self) -> Option<&str> {
        match self {
            Self::Word(word) => Some(word),
            _ => None,
        }
    }

    /// Whether this is the character `c`.
    pub fn is(&self, c: char) -> bool {
        *self == Self::Symbol(c)
    }
}

/// Tokens of `text` without its tests.
pub fn tokens(text: &str) -> Vec<Token> {
    without_tests(&all(text))
}

fn all(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut i = 0;
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    while i < chars.len() {
        match chars[i] {
            '/' if at(i + 1) == '/' => {
                while i < chars.len() && chars[i] != '\n' {
                    i += 1;
                }
            }
            '/' if at(i + 1) == '*' => {
                let mut depth = 1;
                i += 2;
                while i < chars.len() && depth > 0 {
                    match (at(i), at(i + 1)) {
                        ('/', '*') => (depth, i) = (depth + 1, i + 2),
                        ('*', '/') => (depth, i) = (depth - 1, i + 2),
                        _ => i += 1,
                    }
                }
            }
            '"' => i = after_string(&chars, i + 1),
            'r' | 'b' if raw_hashes(&chars, i).is_some() => {
                let (start, hashes) = raw_hashes(&chars, i).unwrap_or((i + 1, 0));
                i = after_raw_string(&chars, start, hashes);
            }
            '\'' => i = after_quote(&chars, i),
            c if c.is_whitespace() => i += 1,
            c if c == '_' || c.is_alphabetic() => {
                let start = i;
                while at(i) == '_' || at(i).is_alphanumeric() {
                    i += 1;
                }
                tokens.push(Token::Word(chars[start..i].iter().collect()));
            }
            ':' if at(i + 1) == ':' => {
                tokens.push(Token::PathSeparator);
                i += 2;
            }
            c => {
                tokens.push(Token::Symbol(c));
                i += 1;
            }
        }
    }
    tokens
}

/// Index after a string whose text starts at `i`.
fn after_string(chars: &[char], mut i: usize) -> usize {
    while i < chars.len() && chars[i] != '"' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

/// Start of the text of a raw string at `i`, and its number of hashes.
fn raw_hashes(chars: &[char], mut i: usize) -> Option<(usize, usize)> {
    if i > 0 && (chars[i - 1] == '_' || chars[i - 1].is_alphanumeric()) {
        return None;
    }
    if chars[i] == 'b' {
        i += 1;
    }
    if chars.get(i) != Some(&'r') {
        return None;
    }
    let hashes = chars[i + 1..].iter().take_while(|&&c| c == '#').count();
    let quote = i + 1 + hashes;
    (chars.get(quote) == Some(&'"')).then_some((quote + 1, hashes))
}

fn after_raw_string(chars: &[char], mut i: usize, hashes: usize) -> usize {
    while i < chars.len() {
        if chars[i] == '"'
            && chars[i + 1..]
                .iter()
                .take(hashes)
                .filter(|&&c| c == '#')
                .count()
                == hashes
        {
            return i + 1 + hashes;
        }
        i += 1;
    }
    i
}

/// Index after a character literal, or after the quote of a lifetime.
fn after_quote(chars: &[char], i: usize) -> usize {
    match (chars.get(i + 1), chars.get(i + 2)) {
        (Some('\\'), _) => {
            let mut end = i + 3;
            while end < chars.len() && chars[end] != '\'' {
                end += 1;
            }
            end + 1
        }
        (Some(_), Some('\'')) => i + 3,
        _ => i + 1,
    }
}

/// Leaves out each item that follows `#[cfg(test)]`.
fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let mut kept = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        if is_cfg_test(&tokens[i..]) {
            i = after_item(tokens, i + 7);
        } else {
            kept.push(tokens[i].clone());
            i += 1;
        }
    }
    kept
}

/// Whether `tokens` start with `#[cfg(test)]`.
fn is_cfg_test(tokens: &[Token]) -> bool {
    let words = ["cfg", "test"];
    tokens.len() > 6
        && tokens[0].is('#')
        && tokens[1].is('[')
        && tokens[2].word() == Some(words[0])
        && tokens[3].is('(')
        && tokens[4].word() == Some(words[1])
        && tokens[5].is(')')
        && tokens[6].is(']')
}

/// Index after the item at `i`: its `;`, or the brace that closes it.
fn after_item(tokens: &[Token], mut i: usize) -> usize {
    let mut depth = 0usize;
    while i < tokens.len() {
        match &tokens[i] {
            Token::Symbol(';') if depth == 0 => return i + 1,
            Token::Symbol('{') => depth += 1,
            Token::Symbol('}') => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return i + 1;
                }
            }
            _ => {}
        }
        i += 1;
    }
    i
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let tokens = tokens(text);
        tokens
            .iter()
            .filter_map(Token::word)
            .map(str::to_string)
            .collect()
    }

    #[test]
    fn comments_literals_and_tests_are_left_out() {
        let text = r##"
            use a::b; // crate::c
            /* crate::d /* e */ f */
            const S: &str = "crate::g \" h";
            const R: &str = r#"crate::i " j"#;
            const C: char = '"'; const D: char = '\''; fn k<'l>(m: &'l str) {}
            #[cfg(test)]
            mod tests { use crate::n; fn o() { if p { } } }
            #[cfg(test)] use crate::q;
            fn r() {}
        "##;
        let found = words(text);
        for word in ["a", "b", "S", "R", "C", "D", "k", "l", "m", "r"] {
            assert!(found.contains(&word.to_string()), "{word}: {found:?}");
        }
        for word in [
            "c", "d", "e", "f", "g", "h", "i", "j", "n", "o", "p", "q", "tests",
        ] {
            assert!(!found.contains(&word.to_string()), "{word}: {found:?}");
        }
    }
}
