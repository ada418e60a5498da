//! The two formats of `torch.save`: a zip archive since PyTorch 1.6, a sequence of pickles and raw storages before.

use std::collections::{BTreeMap, HashMap};
use std::io::{Cursor, Read};

use candle_core::{Device, Tensor};
use zip::{CompressionMethod, ZipArchive};

use crate::weights::error::{Result, WeightsProblem};
use crate::weights::file::WeightsFile;
use crate::weights::pickle::{self, Value, damaged};
use crate::weights::sets::{StateDict, state_dict};
use crate::weights::tensors::{Storage, View};

/// First bytes of a file written before PyTorch 1.6: a pickle of the number 0x1950a86a20f9469cfc6c.
pub(super) const LEGACY_MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

/// Limit of the size of all tensors, in multiples of the file's size, so that a small file cannot use all memory. Tensors may share
/// bytes, as layers with shared weights do.
const MOST_REPEATS: usize = 16;

/// A zip archive with `<name>/data.pkl` and a file `<name>/data/<key>` for each storage.
pub(super) fn read_zip(bytes: &[u8], key: Option<&str>) -> Result<WeightsFile> {
    let zip = ZipArchive::new(Cursor::new(bytes));
    let zip = zip.map_err(|e| damaged(format!("a zip archive with a fault: {e}")))?;
    let mut archive = Archive {
        zip,
        left: bytes.len() as u64,
    };
    let names: Vec<String> = archive
        .zip
        .file_names()
        .filter_map(|name| Some(name.ok()?.into_owned()))
        .collect();
    let Some(folder) = names.iter().find_map(|name| {
        let folder = name.strip_suffix("data.pkl")?;
        (folder.is_empty() || folder.ends_with('/')).then_some(folder)
    }) else {
        return Err(WeightsProblem::Kind {
            found: "a zip archive without a data.pkl".into(),
        });
    };
    if names
        .iter()
        .any(|name| *name == format!("{folder}constants.pkl"))
    {
        return Err(WeightsProblem::Kind {
            found: "a TorchScript program; save the state dict of its module instead".into(),
        });
    }
    let order = format!("{folder}byteorder");
    if names.contains(&order) && archive.entry(&order)? != b"little" {
        return Err(damaged(
            "numbers whose bytes are not in little-endian order",
        ));
    }
    let text = archive.entry(&format!("{folder}data.pkl"))?;
    let (pickle, _) = pickle::read(&text)?;
    let dict = state_dict(&pickle, key)?;
    let views = &dict.views;
    check_size(views, bytes.len())?;
    // Tensors that share a storage usually follow each other, but need not; each storage is read once.
    let mut by_storage: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, view) in views.iter().enumerate() {
        by_storage.entry(view.storage.key).or_default().push(index);
    }
    let mut tensors: Vec<Option<Tensor>> = vec![None; views.len()];
    for (key, indices) in by_storage {
        let stored = archive.entry(&format!("{folder}data/{key}"))?;
        for index in indices {
            tensors[index] = Some(views[index].tensor(&stored)?);
        }
    }
    let named = views.iter().zip(tensors);
    let named = named.filter_map(|(view, tensor)| Some((view.name.to_string(), tensor?)));
    file(named.collect(), &dict)
}

/// Content of a file with these tensors of a state dict.
fn file(mut tensors: Vec<(String, Tensor)>, dict: &StateDict) -> Result<WeightsFile> {
    for (name, count) in &dict.counts {
        let tensor = Tensor::new(*count, &Device::Cpu);
        let tensor = tensor.map_err(|e| damaged(format!("`{name}`: {e}")))?;
        tensors.push((name.to_string(), tensor));
    }
    Ok(WeightsFile {
        tensors,
        key: dict.key.clone(),
        others: dict.others.clone(),
        rest: dict.rest.clone(),
    })
}

struct Archive<'a> {
    zip: ZipArchive<Cursor<&'a [u8]>>,
    /// Bytes of the file that no entry has taken yet.
    left: u64,
}

impl Archive<'_> {
    /// The content of an entry.
    ///
    /// `torch.save` does not compress, so all entries together are no larger than the file. Those that claim to be, because they
    /// are compressed or lie on each other, are not unpacked.
    fn entry(&mut self, name: &str) -> Result<Vec<u8>> {
        let unreadable = |e: &dyn std::fmt::Display| damaged(format!("no readable {name}: {e}"));
        let mut file = self.zip.by_name(name).map_err(|e| unreadable(&e))?;
        let size = file.size();
        if file.compression() != CompressionMethod::Stored || size > self.left {
            return Err(damaged(format!(
                "{name} of {size} bytes packed in {}, where torch.save packs nothing",
                file.compressed_size().min(self.left)
            )));
        }
        self.left -= size;
        let mut content = Vec::with_capacity(size as usize);
        // One byte more than it should have: at the end the checksum is looked at.
        let read = file.by_ref().take(size + 1).read_to_end(&mut content);
        read.map_err(|e| unreadable(&e))?;
        Ok(content)
    }
}

/// Pickles of a magic number, a version, the machine's traits, the object, and the keys of the storages; then each storage as its
/// length and its numbers.
pub(super) fn read_legacy(bytes: &[u8], key: Option<&str>) -> Result<WeightsFile> {
    let mut rest = bytes;
    let mut next = || {
        let (pickle, length) = pickle::read(rest)?;
        rest = &rest[length..];
        Ok::<_, WeightsProblem>(pickle)
    };
    let _magic = next()?;
    let version = next()?.root;
    if version != Value::Int(1001) {
        return Err(damaged(format!(
            "version {version:?} of the format, not 1001"
        )));
    }
    let machine = next()?;
    if machine.get(machine.root, "little_endian") == Some(Value::Bool(false)) {
        return Err(damaged(
            "numbers whose bytes are not in little-endian order",
        ));
    }
    let object = next()?;
    let keys = next()?;
    let dict = state_dict(&object, key)?;
    check_size(&dict.views, bytes.len())?;

    let mut widths = HashMap::new();
    for parts in object.persistent() {
        let storage = Storage::of(&object, parts)?;
        widths.insert(storage.key, storage.width());
    }
    let mut storages = HashMap::new();
    for key in keys.sequence(keys.root).unwrap_or_default() {
        let Value::Str(key) = *key else {
            return Err(damaged("a storage whose key is no text"));
        };
        let Some(Some(width)) = widths.get(key) else {
            return Err(damaged(format!(
                "storage {key}, of a type that is not known"
            )));
        };
        let cut = || damaged(format!("its end within storage {key}"));
        let (length, after) = rest.split_first_chunk().ok_or_else(cut)?;
        let length = usize::try_from(i64::from_le_bytes(*length)).ok();
        let length = length.and_then(|n| n.checked_mul(*width)).ok_or_else(cut)?;
        let (numbers, after) = after.split_at_checked(length).ok_or_else(cut)?;
        storages.insert(key, numbers);
        rest = after;
    }
    let tensor = |view: &View| {
        let stored = storages.get(view.storage.key);
        let stored = stored.ok_or_else(|| damaged(format!("no storage {}", view.storage.key)))?;
        Ok((view.name.to_string(), view.tensor(stored)?))
    };
    let tensors = dict.views.iter().map(tensor).collect::<Result<_>>()?;
    file(tensors, &dict)
}

fn check_size(views: &[View], file: usize) -> Result<()> {
    let wanted = views
        .iter()
        .fold(0usize, |sum, view| sum.saturating_add(view.bytes()));
    if wanted > file.saturating_mul(MOST_REPEATS) {
        return Err(damaged(format!(
            "tensors of {wanted} bytes in a file of {file}"
        )));
    }
    Ok(())
}
