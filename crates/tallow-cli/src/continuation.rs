//! Command that continues a run of several processes which has ended too early.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tallow_experiment::Invocation;
use tallow_experiment::report::shell_quoted;

/// Line where no command is known.
pub const SAME: &str =
    "to continue from the last checkpoint, if there is one: the same command again";

/// Facts of a run that are known before it starts, to find its record when it has ended too early.
#[derive(Clone, Debug)]
pub struct Continuation {
    /// The words that start the program.
    pub program: String,
    /// Folder of the run records.
    pub out: PathBuf,
    /// Folder of the run that is continued, if the user has named one.
    pub run: Option<PathBuf>,
    /// Arguments of the run, as the list of its runs has them; `None` where those of an earlier one count.
    pub arguments: Option<Value>,
}

impl Continuation {
    /// Line with the command that continues the run; `None` where no record of an unfinished run with these arguments is found, as on a
    /// machine without the disk of the first process.
    pub fn known(&self) -> Option<String> {
        self.folder().map(|folder| line(&self.program, &folder))
    }

    /// As [`known`](Self::known), or the word that the same command goes on.
    pub fn line(&self) -> String {
        self.known().unwrap_or_else(|| SAME.to_string())
    }

    fn folder(&self) -> Option<PathBuf> {
        let found = match &self.run {
            Some(run) => Invocation::of_run(run),
            None => Invocation::newest(&self.out),
        };
        let found = found.ok()??;
        if let Some(arguments) = &self.arguments
            && found.arguments != *arguments
        {
            return None;
        }
        found.interrupted().map(Path::to_path_buf)
    }
}

/// Line with the command that continues the run whose record is in this folder.
pub fn line(program: &str, folder: &Path) -> String {
    let folder = folder.display().to_string();
    format!(
        "to continue: {program} run --resume {}",
        shell_quoted(&folder)
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;

    #[test]
    fn the_record_of_an_unfinished_run_with_the_same_arguments_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("runs");
        let folder = out.join("exp").join("a");
        fs::create_dir_all(&folder).unwrap();
        let list = json!({
            "arguments": { "experiment": "exp" },
            "runs": [{ "config": "", "folder": folder }],
        });
        let file = out.join("exp").join("unfinished-20260131T000000Z.json");
        fs::write(file, list.to_string()).unwrap();
        let continuation = |arguments: Option<Value>, run: Option<PathBuf>| Continuation {
            program: "tallow".to_string(),
            out: out.clone(),
            run,
            arguments,
        };
        let same = continuation(Some(json!({ "experiment": "exp" })), None);
        let expected = line("tallow", &folder);
        assert!(expected.starts_with("to continue: tallow run --resume "));
        assert_eq!(same.known().as_ref(), Some(&expected));
        assert_eq!(same.line(), expected);
        let other = continuation(Some(json!({ "experiment": "other" })), None);
        assert_eq!(other.known(), None);
        assert_eq!(other.line(), SAME);
        let named = continuation(None, Some(folder.clone()));
        assert!(named.known().is_some());
        // Finished.
        fs::write(folder.join("summary.json"), "{}").unwrap();
        assert_eq!(same.known(), None);
        let nowhere = Continuation {
            out: dir.path().join("none"),
            ..same
        };
        assert_eq!(nowhere.known(), None);
    }
}
