//! Parquet files of a dataset of one's own, by split.

use std::fs;
use std::path::{Path, PathBuf};

use crate::dataset::{Split, VALIDATION};
use crate::error::{Error, Result};
use crate::shards::{shards, shards_in};

/// Folders below that of the dataset that may hold the files: those of a repository of the hub.
const INNER: [&str; 2] = ["data", "default"];

/// Number of files that an error names.
const NAMED: usize = 3;

/// Splits with their files in order: those of a folder, or a training split alone of a single file or of its shards, which
/// `x-00000-of-00002.parquet` and so on are for `x.parquet`.
pub(crate) fn splits(path: &Path) -> Result<Vec<(Split, Vec<PathBuf>)>> {
    if path.is_file() {
        return Ok(vec![(Split::Train, vec![path.to_path_buf()])]);
    }
    if !path.is_dir() {
        return match shards_of(path)? {
            Some(files) => Ok(vec![(Split::Train, files)]),
            None => {
                let expected = "a Parquet file, or a folder of Parquet files";
                Err(Error::invalid(path, expected, "no such file or folder"))
            }
        };
    }
    let folders = folders(path);
    let splits = of_folders(path, &folders)?;
    match splits.is_empty() {
        true => Err(unnamed(path, &folders)),
        false => Ok(splits),
    }
}

/// Whether a path is that of a dataset in Parquet files: of one file, or of a folder with files named after their split.
pub fn is_parquet(path: impl AsRef<Path>) -> bool {
    let path = path.as_ref();
    if !path.is_dir() {
        return path.extension().is_some_and(|end| end == "parquet");
    }
    // Shards of which some are missing are such files too.
    of_folders(path, &folders(path)).map_or(true, |splits| !splits.is_empty())
}

/// Folders that may hold the files.
fn folders(path: &Path) -> Vec<PathBuf> {
    let inner = INNER.map(|inner| path.join(inner));
    let all = [path.to_path_buf()].into_iter().chain(inner);
    all.filter(|folder| folder.is_dir()).collect()
}

/// Splits with their files, of which there may be none.
fn of_folders(path: &Path, folders: &[PathBuf]) -> Result<Vec<(Split, Vec<PathBuf>)>> {
    let name = path.file_name().map(|name| name.to_string_lossy());
    let name = name.unwrap_or_default().replace('_', "-");
    let find = |names: &[&str]| -> Result<Option<Vec<PathBuf>>> {
        for folder in folders {
            for split in names {
                if let Some(files) = shards(folder, &name, split)? {
                    return Ok(Some(files));
                }
            }
        }
        Ok(None)
    };
    let (train, validation, test) = (find(&["train"])?, find(&VALIDATION)?, find(&["test"])?);
    let (validation, test) = match test {
        Some(test) => (validation, Some(test)),
        None => (None, validation),
    };
    let all = [
        (Split::Train, train),
        (Split::Validation, validation),
        (Split::Test, test),
    ];
    let there = all.into_iter();
    let there = there.filter_map(|(split, files)| Some((split, files?)));
    Ok(there.collect())
}

/// Shards of a file of this name, if there are any.
pub(crate) fn shards_of(path: &Path) -> Result<Option<Vec<PathBuf>>> {
    let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()) else {
        return Ok(None);
    };
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    match path.extension().is_some_and(|end| end == "parquet") && folder.is_dir() {
        true => shards_in(folder, "", stem, false),
        false => Ok(None),
    }
}

/// Error of a folder without files of a split.
fn unnamed(path: &Path, folders: &[PathBuf]) -> Error {
    let mut found = Vec::new();
    for folder in folders {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        found.extend(names.filter(|name| name.ends_with(".parquet")));
    }
    found.sort();
    let found = match found.len().saturating_sub(NAMED) {
        _ if found.is_empty() => "no Parquet file".to_string(),
        0 => found.join(", "),
        more => format!("{} and {more} more", found[..NAMED].join(", ")),
    };
    let expected = "Parquet files named after their split, such as train-00000-of-00001.parquet or test.parquet";
    Error::invalid(path, expected, found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[&str], path: &str) -> Result<Vec<(Split, Vec<String>)>, String> {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            let file = root.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, b"").unwrap();
        }
        let relative = |file: PathBuf| {
            let file = file.strip_prefix(root.path()).unwrap().to_path_buf();
            file.to_string_lossy().replace('\\', "/")
        };
        let splits = splits(&root.path().join(path)).map_err(|error| error.to_string())?;
        let splits = splits.into_iter().map(|(split, files)| {
            let files = files.into_iter().map(relative);
            (split, files.collect())
        });
        Ok(splits.collect())
    }

    #[test]
    fn splits_have_their_files() {
        use Split::{Test, Train, Validation};
        let names = |names: &[&str]| names.iter().map(|n| n.to_string()).collect::<Vec<_>>();
        let hub = [
            "birds/data/train-00001-of-00002.parquet",
            "birds/data/train-00000-of-00002.parquet",
            "birds/data/validation-00000-of-00001.parquet",
            "birds/README.md",
        ];
        let train = names(&[hub[1], hub[0]]);
        // Without a test split the validation split is that.
        assert_eq!(
            found(&hub, "birds").unwrap(),
            [(Train, train.clone()), (Test, names(&hub[2..3]))]
        );
        let all = [&hub[..], &["birds/test.parquet"]].concat();
        assert_eq!(
            found(&all, "birds").unwrap(),
            [
                (Train, train),
                (Validation, names(&hub[2..3])),
                (Test, names(&["birds/test.parquet"]))
            ]
        );
        // A file, and shards of a file.
        let one = ["x.parquet", "y-00000-of-00002.parquet"];
        assert_eq!(
            found(&one, "x.parquet").unwrap(),
            [(Train, names(&one[..1]))]
        );
        let error = found(&one, "y.parquet").unwrap_err();
        assert!(error.contains("all of the 2 shards"), "{error}");
        let two = ["y-00000-of-00002.parquet", "y-00001-of-00002.parquet"];
        assert_eq!(found(&two, "y.parquet").unwrap(), [(Train, names(&two))]);
    }

    #[test]
    fn what_is_there_instead_is_named() {
        let cases: [(&[&str], &str, &str); 4] = [
            (&["d/a.txt"], "d", "found no Parquet file"),
            (
                &["d/out-00000-of-00001.parquet", "d/data/b.parquet"],
                "d",
                "found b.parquet, out-00000-of-00001.parquet",
            ),
            (&["d/a.txt"], "e", "no such file or folder"),
            (
                &["d/train-00001-of-00002.parquet"],
                "d",
                "all of the 2 shards of the train split",
            ),
        ];
        for (files, path, part) in cases {
            let error = found(files, path).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
