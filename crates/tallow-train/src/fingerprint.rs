//! Settings that all ranks of a run must have in common.

use serde::Serialize;
use tallow_datasets::DataLoader;

use crate::checkpoint::{Data, Setup};
use crate::config::TrainConfig;
use crate::error::Result;
use crate::ranks::Ranks;

/// Settings on which the weights depend, and the program.
#[derive(Serialize)]
struct Fingerprint<'a> {
    tallow: &'static str,
    rustc: &'static str,
    threads: usize,
    train: &'a TrainConfig,
    own: &'a [String],
    data: &'a Data,
    validation: &'a Option<Data>,
    test: Option<Data>,
}

/// Checks that all ranks have the settings of `setup`, the same test data, program and number of threads.
pub(crate) fn check_fingerprint(
    ranks: &Ranks,
    setup: &Setup,
    test: Option<&DataLoader>,
) -> Result<()> {
    if ranks.is_alone() {
        return Ok(());
    }
    ranks.check_same(&Fingerprint {
        tallow: env!("CARGO_PKG_VERSION"),
        rustc: env!("TALLOW_RUSTC"),
        threads: rayon::current_num_threads(),
        train: &setup.config,
        own: &setup.own,
        data: &setup.data,
        validation: &setup.validation,
        test: test.map(Data::of),
    })?;
    ranks.warn_of_instruction_sets()
}
