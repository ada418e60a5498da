#![doc = include_str!("../README.md")]

pub use tallow_datasets as datasets;
#[cfg(feature = "experiment")]
pub use tallow_experiment as experiment;
pub use tallow_metrics as metrics;
pub use tallow_models as models;
pub use tallow_ops as ops;
#[cfg(feature = "experiment")]
pub use tallow_record as record;
#[cfg(feature = "experiment")]
pub use tallow_regress as regress;
#[cfg(feature = "experiment")]
pub use tallow_report as report;
pub use tallow_train as train;
pub use tallow_transforms as transforms;

pub mod prelude;

/// The Rust code of the page for those who know PyTorch, compiled as documentation tests are.
#[cfg(all(doctest, feature = "experiment"))]
#[doc = include_str!("../../../docs/coming-from-pytorch.md")]
struct ComingFromPyTorch;
