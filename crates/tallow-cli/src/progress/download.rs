//! Progress of downloads: bars on a terminal, a line for each file elsewhere.

use std::sync::{Mutex, PoisonError};

use indicatif::{HumanBytes, ProgressBar};
use tallow_datasets::Progress;

use super::bars::style;
use super::terminal::plain;
use crate::console::status;

/// Display of downloads.
#[derive(Default)]
pub struct DownloadProgress(Mutex<Option<(String, ProgressBar)>>);

impl DownloadProgress {
    /// Shows the progress of a file: a bar on a terminal, one line elsewhere.
    pub fn show(&self, progress: &Progress) {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = current
            .as_ref()
            .is_some_and(|(file, _)| *file == progress.file);
        if !same {
            if let Some((_, bar)) = current.take() {
                bar.finish();
            }
            let bar = if !plain() {
                ProgressBar::no_length().with_style(style(
                    "downloading {prefix} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec}",
                ))
            } else {
                let size = progress.total.map(|n| format!(" ({})", HumanBytes(n)));
                status!("downloading {}{}", progress.file, size.unwrap_or_default());
                ProgressBar::hidden()
            };
            bar.set_prefix(progress.file.clone());
            *current = Some((progress.file.clone(), bar));
        }
        if let Some((_, bar)) = current.as_ref() {
            if let Some(total) = progress.total {
                bar.set_length(total);
            }
            bar.set_position(progress.done);
            if progress.total == Some(progress.done) {
                bar.finish();
            }
        }
    }
}
