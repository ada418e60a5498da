//! Integration tests, in one binary.

mod common;
mod device;
mod extension;
mod fixtures;
mod kill;
mod odd_data;
mod optimizers;
mod record;
mod steps;
mod training;
