//! Writing of pictures as Parquet files in the layout of the Hugging Face hub.

mod shard;

use std::fs;
use std::path::{Path, PathBuf};

use crate::dataset::{Dataset, Split};
use crate::error::{Error, Result};
use crate::folder::{self, ImageFolder};
use crate::options::PictureOptions;
use crate::parquet_set::shards_of;
use crate::sampler::permutation;
use crate::unfinished::{Unfinished, check_free};

/// Options of [`pack`].
#[derive(Debug, Clone, Copy, Default)]
pub struct PackOptions {
    /// Bytes of pictures after which a file ends and another begins. By default there is one file for each split.
    pub shard_bytes: Option<u64>,
    /// Keep the order of the folder, one class after the other. By default the rows are shuffled, the same way each time.
    pub in_order: bool,
    /// Limits of a picture, whose header is read.
    pub pictures: PictureOptions,
}

/// Files as written by [`pack`].
#[derive(Debug, Clone)]
pub struct Packed {
    /// Number of pictures of each split.
    pub images: Vec<(Split, usize)>,
    /// The files, split by split.
    pub files: Vec<PathBuf>,
    /// Names of the classes, in the order of the labels.
    pub classes: Vec<String>,
}

/// Writes pictures of `folder:PATH` or `csv:PATH` as Parquet files: `out` itself, if its name ends with `.parquet` and there is a training
/// split alone, or `train-00000-of-00001.parquet` and so on in the folder `out`. Of several shards, the file `x.parquet` becomes
/// `x-00000-of-00002.parquet` and so on.
///
/// The files are those of Hugging Face's `datasets`: a column `image`, a struct of `bytes` and `path`, a column `label` of integers, and
/// the names of the classes in the metadata. The pictures are the bytes of their files, and are not compressed again; the path is that below
/// the folder. Row groups have about 32 MiB, pages half a MiB, so that `parquet:PATH` streams the files with a fine shuffle.
///
/// The rows are shuffled unless [`PackOptions::in_order`] is set: a reader that shuffles within a window, as any that streams, would
/// otherwise see few classes at a time. The header of each picture is read. Nothing is left where it fails.
///
/// # Errors
/// [`Error::Argument`] for another kind of dataset, where `out` exists, or where a file is to hold several splits; [`Error::Picture`] for a
/// file that is no picture, or is cut off; those of [`ImageFolder`]; [`Error::Io`].
pub fn pack(name: &str, out: impl AsRef<Path>, options: &PackOptions) -> Result<Packed> {
    let out = out.as_ref();
    if options.shard_bytes == Some(0) {
        return Err(Error::Argument(
            "shards of 0 bytes: expected a size, such as 500 MB".into(),
        ));
    }
    let sets = sets(name, options.pictures)?;
    let single = out.extension().is_some_and(|end| end == "parquet");
    match single {
        true => check_free_file(out, &sets)?,
        false => check_free(out)?,
    }
    let unfinished = Unfinished::new(out)?;
    let mut files = Vec::new();
    for (split, set) in &sets {
        let shards = write(unfinished.path(), *split, set, options)?;
        let count = shards.len();
        for (number, shard) in shards.into_iter().enumerate() {
            let place = match single {
                true if count == 1 => out.to_path_buf(),
                true => {
                    let stem = out.file_stem().unwrap_or_default().to_string_lossy();
                    out.with_file_name(shard_name(&stem, number, count))
                }
                false => {
                    let inside = unfinished.path();
                    inside.join(shard_name(split.as_str(), number, count))
                }
            };
            fs::rename(&shard, &place).map_err(|e| Error::io(&place, e))?;
            files.push(place);
        }
    }
    if !single {
        for file in &mut files {
            *file = out.join(file.file_name().unwrap_or_default());
        }
        unfinished.finish(out)?;
    }
    let classes = sets.first().map(|(_, set)| set.info().classes.clone());
    Ok(Packed {
        images: (sets.iter())
            .map(|(split, set)| (*split, set.len()))
            .collect(),
        files,
        classes: classes.unwrap_or_default(),
    })
}

/// Splits of a dataset in files of pictures.
fn sets(name: &str, pictures: PictureOptions) -> Result<Vec<(Split, ImageFolder)>> {
    let (root, lists) = match (name.strip_prefix("folder:"), name.strip_prefix("csv:")) {
        (Some(root), _) => (root, false),
        (None, Some(root)) => (root, true),
        (None, None) => {
            return Err(Error::Argument(format!(
                "`{name}`: expected pictures in files, folder:PATH or csv:PATH; `data export` writes other datasets as such a folder"
            )));
        }
    };
    let (folders, listed) = folder::splits(Path::new(root));
    let splits = if lists { listed } else { folders };
    if splits.is_empty() {
        // Folders of classes alone, or an error that says what is missing.
        let set = match lists {
            true => ImageFolder::open_list(root, Split::Train, pictures)?,
            false => ImageFolder::open_with(root, Split::Train, pictures)?,
        };
        return Ok(vec![(Split::Train, set)]);
    }
    let open = |split| {
        let set = match lists {
            true => ImageFolder::open_list(root, split, pictures),
            false => ImageFolder::open_split(root, split, pictures),
        };
        Ok((split, set?))
    };
    splits.into_iter().map(open).collect()
}

fn check_free_file(out: &Path, sets: &[(Split, ImageFolder)]) -> Result<()> {
    let refuse = |expected: &str, found: String| {
        let out = out.display();
        Err(Error::Argument(format!(
            "{out}: expected {expected}, found {found}"
        )))
    };
    if let [_, _, ..] = sets {
        let splits: Vec<&str> = sets.iter().map(|(split, _)| split.as_str()).collect();
        return refuse(
            "the name of a folder, for a file or more for each split",
            format!("the name of one file for the splits {}", splits.join(", ")),
        );
    }
    let free = "the name of a file that does not exist yet";
    if out.exists() {
        return refuse(free, "one that does; name another one".into());
    }
    // What is left of other shards would be taken for a part of these.
    match shards_of(out) {
        Ok(None) => Ok(()),
        Ok(Some(shards)) => refuse(
            free,
            format!("{} shards of it; name another one", shards.len()),
        ),
        Err(error) => refuse(free, format!("some of its shards ({error})")),
    }
}

fn shard_name(stem: &str, number: usize, count: usize) -> String {
    format!("{stem}-{number:05}-of-{count:05}.parquet")
}

/// Writes the shards of a split into a folder, under names of their own. Returns their paths.
fn write(
    folder: &Path,
    split: Split,
    set: &ImageFolder,
    options: &PackOptions,
) -> Result<Vec<PathBuf>> {
    let order = match options.in_order {
        true => (0..set.len()).collect(),
        false => {
            let stream = u64::from_le_bytes(*b"tallow.p");
            permutation(set.len(), [0, 0, split as u64, stream])
        }
    };
    let mut rows = order.into_iter().peekable();
    let mut shards = Vec::new();
    while rows.peek().is_some() {
        let path = folder.join(format!("{split} {}", shards.len()));
        let most = options.shard_bytes.unwrap_or(u64::MAX);
        shard::write(&path, set, &mut rows, most, &options.pictures)?;
        shards.push(path);
    }
    Ok(shards)
}
