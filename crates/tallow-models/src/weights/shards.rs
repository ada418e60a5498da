//! Weights in several files with an index, as the Hugging Face hub has large models.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::weights::error::{Result, WeightsProblem};

#[derive(Deserialize)]
struct Index {
    /// File of each tensor.
    weight_map: BTreeMap<String, String>,
}

/// Names of the tensors of each file.
pub(super) type Files = BTreeMap<String, Vec<String>>;

/// Files that an index (`model.safetensors.index.json`) lists, with the names of the tensors in each; `None` for other JSON.
pub(super) fn of_index(bytes: &[u8]) -> Result<Option<Files>> {
    let Ok(index) = serde_json::from_slice::<Index>(bytes) else {
        return Ok(None);
    };
    let mut files = Files::new();
    for (tensor, file) in index.weight_map {
        if Path::new(&file).file_name() != Some(file.as_ref()) || file.contains(['/', '\\']) {
            return Err(WeightsProblem::Damaged {
                format: "index of weights",
                found: format!("`{file}`, which is no name of a file beside it"),
            });
        }
        files.entry(file).or_default().push(tensor);
    }
    Ok(Some(files))
}

/// Files beside an index of weights that it lists; empty for a file that is no index.
pub fn shards(path: impl AsRef<Path>) -> Vec<PathBuf> {
    let path = path.as_ref();
    let is_json = path
        .extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("json"));
    let bytes = match is_json {
        true => fs::read(path).unwrap_or_default(),
        false => return Vec::new(),
    };
    let files = of_index(&bytes).ok().flatten().unwrap_or_default();
    files
        .into_keys()
        .map(|file| path.with_file_name(file))
        .collect()
}

/// Name of the index of a file that is one of several: `model-00001-of-00003.safetensors` has `model.safetensors.index.json`.
pub(super) fn index_of(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let (stem, extension) = name.rsplit_once('.')?;
    let (stem, total) = stem.rsplit_once("-of-")?;
    let (base, part) = stem.rsplit_once('-')?;
    let is_number = |text: &str| text.len() >= 2 && text.bytes().all(|b| b.is_ascii_digit());
    let one = total.parse() == Ok(1u64);
    (is_number(part) && is_number(total) && !one).then(|| format!("{base}.{extension}.index.json"))
}
