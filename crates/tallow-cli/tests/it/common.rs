//! The program `tallow` in a sandbox.

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
}
