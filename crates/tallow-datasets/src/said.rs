//! Decoding of a dataset's pictures in words: for its provenance, and for the log.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::options::{Alpha, PictureOptions};
use crate::picture::PictureNote;

/// Notes on pictures that were logged already: each is logged once for a dataset.
#[derive(Debug, Default)]
pub(crate) struct Said {
    alpha: AtomicBool,
    frames: AtomicBool,
    high_byte: AtomicBool,
}

impl Said {
    /// Logs changes of the picture at `place` that may not be wanted.
    pub fn say(&self, place: impl Display, dataset: &str, notes: &[PictureNote]) {
        for note in notes {
            let said = match note {
                PictureNote::AlphaDropped | PictureNote::Blended(_) => &self.alpha,
                PictureNote::FirstFrame => &self.frames,
                PictureNote::HighByte => &self.high_byte,
                _ => continue,
            };
            if !said.swap(true, Ordering::Relaxed) {
                tracing::warn!("{place}: {note} (others of `{dataset}` are not reported)");
            }
        }
    }
}

/// Decoding with these options, in the words of a provenance.
pub(crate) fn decoding(options: &PictureOptions) -> String {
    let exif = match options.exif {
        true => "EXIF orientation applied",
        false => "EXIF orientation ignored",
    };
    let alpha = match options.alpha {
        Alpha::Drop => "alpha dropped",
        Alpha::Blend => "alpha blended",
    };
    format!("decoded by tallow-jpeg and image, {exif}, {alpha}")
}
