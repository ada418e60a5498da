#![doc = include_str!("../README.md")]

mod allocator;
mod app;
pub mod args;
mod command;
pub mod commands;
pub mod console;
mod continuation;
mod ending;
#[cfg(unix)]
mod guard;
mod interrupt;
mod log;
pub mod machine;
mod mlflow;
pub mod output;
mod program;
mod progress;
mod rank_log;
mod results_table;
mod resume;
mod runner;
pub mod table;
pub mod text;
mod world;

pub use app::{main, run};
pub use command::{Command, dispatch};
pub use ending::Ending;
pub use program::{Program, git_commit};
pub use tallow_experiment::Registry;
