//! The program `tallow` in a sandbox.

use std::fs;
use std::path::PathBuf;
use std::process::Command as Process;

use assert_cmd::Command;

pub use crate::sandbox::{Sandbox, skipped, stderr, stdout};

/// The program.
pub fn tallow() -> Command {
    assert_cmd::cargo::cargo_bin_cmd!("tallow")
}

impl Sandbox {
    /// The program, in here.
    pub fn tallow(&self) -> Command {
        self.enclose(tallow())
    }

    /// The program with these arguments, in here, as a process that can be killed.
    pub fn process(&self, args: &[&str]) -> Process {
        let mut command = Process::new(assert_cmd::cargo::cargo_bin!("tallow"));
        command
            .args(args)
            .current_dir(self.path())
            .envs(self.environment());
        command
    }

    /// Folders of the records of the experiment `exp` below `out`, the oldest first.
    pub fn records(&self, out: &str) -> Vec<PathBuf> {
        self.records_of("exp", out)
    }

    /// Folders of the records of an experiment below `out`, the oldest first.
    pub fn records_of(&self, experiment: &str, out: &str) -> Vec<PathBuf> {
        let folder = self.path().join(out).join(experiment);
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        found.retain(|path| path.join("environment.json").is_file());
        found.sort();
        found
    }
}

/// Name of the newest checkpoint of these records.
pub fn newest_checkpoint(records: &[PathBuf]) -> Option<String> {
    let mut names = Vec::new();
    for record in records {
        let entries = fs::read_dir(record.join("checkpoint"));
        let entries = entries.into_iter().flatten();
        let entries = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        names.extend(
            entries.filter(|name| name.starts_with("epoch-") && !name.ends_with(".unfinished")),
        );
    }
    names.into_iter().max()
}
