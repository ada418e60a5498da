//! Integration tests, in one binary.

mod common;
mod device;
mod extension;
mod fixtures;
mod kill;
mod record;
mod steps;
mod training;
