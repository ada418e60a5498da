//! Names of the Parquet files of a split, as the Hugging Face hub and its tools have given them over the years.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Name of a file, in words of its kind. The order is that of preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Shard {
    /// `train-00000-of-00002.parquet`, also with a fingerprint (`-b42d7ba5d9ec5ed5`) and after the name of the dataset.
    Of { number: usize, total: usize },
    /// `cifar10-train.parquet`.
    Whole,
    /// `train/0000.parquet`.
    Numbered(usize),
}

impl Shard {
    /// From a file's name; `inside` says that its folder has the name of the split.
    fn of(file: &str, dataset: &str, split: &str, inside: bool) -> Option<Self> {
        let stem = file.strip_suffix(".parquet")?;
        if inside && stem.len() >= 4 && stem.bytes().all(|b| b.is_ascii_digit()) {
            return Some(Shard::Numbered(stem.parse().ok()?));
        }
        let known = |prefix: &str| prefix.replace('_', "-") == dataset;
        let (name, rest) = match stem.split_once("-of-") {
            Some((front, total)) => {
                let (name, number) = front.rsplit_once('-')?;
                (name, Some((number, total)))
            }
            None => (stem, None),
        };
        match name.strip_suffix(split)?.strip_suffix('-') {
            Some(prefix) if known(prefix) => {}
            None if name == split => {}
            _ => return None,
        }
        let Some((number, total)) = rest else {
            return Some(Shard::Whole);
        };
        let total = match total.split_once('-') {
            Some((total, print)) if is_fingerprint(print) => total,
            Some(_) => return None,
            None => total,
        };
        Some(Shard::Of {
            number: number.parse().ok()?,
            total: total.parse().ok()?,
        })
    }
}

fn is_fingerprint(text: &str) -> bool {
    (8..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Parquet files of a split in `folder`, or in its subfolder with the name of the split; in order, and all of them. `dataset` is the
/// name that may stand before that of the split.
pub(crate) fn shards(folder: &Path, dataset: &str, split: &str) -> Result<Option<Vec<PathBuf>>> {
    let subfolder = folder.join(split);
    for (folder, inside) in [(folder, false), (&*subfolder, true)] {
        if folder.is_dir()
            && let Some(files) = shards_in(folder, dataset, split, inside)?
        {
            return Ok(Some(files));
        }
    }
    Ok(None)
}

/// Parquet files of a split in `folder`, which is `inside` a folder of the split or not.
pub(crate) fn shards_in(
    folder: &Path,
    dataset: &str,
    split: &str,
    inside: bool,
) -> Result<Option<Vec<PathBuf>>> {
    let mut found: Vec<(Shard, PathBuf)> = Vec::new();
    for item in fs::read_dir(folder).map_err(|e| Error::io(folder, e))? {
        let item = item.map_err(|e| Error::io(folder, e))?;
        let name = item.file_name();
        if let Some(shard) = name
            .to_str()
            .and_then(|n| Shard::of(n, dataset, split, inside))
        {
            found.push((shard, item.path()));
        }
    }
    found.sort();
    let Some((first, _)) = found.first() else {
        return Ok(None);
    };
    let kind = std::mem::discriminant(first);
    found.retain(|(shard, _)| std::mem::discriminant(shard) == kind);
    let whole = found.iter().enumerate().all(|(i, (shard, _))| match shard {
        Shard::Of { number, total } => (*number, *total) == (i, found.len()),
        Shard::Whole => i == 0,
        Shard::Numbered(number) => *number == i,
    });
    if whole {
        return Ok(Some(found.into_iter().map(|f| f.1).collect()));
    }
    let expected = match found[0].0 {
        Shard::Of { total, .. } => {
            format!("all of the {total} shards of the {split} split, once each")
        }
        Shard::Whole => format!("one file of the {split} split"),
        Shard::Numbered(_) => format!("all shards of the {split} split from 0000 on, once each"),
    };
    let names: Vec<_> = found
        .iter()
        .filter_map(|f| f.1.file_name()?.to_str())
        .collect();
    Err(Error::invalid(folder, expected, names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_every_age() {
        let of = |number, total| Some(Shard::Of { number, total });
        let cases = [
            ("train-00001-of-00003.parquet", false, of(1, 3)),
            (
                "train-00000-of-00001-b42d7ba5d9ec5ed5.parquet",
                false,
                of(0, 1),
            ),
            (
                "fashion_mnist-train-00000-of-00002.parquet",
                false,
                of(0, 2),
            ),
            ("fashion_mnist-train.parquet", false, Some(Shard::Whole)),
            ("0002.parquet", true, Some(Shard::Numbered(2))),
            ("train-00000-of-00001.parquet", true, of(0, 1)),
            ("0002.parquet", false, None),
            ("test-00000-of-00001.parquet", false, None),
            ("pretrain-00000-of-00001.parquet", false, None),
            ("other-train.parquet", false, None),
            ("train-00000-of-00001-copy.parquet", false, None),
            ("train-00000-of-00001.arrow", false, None),
        ];
        for (name, inside, expected) in cases {
            let found = Shard::of(name, "fashion-mnist", "train", inside);
            assert_eq!(found, expected, "{name}");
        }
    }
}
