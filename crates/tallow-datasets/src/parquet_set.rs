//! Parquet files of pictures of one's own, which may be larger than memory.

mod cache;
mod index;
mod layout;

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

use parquet::data_type::ByteArray;
use tallow_transforms::ImageRef;

use crate::arrays::check_classes;
use crate::blocks::Blocks;
use crate::dataset::{Dataset, DatasetInfo, Split};
use crate::error::{Error, Result};
use crate::folder;
use crate::options::{PictureOptions, Streaming};
use crate::picture::Opened;
use crate::said::{Said, decoding};
use cache::Cache;
use index::Index;
pub use layout::is_parquet;
pub(crate) use layout::shards_of;

/// Dataset of pictures in Parquet files in the layout of the Hugging Face hub, decoded when asked for.
///
/// The pictures are in a column `image` or `img`, a struct with `bytes` or plain bytes, the labels in a column `label`, `labels`, `fine_label` or
/// `fine_labels` of integers. The names of the classes are those that Hugging Face's `datasets` keeps in the metadata of the
/// files; without them they are the numbers from 0 to the largest label of all splits. Every picture is converted to RGB as
/// [`decode_picture`](crate::decode_picture) does it, and pictures may differ in size.
///
/// When it is opened, the labels are read and the headers of all pages of pictures, which are checked against the file. The pictures
/// stay where they are. They are read in blocks of neighbouring rows, pages of about 1 MiB together, and
///
/// - either all that was read stays in memory, as it is stored, and orders are random as for any other dataset,
/// - or, where the dataset is [streamed](Streaming), the blocks that were read last do, up to two windows. Then [`Dataset::blocks`] tells a
///   [`DataLoader`](crate::DataLoader) to shuffle in windows.
///
/// The digest is the SHA-256 of the sizes of all pages of pictures and of the labels; it does not read the pictures. The same rows
/// in other shards have another one.
pub struct ParquetSet {
    info: DatasetInfo,
    index: Index,
    cache: Cache<Vec<ByteArray>>,
    /// Bytes that are shuffled together, of a dataset that is streamed.
    window: Option<u64>,
    options: PictureOptions,
    said: Said,
}

impl ParquetSet {
    /// Opens a split of the files in the folder `path`, or in its folder `data` or `default`: `train-00000-of-00002.parquet` and so on,
    /// `train.parquet`, or `train/0000.parquet` and so on; the same with `test`, and with `validation`, `val` or `valid`. Where there is no test
    /// split, the validation split is that. A single file `path` is a training split, as are its shards, `x-00000-of-00002.parquet` and so on
    /// for `x.parquet`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a split that is not there; for shards that are missing; for files that are damaged, without columns of
    /// pictures and labels, or with other classes than the first. It names the file and where it can the row.
    pub fn open(
        path: impl AsRef<Path>,
        split: Split,
        options: PictureOptions,
        streaming: Streaming,
    ) -> Result<Self> {
        let path = path.as_ref();
        let all = layout::splits(path)?;
        let Some((_, files)) = all.iter().find(|(which, _)| *which == split) else {
            let otherwise = match split {
                Split::Test => {
                    ", or `data.test = 0.2` in a recipe, which takes a fifth of the training pictures"
                }
                _ => "",
            };
            let expected = format!("Parquet files of a {split} split{otherwise}");
            let found: Vec<&str> = all.iter().map(|(which, _)| which.as_str()).collect();
            let found = format!("those of {}", found.join(" and "));
            return Err(Error::invalid(path, expected, found));
        };
        let mut shards = index::read(files)?;
        let names = shards.first_mut().and_then(|shard| shard.names.take());
        let bytes = index::bytes(&shards);
        let streamed = streaming.on.unwrap_or(bytes > Streaming::HELD);
        let window = streamed.then_some(streaming.window);
        let digest = index::digest(&shards);
        let index = Index::new(shards, window)?;
        let classes = match names {
            Some(names) => names,
            None => numbered(path, &all, split, index.labels())?,
        };
        let name = match path.is_dir() {
            true => folder::name(path),
            false => {
                let stem = path.file_stem().unwrap_or(path.as_os_str());
                stem.to_string_lossy().into_owned()
            }
        };
        let plural = if files.len() == 1 { "" } else { "s" };
        let how = match window {
            Some(window) => format!("streamed, shuffled in windows of {window} bytes"),
            None => "in memory".into(),
        };
        let info = DatasetInfo {
            provenance: format!(
                "{name} (parquet, {} file{plural}, {how}; {})",
                files.len(),
                decoding(&options)
            ),
            name,
            split,
            digest,
            classes,
        };
        // Threads at the boundary of two windows need both.
        let capacity = window.map_or(u64::MAX, |window| window.saturating_mul(2));
        Ok(Self {
            info,
            index,
            cache: Cache::new(capacity),
            window,
            options,
            said: Said::default(),
        })
    }

    /// Whether the pictures are streamed, and not held in memory.
    pub fn is_streamed(&self) -> bool {
        self.window.is_some()
    }
}

/// Parquet files of a split of the dataset at `path`; none for a split that is not there.
pub(crate) fn files(path: &Path, split: Split) -> Result<Vec<PathBuf>> {
    let all = layout::splits(path)?.into_iter();
    let mut own = all.filter(|(which, _)| *which == split);
    Ok(own.next().map(|(_, files)| files).unwrap_or_default())
}

/// Whether the dataset at `path` has a validation split beside its test split.
pub(crate) fn has_validation(path: &Path) -> Result<bool> {
    let all = layout::splits(path)?;
    Ok(all.iter().any(|(split, _)| *split == Split::Validation))
}

/// Numbers as the names of classes, up to the largest label of all splits; `labels` are those of `split`.
fn numbered(
    path: &Path,
    all: &[(Split, Vec<PathBuf>)],
    split: Split,
    labels: &[u32],
) -> Result<Vec<String>> {
    let mut splits = Vec::new();
    for (which, files) in all {
        let labels = match *which == split {
            true => labels.to_vec(),
            false => {
                let shards = index::read(files)?;
                shards.into_iter().flat_map(|shard| shard.labels).collect()
            }
        };
        splits.push((*which, labels));
    }
    check_classes(path, &splits)?;
    let all = splits.iter().flat_map(|(_, labels)| labels);
    let classes = all.max().map_or(0, |most| most + 1);
    Ok((0..classes).map(|class| class.to_string()).collect())
}

impl fmt::Debug for ParquetSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParquetSet")
            .field("info", &self.info)
            .field("len", &self.len())
            .field("window", &self.window)
            .finish_non_exhaustive()
    }
}

impl Dataset for ParquetSet {
    fn info(&self) -> &DatasetInfo {
        &self.info
    }

    fn len(&self) -> usize {
        self.index.labels().len()
    }

    /// Name of the file, and the row in it, counted from 0.
    fn name(&self, index: usize) -> Option<Cow<'_, str>> {
        let place = self.index.place(index)?;
        let file = place.path.file_name()?.to_string_lossy();
        Some(format!("{file}, row {}", place.file_row).into())
    }

    fn label(&self, index: usize) -> Result<u32> {
        let labels = self.index.labels();
        let len = labels.len();
        labels
            .get(index)
            .copied()
            .ok_or(Error::Index { index, len })
    }

    fn image<'a>(&'a self, index: usize, scratch: &'a mut Vec<u8>) -> Result<ImageRef<'a>> {
        let len = self.len();
        let place = (self.index.place(index)).ok_or(Error::Index { index, len })?;
        let (block, bytes) = (place.block, self.index.bytes(place.block));
        let pictures = (self.cache).get(block as u32, bytes, || self.index.read(block))?;
        let stored = pictures.get(place.row).map_or(&[][..], ByteArray::data);
        let decoded = Opened::new(stored, &self.options).and_then(|opened| opened.decode(scratch));
        let decoded = decoded.map_err(|source| Error::Row {
            path: place.path.to_path_buf(),
            row: place.file_row as u64,
            source,
        })?;
        self.said.say(
            format_args!("{}, row {}", place.path.display(), place.file_row),
            &self.info.name,
            &decoded.notes,
        );
        Ok(ImageRef {
            data: scratch,
            channels: 3,
            height: decoded.height,
            width: decoded.width,
        })
    }

    fn blocks(&self) -> Option<Blocks> {
        let window = self.window?;
        let (of, bytes) = self.index.blocks();
        Blocks::new(of, bytes, window).ok()
    }
}
