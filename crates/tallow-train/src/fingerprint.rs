//! Settings that all ranks of a run must have in common.

use candle_core::Device;
use serde::Serialize;
use tallow_datasets::DataLoader;

use crate::callback::Monitor;
use crate::checkpoint::{Data, Setup};
use crate::config::TrainConfig;
use crate::error::Result;
use crate::ranks::Ranks;

/// Settings on which the weights depend, and the program.
#[derive(Serialize)]
struct Fingerprint<'a> {
    tallow: &'static str,
    rustc: &'static str,
    device: &'static str,
    threads: usize,
    train: &'a TrainConfig,
    own: &'a [String],
    data: &'a Data,
    validation: &'a Option<Data>,
    test: Option<Data>,
    restore_best: Option<Monitor>,
}

/// Checks that all ranks have the settings of `setup`, and the same test data, metric of the best weights, program, number of threads and kind
/// of device.
pub(crate) fn check_fingerprint(
    ranks: &Ranks,
    setup: &Setup,
    device: &Device,
    test: Option<&DataLoader>,
    restore_best: Option<Monitor>,
) -> Result<()> {
    if ranks.is_alone() {
        return Ok(());
    }
    ranks.check_same(&Fingerprint {
        tallow: env!("CARGO_PKG_VERSION"),
        rustc: env!("TALLOW_RUSTC"),
        device: match device {
            Device::Cpu => "cpu",
            Device::Cuda(_) => "cuda",
            Device::Metal(_) => "metal",
        },
        threads: rayon::current_num_threads(),
        train: &setup.config,
        own: &setup.own,
        data: &setup.data,
        validation: &setup.validation,
        test: test.map(Data::of),
        restore_best,
    })?;
    ranks.warn_of_instruction_sets()
}
