//! Metrics of one run.

use std::collections::BTreeMap;

/// Metrics by name. `None` is a value that is `null` or not finite.
pub type Metrics = BTreeMap<String, Option<f64>>;

/// Metrics of one run of another program.
#[derive(Clone, Debug, PartialEq)]
pub struct ExternalRun {
    /// Name of the variant.
    pub variant: String,
    /// Random seed.
    pub seed: u64,
    /// Final metrics.
    pub metrics: Metrics,
    /// Folder or file, with its line, for messages.
    pub source: String,
}

/// Variant of a run that names none.
pub const DEFAULT_VARIANT: &str = "default";
