//! The trait [`Dataset`] and the in-memory [`ImageSet`].

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tallow_transforms::ImageRef;

use crate::blocks::Blocks;
use crate::digest::hex;
use crate::error::{Error, Result};

/// Names of the validation split in names of files and folders, in order of preference. Where there is no test split, it is the test split.
#[cfg(feature = "pictures")]
pub(crate) const VALIDATION: [&str; 3] = ["val", "valid", "validation"];

/// Part of a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Training samples.
    Train,
    /// Test samples.
    Test,
    /// Validation samples. The datasets of the [`catalog`](crate::catalog) have none, folders of one's own may.
    Validation,
}

impl Split {
    /// Splits that every dataset has.
    pub const ALL: [Split; 2] = [Split::Train, Split::Test];

    /// `train`, `test` or `validation`.
    pub fn as_str(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Test => "test",
            Split::Validation => "validation",
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Split {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "train" => Ok(Split::Train),
            "test" => Ok(Split::Test),
            "validation" => Ok(Split::Validation),
            other => Err(Error::Argument(format!(
                "unknown split `{other}`: expected `train`, `validation` or `test`"
            ))),
        }
    }
}

/// Name, origin and classes of a dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetInfo {
    /// Name in the [`catalog`](crate::catalog), or of the folder it was read from.
    pub name: String,
    /// Part of the dataset.
    pub split: Split,
    /// Origin: name, format and, where it is known, whether the contents are the published ones, as in
    /// `mnist (IDX, original)` or `cifar10 jpeg-q75 (parquet)`.
    pub provenance: String,
    /// SHA-256 in hexadecimal: of shape, pixels and labels for an in-memory set (see [`ImageSet::from_parts`]); types that
    /// read lazily document their own. Empty when there is none.
    pub digest: String,
    /// Class names: label `k` means `classes[k]`.
    pub classes: Vec<String>,
}

impl DatasetInfo {
    /// Info of a custom dataset. Its provenance is the name; it has no digest.
    pub fn new<C: Into<String>>(
        name: impl Into<String>,
        split: Split,
        classes: impl IntoIterator<Item = C>,
    ) -> Self {
        let name = name.into();
        Self {
            provenance: format!("{name} (custom)"),
            name,
            split,
            digest: String::new(),
            classes: classes.into_iter().map(Into::into).collect(),
        }
    }
}

/// Dataset of labelled images with random access, as a map-style `torch.utils.data.Dataset`.
///
/// Threads of a [`DataLoader`](crate::DataLoader) share it, hence `Send + Sync` and `&self` everywhere. A custom dataset:
///
/// ```
/// use std::sync::Arc;
/// use tallow_datasets::{DataLoader, Dataset, DatasetInfo, ImageRef, LoaderConfig, Result, Split};
/// use tallow_transforms::{Compose, TransformConfig};
///
/// /// 100 grey images of 8 x 8: dark and light.
/// struct Flat(DatasetInfo);
///
/// impl Dataset for Flat {
///     fn info(&self) -> &DatasetInfo {
///         &self.0
///     }
///     fn len(&self) -> usize {
///         100
///     }
///     fn label(&self, index: usize) -> Result<u32> {
///         Ok((index % 2) as u32)
///     }
///     fn image<'a>(&'a self, index: usize, scratch: &'a mut Vec<u8>) -> Result<ImageRef<'a>> {
///         scratch.clear();
///         scratch.resize(8 * 8, if index % 2 == 0 { 20 } else { 230 });
///         Ok(ImageRef::new(scratch, 1, 8, 8)?)
///     }
/// }
///
/// let set = Flat(DatasetInfo::new("flat", Split::Train, ["dark", "light"]));
/// let transform = Compose::new(vec![TransformConfig::to_tensor()])?;
/// let loader = DataLoader::new(Arc::new(set), transform, LoaderConfig::default())?;
/// let batch = loader.epoch(0).next().unwrap()?;
/// assert_eq!(batch.images.dims(), [64, 1, 8, 8]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Dataset: Send + Sync {
    /// Name, split, provenance, digest and class names.
    fn info(&self) -> &DatasetInfo;

    /// Number of samples.
    fn len(&self) -> usize;

    /// True when there is no sample.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `(C, H, W)` when all images are known to share it. `None` by default.
    fn shape(&self) -> Option<(usize, usize, usize)> {
        None
    }

    /// Name of sample `index` for people, such as the path of its file: errors and lists of mistakes give it beside the index. `None` by
    /// default, and beyond the end.
    fn name(&self, _index: usize) -> Option<Cow<'_, str>> {
        None
    }

    /// Label of sample `index`, below `info().classes.len()`. [`Error::Index`] beyond the end.
    fn label(&self, index: usize) -> Result<u32>;

    /// Image `index`, `(C, H, W)`. In-memory sets lend their own memory and leave `scratch` alone;
    /// others decode into `scratch`, which callers reuse to save allocations. [`Error::Index`] beyond the end.
    fn image<'a>(&'a self, index: usize, scratch: &'a mut Vec<u8>) -> Result<ImageRef<'a>>;

    /// Blocks in which samples are read, where reading one sample reads others with it; `None` by default, where each is read by
    /// itself. A [`DataLoader`](crate::DataLoader) that shuffles keeps the samples of a block near each other:
    /// [`BlockSampler`](crate::BlockSampler).
    fn blocks(&self) -> Option<Blocks> {
        None
    }
}

/// Dataset in memory: `u8` images of one shape, `(N, C, H, W)`. Clones share the pixels.
#[derive(Clone)]
pub struct ImageSet(Arc<Inner>);

struct Inner {
    info: DatasetInfo,
    shape: (usize, usize, usize),
    pixels: Vec<u8>,
    labels: Vec<u32>,
}

impl ImageSet {
    /// Dataset from its parts: `pixels` is `(N, C, H, W)` for `shape = (C, H, W)` and N labels, each below
    /// `classes.len()`.
    ///
    /// The digest is the SHA-256 of `N, C, H, W` as little-endian `u64`, the pixels, then the labels as
    /// little-endian `u32`: the same images give the same digest whatever file format they came from.
    ///
    /// # Errors
    /// [`Error::Argument`] when the parts do not fit together.
    pub fn from_parts(
        name: impl Into<String>,
        split: Split,
        provenance: impl Into<String>,
        classes: Vec<String>,
        shape: (usize, usize, usize),
        pixels: Vec<u8>,
        labels: Vec<u32>,
    ) -> Result<Self> {
        let provenance = provenance.into();
        Self::described(name.into(), split, classes, shape, pixels, labels, |_| {
            Ok(provenance)
        })
    }

    /// As [`ImageSet::from_parts`], with a provenance that depends on the digest.
    pub(crate) fn described(
        name: String,
        split: Split,
        classes: Vec<String>,
        shape: (usize, usize, usize),
        pixels: Vec<u8>,
        labels: Vec<u32>,
        provenance: impl FnOnce(&str) -> Result<String>,
    ) -> Result<Self> {
        let (c, h, w) = shape;
        let size = c.checked_mul(h).and_then(|s| s.checked_mul(w)).unwrap_or(0);
        if size == 0 {
            return Err(Error::Argument(format!(
                "the shape {c}x{h}x{w} (C x H x W) has no pixel"
            )));
        }
        if labels.len().checked_mul(size) != Some(pixels.len()) {
            return Err(Error::Argument(format!(
                "{} labels and images of {c}x{h}x{w} need {} bytes of pixels, there are {}",
                labels.len(),
                labels.len() as u128 * size as u128,
                pixels.len()
            )));
        }
        if let Some(i) = labels.iter().position(|&l| l as usize >= classes.len()) {
            return Err(Error::Argument(format!(
                "sample {i} has label {}, there are {} classes",
                labels[i],
                classes.len()
            )));
        }
        let digest = digest(shape, &pixels, &labels);
        let provenance = provenance(&digest)?;
        let info = DatasetInfo {
            name,
            split,
            provenance,
            digest,
            classes,
        };
        Ok(Self(Arc::new(Inner {
            info,
            shape,
            pixels,
            labels,
        })))
    }

    /// All pixels, `(N, C, H, W)`.
    pub fn pixels(&self) -> &[u8] {
        &self.0.pixels
    }

    /// All labels.
    pub fn labels(&self) -> &[u32] {
        &self.0.labels
    }
}

impl fmt::Debug for ImageSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImageSet")
            .field("info", &self.0.info)
            .field("shape", &self.0.shape)
            .field("len", &self.0.labels.len())
            .finish()
    }
}

impl Dataset for ImageSet {
    fn info(&self) -> &DatasetInfo {
        &self.0.info
    }

    fn len(&self) -> usize {
        self.0.labels.len()
    }

    fn shape(&self) -> Option<(usize, usize, usize)> {
        Some(self.0.shape)
    }

    fn label(&self, index: usize) -> Result<u32> {
        let labels = &self.0.labels;
        labels.get(index).copied().ok_or(Error::Index {
            index,
            len: labels.len(),
        })
    }

    fn image<'a>(&'a self, index: usize, _scratch: &'a mut Vec<u8>) -> Result<ImageRef<'a>> {
        let len = self.len();
        if index >= len {
            return Err(Error::Index { index, len });
        }
        let (channels, height, width) = self.0.shape;
        let size = channels * height * width;
        let data = &self.0.pixels[index * size..][..size];
        Ok(ImageRef {
            data,
            channels,
            height,
            width,
        })
    }
}

fn digest((c, h, w): (usize, usize, usize), pixels: &[u8], labels: &[u32]) -> String {
    let mut hash = Sha256::new();
    for n in [labels.len(), c, h, w] {
        hash.update((n as u64).to_le_bytes());
    }
    hash.update(pixels);
    let labels: Vec<u8> = labels.iter().flat_map(|l| l.to_le_bytes()).collect();
    hash.update(&labels);
    hex(&hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pixels: Vec<u8>, labels: Vec<u32>) -> Result<ImageSet> {
        let classes = vec!["a".into(), "b".into()];
        ImageSet::from_parts(
            "t",
            Split::Train,
            "made up",
            classes,
            (1, 2, 3),
            pixels,
            labels,
        )
    }

    #[test]
    fn images_come_back_planar() {
        let set = set((0..12).collect(), vec![1, 0]).unwrap();
        let mut scratch = Vec::new();
        let image = set.image(1, &mut scratch).unwrap();
        assert_eq!((image.channels, image.height, image.width), (1, 2, 3));
        assert_eq!(image.data, [6, 7, 8, 9, 10, 11]);
        assert_eq!(set.label(0).unwrap(), 1);
        assert!(matches!(
            set.label(2),
            Err(Error::Index { index: 2, len: 2 })
        ));
        assert!(matches!(
            set.image(2, &mut scratch),
            Err(Error::Index { index: 2, len: 2 })
        ));
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        assert!(set(vec![0; 11], vec![0, 0]).is_err());
        assert!(set(vec![0; 12], vec![0, 2]).is_err());
        let none =
            ImageSet::from_parts("t", Split::Test, "", vec![], (0, 2, 3), vec![], Vec::new());
        assert!(none.is_err());
    }

    #[test]
    fn digest_covers_pixels_labels_and_shape() {
        let base = set((0..12).collect(), vec![0, 1]).unwrap();
        // hashlib.sha256(struct.pack("<4Q", 2, 1, 2, 3) + bytes(range(12)) + struct.pack("<2I", 0, 1))
        assert_eq!(
            base.info().digest,
            "7cb86df317558b58a5aaded0f51697d417d828d39279c673b5bfb8f18bb5c7da"
        );
        let other_label = set((0..12).collect(), vec![1, 1]).unwrap();
        let other_pixel = set((1..13).collect(), vec![0, 1]).unwrap();
        let other_shape = ImageSet::from_parts(
            "t",
            Split::Train,
            "made up",
            vec!["a".into(), "b".into()],
            (1, 3, 2),
            (0..12).collect(),
            vec![0, 1],
        )
        .unwrap();
        for other in [other_label, other_pixel, other_shape] {
            assert_ne!(base.info().digest, other.info().digest);
        }
    }
}
