//! Tests of the program `tallow`.

mod cli;
mod common;
mod doctor;
mod drawn_digits;
mod events;
mod export;
mod fine_tune;
#[cfg(unix)]
#[path = "../../../tallow-mpi/tests/it/launcher.rs"]
mod launcher;
mod mlflow_server;
#[cfg(unix)]
#[path = "../../../tallow-mpi/tests/it/network.rs"]
mod network;
mod own_pictures;
mod predict;
mod records;
mod regress;
mod regress_results;
mod report;
mod resume;
mod run;
mod sandbox;
mod scaling;
#[cfg(unix)]
mod screen;
mod streaming;
mod sweep;
mod tiers;
mod track;
mod trials;
mod weights;
