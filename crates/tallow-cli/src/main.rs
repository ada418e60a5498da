//! The program `tallow`.

use std::process::ExitCode;

fn main() -> ExitCode {
    tallow_cli::main(tallow_cli::Registry::default())
}
