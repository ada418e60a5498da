//! Integration tests, in one binary.

mod batch;
mod batch_training;
mod checks;
mod chunks;
mod common;
mod device;
mod device_sums;
mod distillation;
mod extension;
mod finite;
mod fixtures;
mod kill;
mod losses;
#[cfg(feature = "cuda")]
mod nccl;
mod odd_data;
mod optimizers;
mod overlap;
mod ranks;
mod record;
mod resumption;
mod schedules;
mod steps;
mod sync;
mod training;
mod validation;
