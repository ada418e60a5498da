//! `tallow regress`: regression test of accuracy and speed. `docs/regression.md` explains its rules.

mod args;
mod experiments;
mod external;
mod publish;

use anyhow::{Result, ensure};

use crate::ending::Ending;
use crate::program::Program;

pub use args::{EXAMPLES, RegressArgs};

/// Compares experiments, or results of another program, with their baselines; or makes new baselines.
pub fn regress(args: &RegressArgs, program: &Program) -> Result<Ending> {
    if let Some(reason) = &args.reason {
        ensure!(!reason.trim().is_empty(), "--reason is empty");
    }
    match args.results.is_empty() {
        true => experiments::regress(args, program),
        false => external::regress(args),
    }
}
