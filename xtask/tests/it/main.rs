//! Tests of the chores of `cargo xtask`.

mod bench;
mod claims;
mod cli;
mod common;
mod docs;
mod equivalence;
mod features;
mod mutations;
mod own_pages;
mod reference;
mod repeats;
#[path = "../../../crates/tallow-cli/tests/it/sandbox.rs"]
mod sandbox;
