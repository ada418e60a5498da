//! Integration tests, in one binary.

mod checks;
mod common;
mod device;
mod distillation;
mod extension;
mod fixtures;
mod kill;
mod losses;
mod odd_data;
mod optimizers;
mod record;
mod schedules;
mod steps;
mod training;
mod validation;
