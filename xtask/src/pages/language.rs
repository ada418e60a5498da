//! The two languages of the pages.

use std::path::Path;

use tallow_record::Verdict;

/// Language of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    English,
    Chinese,
}

impl Language {
    /// Pages below `zh` are Chinese.
    pub fn of(page: &Path) -> Self {
        match page.components().next() {
            Some(first) if first.as_os_str() == "zh" => Self::Chinese,
            _ => Self::English,
        }
    }

    /// The one of the two that is in this language.
    pub fn pick<T>(self, english: T, chinese: T) -> T {
        match self {
            Self::English => english,
            Self::Chinese => chinese,
        }
    }

    /// In place of a block whose experiment has no results.
    pub fn not_run(self) -> &'static str {
        self.pick("*(not run yet)*", "*（尚未运行）*")
    }

    /// Line below a table that names what has no results.
    pub fn not_run_yet(self, names: &[String]) -> String {
        let names = self.list(names);
        self.pick(
            format!("\nNot run yet: {names}.\n"),
            format!("\n尚未运行：{names}。\n"),
        )
    }

    /// Verdict of a statement.
    pub fn verdict(self, verdict: Verdict) -> &'static str {
        match verdict {
            Verdict::Holds => self.pick("holds", "成立"),
            Verdict::HoldsPartly => self.pick("holds partly", "部分成立"),
            Verdict::DoesNotHold => self.pick("does not hold", "不成立"),
            Verdict::Undecided => self.pick("undecided", "尚不能定"),
            Verdict::NotJudged => self.pick("not judged", "未判定"),
        }
    }

    /// Words one after the other.
    pub fn list(self, words: &[String]) -> String {
        words.join(self.pick(", ", "、"))
    }

    /// Clauses one after the other.
    pub fn clauses(self, clauses: &[String]) -> String {
        clauses.join(self.pick("; ", "；"))
    }
}
