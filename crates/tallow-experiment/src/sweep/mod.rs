//! Sweeps: many trials of one recipe, each with other settings, and the table of their results.
//!
//! The trials are a function of the file alone, and the state of a sweep is the run records of its trials: a sweep that was killed goes on
//! where it was, and its shards need no server.

mod draw;
mod file;
mod parameter;
mod plan;
mod records;
mod results;
mod rungs;
mod runner;
mod search;
mod shard;
mod standing;

pub(crate) use file::FileSweep;
pub use plan::{Sweep, Trial};
pub use results::{collect, write};
pub use rungs::Rung;
pub use runner::SweepOptions;
pub use search::Method;
pub(crate) use search::Search;
pub use shard::Shard;
