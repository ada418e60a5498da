//! Inspection of the datasets that a path names.

use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;

use super::result::{
    Broken, DigestCheck, Inspection, SplitCheck, SplitInfo, Verification, per_class,
};
use crate::dataset::{Dataset, Split};
use crate::error::{Error, Result};
use crate::load::load;
use crate::options::LoadOptions;
use crate::storage::Format;

/// Beginnings of the names that contain a path, and the format of each.
const OWN: [(&str, Format); 3] = [
    ("folder:", Format::ImageFolder),
    ("csv:", Format::ImageFolder),
    ("npz:", Format::Npz),
];

fn parts(name: &str) -> Option<(&Path, Format)> {
    OWN.iter()
        .find_map(|(prefix, format)| Some((Path::new(name.strip_prefix(prefix)?), *format)))
}

/// Whether a name contains a path.
pub(super) fn is_own(name: &str) -> bool {
    parts(name).is_some()
}

/// The splits that there are: there may be no test split.
fn splits(name: &str, options: &LoadOptions) -> Result<Vec<(Split, Arc<dyn Dataset>)>> {
    let train = load(name, Split::Train, options);
    let test = load(name, Split::Test, options);
    match (train, test) {
        (Ok(train), Ok(test)) => Ok(vec![(Split::Train, train), (Split::Test, test)]),
        (Ok(train), Err(error)) if lacks(name, &error) => Ok(vec![(Split::Train, train)]),
        (Err(error), Ok(test)) if lacks(name, &error) => Ok(vec![(Split::Test, test)]),
        (Err(error), _) | (_, Err(error)) => Err(error),
    }
}

/// Whether the error is that of a split that is not there: it is about the folder or the archive, not about something in it.
fn lacks(name: &str, error: &Error) -> bool {
    let Some((root, _)) = parts(name) else {
        return false;
    };
    matches!(error, Error::Invalid { path, .. } if path == root)
}

pub(super) fn inspect(name: &str, options: &LoadOptions) -> Result<Inspection> {
    let (root, format) = parts(name).unwrap_or((Path::new(""), Format::ImageFolder));
    let mut found = Vec::new();
    for (_, set) in splits(name, options)? {
        let sizes = (0..set.len())
            .into_par_iter()
            .map_init(Vec::new, |scratch, index| {
                let image = set.image(index, scratch)?;
                Ok((image.channels, image.height, image.width))
            });
        let sizes = sizes.collect::<Result<Vec<_>>>()?;
        let range = |side: fn(&(usize, usize, usize)) -> usize| {
            let sides = || sizes.iter().map(side);
            (sides().min().unwrap_or(0), sides().max().unwrap_or(0))
        };
        found.push(SplitInfo {
            info: set.info().clone(),
            place: root.display().to_string(),
            format,
            files: Vec::new(),
            len: set.len(),
            channels: sizes.first().map_or(0, |size| size.0),
            heights: range(|size| size.1),
            widths: range(|size| size.2),
            per_class: per_class(&*set)?,
        });
    }
    Ok(Inspection {
        name: name.to_string(),
        splits: found,
    })
}

pub(super) fn verify(name: &str, options: &LoadOptions) -> Result<Verification> {
    let (mut checks, mut broken) = (Vec::new(), Vec::new());
    for (split, set) in splits(name, options)? {
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
        files: Vec::new(),
        splits: checks,
        broken,
    })
}
