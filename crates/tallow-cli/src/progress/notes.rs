//! Progress of commands that train nothing.

use std::sync::Arc;

use tallow_datasets::ProgressFn;
use tallow_experiment::Progress;

use super::download::DownloadProgress;
use crate::console::status;

/// Notes and downloads on standard error.
pub struct Notes;

impl Progress for Notes {
    fn note(&mut self, text: &str) {
        status(text);
    }

    fn downloads(&self) -> Option<ProgressFn> {
        let progress = DownloadProgress::default();
        Some(Arc::new(move |p| progress.show(&p)))
    }
}
