//! Description of files that look like those of a dataset and are not taken.

use std::fs;
use std::path::{Path, PathBuf};

use crate::dataset::Split;

/// Deepest folder, largest number of directory entries looked at, and largest number of files named.
const DEEPEST: usize = 4;
const ENTRIES: usize = 2000;
const NAMED: usize = 4;

/// Files in `dir` and below that look like those of a dataset, each with the reason why it is not taken. `wanted` are the names of the
/// files that are looked for.
pub(crate) fn near(dir: &Path, split: Split, wanted: &[&str]) -> Option<String> {
    let mut left = ENTRIES;
    let mut folders = vec![dir.to_path_buf()];
    let mut seen = Vec::new();
    for depth in 0..DEEPEST {
        let mut below = Vec::new();
        for folder in folders {
            let Ok(items) = fs::read_dir(folder) else {
                continue;
            };
            let mut paths: Vec<PathBuf> = items.take(left).flatten().map(|i| i.path()).collect();
            left -= paths.len();
            paths.sort();
            for path in paths {
                let Some(name) = path.file_name().and_then(|n| n.to_str()) else {
                    continue;
                };
                if name.starts_with('.') || path.is_symlink() {
                    continue;
                }
                if path.is_dir() {
                    below.push(path);
                } else if let Some(reason) = reason(name, depth, split, wanted) {
                    let shown = path
                        .strip_prefix(dir)
                        .unwrap_or(&path)
                        .display()
                        .to_string();
                    seen.push(format!("{shown} ({reason})"));
                }
            }
        }
        folders = below;
    }
    if seen.len() > NAMED {
        let more = seen.len() - NAMED;
        seen.truncate(NAMED);
        seen.push(format!("and {more} more files"));
    }
    match seen.is_empty() {
        true => None,
        false => Some(seen.join(", ")),
    }
}

/// Reason why a file is not taken; `None` of one that has nothing to do with datasets.
fn reason(name: &str, depth: usize, split: Split, wanted: &[&str]) -> Option<String> {
    let lower = name.to_lowercase();
    let plain = lower
        .strip_suffix(".gz")
        .unwrap_or(&lower)
        .replace(".idx", "-idx");
    let is = |endings: &[&str]| endings.iter().any(|ending| lower.ends_with(ending));
    let reason = if is(&[
        ".part",
        ".partial",
        ".crdownload",
        ".incomplete",
        ".download",
    ]) {
        "an unfinished download"
    } else if depth > 0 && wanted.iter().any(|w| w.trim_end_matches(".gz") == plain) {
        "in a folder that is not searched: name the folder if it is the right one"
    } else if is(&[".parquet"]) {
        return Some(format!(
            "its name does not say that it is the {split} split or a shard of it"
        ));
    } else if plain.contains("-ubyte") {
        return Some(format!("not named as a file of the {split} split"));
    } else if is(&[".arrow"]) {
        "an Arrow file, which is not read: save it with Dataset.to_parquet"
    } else if lower.contains(".tfrecord") {
        "a TFRecord file, which is not read"
    } else if is(&[".mat"]) {
        "a MATLAB file, which is not read"
    } else if is(&["training.pt", "test.pt"]) {
        "tensors of an old torchvision, which are not read: its folder raw is"
    } else if is(&[".csv"]) {
        "a CSV file, which is not read as a known dataset"
    } else if is(&[".npz", ".npy"]) {
        "a NumPy file of another name"
    } else if is(&[".zip", ".7z", ".rar", ".tar", ".tar.gz", ".tgz"]) {
        "an archive of another name: unpack it"
    } else if lower.contains("_batch") || is(&[".bin"]) {
        return Some(format!("not named as a file of the {split} split"));
    } else {
        return None;
    };
    Some(reason.to_string())
}
