//! Options of loading, and the progress of a download.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

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

/// Options of the decoding of picture files, the same in training, evaluation and prediction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct PictureOptions {
    /// Turn pictures as their EXIF orientation says. On by default.
    pub exif: bool,
    /// Treatment of the alpha channel.
    pub alpha: Alpha,
    /// Largest number of pixels of a picture, compared with its header before anything is allocated. 100 million by default.
    pub max_pixels: u64,
}

impl Default for PictureOptions {
    fn default() -> Self {
        Self {
            exif: true,
            alpha: Alpha::Drop,
            max_pixels: 100_000_000,
        }
    }
}

/// Treatment of the alpha channel of pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Alpha {
    /// Dropped, as by Pillow's `convert("RGB")`: transparent parts show whatever colour is stored there.
    #[default]
    Drop,
    /// Blended with white, or with black where the opaque parts are light.
    Blend,
}

/// Reading of the pictures of `parquet:PATH`: held in memory as they are stored, or streamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Streaming {
    /// Whether they are streamed. By default those of a split are where they take more than [`Streaming::HELD`] bytes: this depends on the
    /// files alone, not on the machine.
    pub on: Option<bool>,
    /// Bytes of pictures, as stored but not compressed by Parquet, that are shuffled together. Up to twice as many are in memory.
    pub window: u64,
}

impl Streaming {
    /// Most bytes of pictures that are held in memory by default: 1 GiB.
    pub const HELD: u64 = 1 << 30;

    /// Default [`window`](Streaming::window): 64 MiB.
    pub const WINDOW: u64 = 64 << 20;
}

impl Default for Streaming {
    fn default() -> Self {
        Self {
            on: None,
            window: Self::WINDOW,
        }
    }
}

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
    /// Decoding of the pictures of an image folder, a list, or `parquet:PATH`.
    pub pictures: PictureOptions,
    /// Reading of the pictures of `parquet:PATH`.
    pub streaming: Streaming,
}

impl LoadOptions {
    pub(crate) fn places(&self) -> Places {
        Places::new(self.data_dir.as_deref(), self.cache_dir.as_deref())
    }
}
