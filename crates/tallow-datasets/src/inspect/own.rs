//! Inspection of the datasets that a path names.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::check::{check_file, with_size};
use super::result::{
    Broken, DigestCheck, Inspection, SplitCheck, SplitInfo, Verification, per_class,
};
use crate::dataset::Split;
use crate::error::Result;
use crate::options::LoadOptions;
use crate::own::{own_path, own_splits};
use crate::storage::Format;

/// Format of a dataset of one's own.
fn format(name: &str) -> Format {
    match name.split_once(':') {
        Some(("npz", _)) => Format::Npz,
        Some(("parquet", _)) => Format::Parquet,
        _ => Format::ImageFolder,
    }
}

/// Files of a split that hold more than one picture.
#[cfg(feature = "parquet")]
fn files(name: &str, split: Split) -> Result<Vec<PathBuf>> {
    match name.strip_prefix("parquet:") {
        Some(path) => crate::parquet_set::files(Path::new(path), split),
        None => Ok(Vec::new()),
    }
}

#[cfg(not(feature = "parquet"))]
fn files(_: &str, _: Split) -> Result<Vec<PathBuf>> {
    Ok(Vec::new())
}

/// Sizes of pictures.
#[derive(Clone, Copy, Default)]
struct Extent {
    channels: usize,
    heights: (usize, usize),
    widths: (usize, usize),
}

impl Extent {
    fn and(self, other: Self) -> Self {
        let range = |a: (usize, usize), b: (usize, usize)| (a.0.min(b.0), a.1.max(b.1));
        Self {
            channels: self.channels,
            heights: range(self.heights, other.heights),
            widths: range(self.widths, other.widths),
        }
    }
}

pub(super) fn inspect(name: &str, options: &LoadOptions) -> Result<Inspection> {
    let root = own_path(name).unwrap_or(Path::new(""));
    let mut found = Vec::new();
    for (split, set) in own_splits(name, options)? {
        let extents =
            (0..set.len())
                .into_par_iter()
                .map_init(Vec::new, |scratch, index| -> Result<Extent> {
                    let image = set.image(index, scratch)?;
                    Ok(Extent {
                        channels: image.channels,
                        heights: (image.height, image.height),
                        widths: (image.width, image.width),
                    })
                });
        let extent = extents.try_reduce_with(|a, b| Ok(a.and(b)));
        let extent = extent.transpose()?.unwrap_or_default();
        let files = files(name, split)?.into_iter().map(with_size);
        found.push(SplitInfo {
            info: set.info().clone(),
            place: root.display().to_string(),
            format: format(name),
            files: files.collect::<Result<_>>()?,
            len: set.len(),
            channels: extent.channels,
            heights: extent.heights,
            widths: extent.widths,
            per_class: per_class(&*set)?,
        });
    }
    Ok(Inspection {
        name: name.to_string(),
        splits: found,
    })
}

pub(super) fn verify(name: &str, options: &LoadOptions) -> Result<Verification> {
    let (mut checks, mut broken, mut checked) = (Vec::new(), Vec::new(), Vec::new());
    for (split, set) in own_splits(name, options)? {
        for file in files(name, split)? {
            checked.push(check_file(&[], &file)?);
        }
        let wrong = (0..set.len())
            .into_par_iter()
            .map_init(Vec::new, |scratch, index| {
                let error = set.image(index, scratch).err()?;
                // One level of `Display` names the file, its source says what is wrong.
                let mut message = error.to_string();
                let mut cause = std::error::Error::source(&error);
                while let Some(error) = cause {
                    let text = error.to_string();
                    if !message.contains(&text) {
                        message += &format!(": {text}");
                    }
                    cause = error.source();
                }
                Some(Broken { split, message })
            });
        broken.extend(wrong.flatten().collect::<Vec<_>>());
        checks.push(SplitCheck {
            info: set.info().clone(),
            len: set.len(),
            verdict: DigestCheck::Unknown,
        });
    }
    Ok(Verification {
        name: name.to_string(),
        files: checked,
        splits: checks,
        broken,
    })
}
