//! Worker process of `cargo xtask bench` with the system's allocator: Tallow as in a program that sets none, and candle.

#[path = "bench/worker/mod.rs"]
mod worker;

use std::alloc::System;
use std::process::ExitCode;

use clap::Parser;

/// Allocator of a program that sets none. Since it is named, a crate that sets another cannot be linked by mistake.
#[global_allocator]
static ALLOCATOR: System = System;

/// Worker process of `cargo xtask bench`; not for people.
#[derive(Parser, Debug)]
#[command(
    name = "bench-system",
    version,
    after_help = "Example: cargo xtask bench --against candle starts it"
)]
struct Cli {
    #[command(flatten)]
    worker: worker::WorkerArgs,
}

fn main() -> ExitCode {
    match worker::work(&Cli::parse().worker, None) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}
