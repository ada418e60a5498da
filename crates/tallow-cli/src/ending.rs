//! Outcome of a command that was no error, and its exit code.

use std::process::ExitCode;

/// Exit code of a program that was interrupted: 128 + SIGINT, as shells define it.
pub const INTERRUPTED: u8 = 130;

/// Exit code of a program that failed.
pub const FAILED: u8 = 2;

/// Outcome of a command that was no error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The command did its work, and all checks passed.
    Done,
    /// A claim does not hold, or a metric is worse than its baseline.
    ClaimFailed,
    /// A check of the repository failed: generated files are out of date, or a dependency breaks the layers.
    CheckFailed,
    /// A baseline belongs to other data or to another recipe, or some inputs could not be used and were reported.
    Refused,
    /// The user interrupted the command.
    Interrupted,
}

impl From<Ending> for ExitCode {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Done => Self::SUCCESS,
            Ending::ClaimFailed | Ending::CheckFailed => Self::from(1),
            Ending::Refused => Self::from(FAILED),
            Ending::Interrupted => Self::from(INTERRUPTED),
        }
    }
}
