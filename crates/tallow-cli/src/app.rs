//! The program `tallow`: its command line, and the frame of all programs with these commands.

use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, Parser};
use tallow_experiment::Registry;

use crate::command::{Command, dispatch};
use crate::console::status;
use crate::ending::{Ending, FAILED};
use crate::program::{self, Program};
use crate::progress::terminal;
use crate::{allocator, log, output};

/// Trains image classifiers from TOML recipes, and compares the results with published ones.
///
/// Exit codes: 0 success; 1 a claim failed, or a metric got worse; 2 bad input, missing data or another error; 130 interrupted.
/// RUST_LOG=debug prints the log of the libraries.
#[derive(Parser, Debug)]
#[command(
    name = "tallow",
    version,
    arg_required_else_help = true,
    after_help = "Example: {tallow} run quickstart"
)]
struct Cli {
    /// Subcommand.
    #[command(subcommand)]
    command: Command,
}

/// Runs the whole command line of `tallow` with these models: the `main` of `tallow` and of a program with its own models.
///
/// ```no_run
/// # use std::process::ExitCode;
/// fn main() -> ExitCode {
///     let models = tallow_cli::Registry::default();
///     // models.register("my-net", build);
///     tallow_cli::main(models)
/// }
/// ```
pub fn main(models: Registry) -> ExitCode {
    let program = Program::new(program::own_name(), Cli::command, models);
    let cli: Cli = program.parse();
    run(&program, cli.command.has_screen(), || {
        dispatch(&cli.command, &program)
    })
}

/// Sets up the allocator and the log, runs a command and prints its error. `has_screen` turns the colours of the log off.
pub fn run(
    program: &Program,
    has_screen: bool,
    command: impl FnOnce() -> Result<Ending>,
) -> ExitCode {
    allocator::keep_freed_memory();
    log::show(!terminal::plain() && terminal::colours() && !has_screen);
    match command() {
        Ok(ending) => ending.into(),
        Err(error) => {
            let message = program.message(&output::message(&error));
            status!("error: {message}");
            ExitCode::from(FAILED)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program() -> Program {
        Program::new("tallow", Cli::command, Registry::default())
    }

    #[test]
    fn the_command_line_is_consistent() {
        program().command().debug_assert();
    }

    #[test]
    fn every_command_has_an_example() {
        fn check(command: &clap::Command) {
            let help = command.get_after_help().map(ToString::to_string);
            assert!(
                help.is_some_and(|h| h.contains("Example") && h.contains("tallow ")),
                "{} has no example",
                command.get_name()
            );
            assert!(
                command.get_about().is_some(),
                "{} has no description",
                command.get_name()
            );
            command.get_subcommands().for_each(check);
        }
        check(&program().command());
    }
}
