//! Options of loading, and the progress of a download.

use std::path::PathBuf;
use std::sync::Arc;

use crate::places::Places;

/// Progress of a download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Name of the file.
    pub file: String,
    /// Bytes received.
    pub done: u64,
    /// Size of the file in bytes, when the server states it.
    pub total: Option<u64>,
}

/// Function called with the progress of a download, from any thread.
pub type ProgressFn = Arc<dyn Fn(Progress) + Send + Sync>;

/// Options of [`load`](crate::load): places to search, download.
#[derive(Clone, Default)]
pub struct LoadOptions {
    /// Directory to search first: one that holds the dataset's folder, or that folder itself.
    pub data_dir: Option<PathBuf>,
    /// Download a dataset that is found nowhere. Off by default: nothing goes over the network unasked.
    pub download: bool,
    /// Receives the progress of a download.
    pub progress: Option<ProgressFn>,
    /// Cache directory; by default [`cache_dir`](crate::cache_dir).
    pub cache_dir: Option<PathBuf>,
    /// Leave EMNIST images transposed, as they are stored and as torchvision gives them. By default they
    /// are turned upright, so that they look like MNIST.
    pub emnist_as_stored: bool,
}

impl LoadOptions {
    pub(crate) fn places(&self) -> Places {
        Places::new(self.data_dir.as_deref(), self.cache_dir.as_deref())
    }
}
