//! A page that is generated.

use std::path::Path;

use super::block::Block;
use super::language::Language;
use super::pictures::Pictures;
use super::store::Store;

/// A page, with everything that its marks may need.
pub struct Page<'a> {
    /// Path below the folder of the pages.
    pub name: &'a Path,
    /// Language of the page.
    pub language: Language,
    /// Results of all experiments.
    pub store: &'a Store,
    /// Pictures of all pages.
    pub pictures: &'a mut Pictures,
}

impl Page<'_> {
    /// Link from this page to a file below the folder of the pages, whose path has `/` between its parts.
    pub fn link(&self, to: &str) -> String {
        let from = self.name.parent().unwrap_or(Path::new(""));
        let from: Vec<String> = from
            .components()
            .map(|part| part.as_os_str().to_string_lossy().into_owned())
            .collect();
        let target: Vec<&str> = to.split('/').collect();
        let folders = &target[..target.len() - 1];
        let shared = from.iter().zip(folders).take_while(|(a, b)| a == *b);
        let shared = shared.count();
        format!(
            "{}{}",
            "../".repeat(from.len() - shared),
            target[shared..].join("/")
        )
    }

    /// Keeps a chart of `block`; returns the Markdown that shows it.
    pub fn picture(&mut self, block: &Block<'_>, kind: &str, svg: String, text: &str) -> String {
        // The variant of a confusion matrix is in its name.
        let variants = if kind.starts_with("confusion") {
            &[][..]
        } else {
            &block.variants[..]
        };
        let stem = format!("{}-{kind}", block.name);
        let path = self.pictures.keep(&stem, variants, &svg);
        image(text, &self.link(&path))
    }
}

/// Markdown of an image, without the characters of `text` that have a meaning there.
pub fn image(text: &str, link: &str) -> String {
    let text: String = text
        .chars()
        .filter(|c| !matches!(c, '[' | ']' | '\n'))
        .collect();
    format!("![{text}]({link})")
}
