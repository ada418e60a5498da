//! A table of `docs/formats.md`, made from what happens to a file of each kind.
//!
//! `TALLOW_WRITE_TABLES=1 cargo test -p CRATE formats` writes the tables of a crate into the page.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::sync::Mutex;

/// Outcome of reading a kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Its contents are used, and are right.
    Read,
    /// An error says what it is and why it is not read, or the file is named among those left out.
    Refused,
    /// Nothing is known about it.
    Unknown,
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Outcome::Read => "read",
            Outcome::Refused => "refused",
            Outcome::Unknown => "unknown",
        }
    }
}

/// Rows of a table.
pub struct Table {
    name: &'static str,
    text: String,
}

impl Table {
    pub fn new(name: &'static str) -> Self {
        let text = "| kind | outcome | details |\n| --- | --- | --- |\n".to_string();
        Self { name, text }
    }

    pub fn row(&mut self, kind: &str, outcome: Outcome, details: &str) {
        let cell = |text: &str| text.replace('|', "\\|").replace('\n', " ");
        let (kind, details) = (cell(kind), cell(details));
        writeln!(self.text, "| {kind} | {} | {details} |", outcome.word()).unwrap();
    }

    /// Compares the table with that of the page.
    pub fn check(&self) {
        /// Tests of one program share the page.
        static PAGE: Mutex<()> = Mutex::new(());
        let _only = PAGE.lock();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/formats.md");
        let page = fs::read_to_string(&path).unwrap();
        let (start, end) = (
            format!("<!-- table: {} -->\n", self.name),
            "<!-- /table -->",
        );
        let (before, rest) = page.split_once(&start).expect(&start);
        let (found, after) = rest.split_once(end).expect(end);
        if found == self.text {
            return;
        }
        if std::env::var_os("TALLOW_WRITE_TABLES").is_some() {
            let page = [before, &start, &self.text, end, after].concat();
            fs::write(path, page).unwrap();
            return;
        }
        let differs = |(a, b): &(&str, &str)| a != b;
        let lines = found.lines().chain([""]).zip(self.text.lines().chain([""]));
        panic!(
            "the table `{}` of docs/formats.md differs at {:?}; write it with TALLOW_WRITE_TABLES=1",
            self.name,
            lines.into_iter().find(differs)
        );
    }
}
