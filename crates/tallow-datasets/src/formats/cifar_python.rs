//! CIFAR's Python version, which torchvision and Keras fetch: a pickle of a dict with `data`, NumPy bytes of shape (N, 3072), and
//! `labels`, `fine_labels` or `coarse_labels`; as files without extension, or in a `.tar.gz`. The pickles are read as data, nothing in
//! them is executed.

use std::borrow::Cow;
use std::path::Path;

use tallow_pickle::{Limits, Pickle, Value};

use crate::error::{Error, Result};
use crate::formats::cifar::{PIXELS, unpack};
use crate::source::Source;
use crate::storage::{Contents, Format, Reading, Storage};

/// Bytes of a record beside its pixels: labels, and the name of its file.
const BESIDE: u64 = 512;
/// Bytes of a file beside its records.
const HEAD: u64 = 1 << 16;
/// Instructions of a pickle for each record, and besides.
const INSTRUCTIONS: [usize; 2] = [16, 1 << 12];

/// The published archive, which holds the batches of both splits.
pub(crate) const fn archive(
    archive: &'static [&'static str; 1],
    train: &'static [&'static str],
    test: &'static [&'static str],
) -> Storage {
    Storage {
        format: Format::CifarPython,
        files: [archive, archive],
        members: [train, test],
        read: read_archive,
    }
}

/// The batches unpacked.
pub(crate) const fn files(
    train: &'static [&'static str],
    test: &'static [&'static str],
) -> Storage {
    Storage {
        format: Format::CifarPython,
        files: [train, test],
        members: [&[], &[]],
        read: read_batches,
    }
}

fn read_batches(reading: &Reading) -> Result<Contents> {
    let mut out = Batches::new(reading, reading.files.len());
    for path in reading.files {
        let source = Source::open(path)?;
        let size = out.check_size(path, source.stored())?;
        out.push(path, &source.rest(size)?)?;
    }
    Ok(Contents::lossless(out.pixels, out.labels))
}

fn read_archive(reading: &Reading) -> Result<Contents> {
    let (path, names) = (&reading.files[0], reading.members);
    let mut source = Source::open(path)?;
    let mut out = Batches::new(reading, names.len());
    let check = |path: &Path, size| out.check_size(path, size);
    let files = match unpack(check, source.reader(), path, names) {
        Ok(files) => files?,
        Err(e) => return Err(source.broken("the CIFAR archive, a gzipped tar file", e)),
    };
    for (name, bytes) in names.iter().zip(files) {
        let Some(bytes) = bytes else {
            let expected = format!("an archive with {name}");
            return Err(Error::invalid(path, expected, "none of that name"));
        };
        out.push(&path.join(name), &bytes)?;
    }
    Ok(Contents::lossless(out.pixels, out.labels))
}

/// Records of a split, collected batch by batch.
struct Batches {
    /// Key of the labels.
    key: String,
    classes: usize,
    /// Largest number of records in a file.
    most: usize,
    pixels: Vec<u8>,
    labels: Vec<u32>,
}

impl Batches {
    fn new(reading: &Reading, files: usize) -> Self {
        Self {
            key: format!("{}s", reading.labels.column),
            classes: reading.classes,
            most: reading.most / files.max(1),
            pixels: Vec::new(),
            labels: Vec::new(),
        }
    }

    fn check_size(&self, path: &Path, size: u64) -> Result<u64> {
        let most = self.most as u64 * (PIXELS as u64 + BESIDE) + HEAD;
        if size > most {
            return Err(Error::invalid(
                path,
                format!("a batch of {} records, {most} bytes at most", self.most),
                format!("{size} bytes"),
            ));
        }
        Ok(size)
    }

    fn push(&mut self, path: &Path, bytes: &[u8]) -> Result<()> {
        let wrong = |found: String| {
            let expected = format!(
                "a CIFAR batch as Python pickle: a dict of data (N x 3072 bytes) and {}",
                self.key
            );
            Error::invalid(path, expected, found)
        };
        let limits = Limits {
            bytes: bytes.len(),
            instructions: self.most * INSTRUCTIONS[0] + INSTRUCTIONS[1],
        };
        let (pickle, _) =
            Pickle::read(bytes, &limits, is_data).map_err(|e| wrong(e.to_string()))?;
        let root = pickle.root;
        if pickle.entries(root).is_none() {
            return Err(wrong("a pickle of something else".into()));
        }
        let get = |key: &str| {
            pickle
                .get(root, key)
                .ok_or_else(|| wrong(format!("no {key}; its keys are {}", keys(&pickle))))
        };
        let array = array(&pickle, get("data")?).map_err(&wrong)?;
        let labels = integers(&pickle, get(&self.key)?).map_err(&wrong)?;
        let count = array.shape.first().copied().unwrap_or(0);
        if array.kind != "u1" || count.checked_mul(PIXELS) != Some(array.data.len()) {
            return Err(wrong(format!(
                "data of shape {:?} and type {} in {} bytes",
                array.shape,
                array.kind,
                array.data.len()
            )));
        }
        if count != labels.len() || count == 0 || count > self.most {
            return Err(wrong(format!(
                "{count} images and {} labels, where 1 to {} are expected",
                labels.len(),
                self.most
            )));
        }
        for (i, label) in labels.into_iter().enumerate() {
            match u32::try_from(label) {
                Ok(class) if (class as usize) < self.classes => self.labels.push(class),
                _ => {
                    return Err(Error::invalid(
                        path,
                        format!("labels from 0 to {}", self.classes - 1),
                        format!("label {label} at record {i}"),
                    ));
                }
            }
        }
        self.pixels.extend_from_slice(&array.data);
        Ok(())
    }
}

/// Keys of the pickled dict, for messages.
fn keys(pickle: &Pickle) -> String {
    let entries = pickle.entries(pickle.root).into_iter().flatten();
    let names: Vec<String> = entries
        .take(16)
        .map(|(key, _)| match key {
            Value::Str(key) => key.into(),
            Value::Bytes(key) => key.escape_ascii().to_string(),
            _ => "...".into(),
        })
        .collect();
    names.join(", ")
}

/// Array of NumPy.
struct Array<'a> {
    /// Type as NumPy writes it, `u1` or `i8`, without byte order.
    kind: &'a str,
    shape: Vec<usize>,
    data: Cow<'a, [u8]>,
}

/// An array as NumPy pickles it: `_reconstruct` with a state, or since protocol 5 `_frombuffer`.
fn array<'a>(pickle: &Pickle<'a>, value: Value<'a>) -> Result<Array<'a>, String> {
    let parts = match pickle.call(value) {
        Some(((_, "_reconstruct"), _)) => {
            let state = pickle.state(value).and_then(|s| pickle.sequence(s));
            match state {
                Some(&[_, shape, kind, Value::Bool(false), data]) => Some((shape, kind, data)),
                _ => None,
            }
        }
        Some(((_, "_frombuffer"), &[data, kind, shape, Value::Str("C")])) => {
            Some((shape, kind, data))
        }
        _ => None,
    };
    let (shape, kind, data) = parts.ok_or("an array that is not one of NumPy in C order")?;
    let shape: Option<Vec<usize>> = pickle.sequence(shape).and_then(|sizes| {
        let size = |size: &Value| match size {
            Value::Int(n) => usize::try_from(*n).ok(),
            _ => None,
        };
        sizes.iter().map(size).collect()
    });
    let kind = match pickle.call(kind) {
        Some((("numpy", "dtype"), &[Value::Str(kind), ..])) => kind.trim_start_matches(['|', '<']),
        _ => return Err("an array of unknown type".into()),
    };
    Ok(Array {
        kind,
        shape: shape.ok_or("an array of unknown shape")?,
        data: bytes(pickle, data).ok_or("an array without bytes")?,
    })
}

/// Bytes, as each version of Python pickles them.
fn bytes<'a>(pickle: &Pickle<'a>, value: Value<'a>) -> Option<Cow<'a, [u8]>> {
    match value {
        Value::Bytes(bytes) => Some(bytes.into()),
        Value::Str(text) => Some(text.as_bytes().into()),
        // Protocol 2 of Python 3 writes them as text, each character a byte.
        _ => match pickle.call(value)? {
            (("_codecs", "encode"), &[Value::Str(text), Value::Str("latin1")]) => text
                .chars()
                .map(|c| u8::try_from(u32::from(c)).ok())
                .collect::<Option<Vec<u8>>>()
                .map(Cow::from),
            _ => None,
        },
    }
}

/// A list of integers, or an array of them.
fn integers<'a>(pickle: &Pickle<'a>, value: Value<'a>) -> Result<Vec<i64>, String> {
    if let Some(items) = pickle.sequence(value) {
        let integer = |item: &Value| match item {
            Value::Int(n) => Ok(*n),
            _ => Err("a label that is no integer".to_string()),
        };
        return items.iter().map(integer).collect();
    }
    let array = array(pickle, value)?;
    match array.kind {
        "u1" => Ok(array.data.iter().map(|&n| n.into()).collect()),
        "i4" => Ok(chunks(&array.data, |n| i32::from_le_bytes(n).into())),
        "i8" => Ok(chunks(&array.data, i64::from_le_bytes)),
        kind => Err(format!("labels of type {kind}")),
    }
}

fn chunks<const N: usize>(data: &[u8], read: impl Fn([u8; N]) -> i64) -> Vec<i64> {
    data.as_chunks::<N>().0.iter().map(|n| read(*n)).collect()
}

/// Whether a name is one that NumPy's arrays have.
fn is_data(module: &str, name: &str) -> bool {
    matches!(
        (module, name),
        (
            "numpy.core.multiarray" | "numpy._core.multiarray",
            "_reconstruct"
        ) | ("numpy.core.numeric" | "numpy._core.numeric", "_frombuffer")
            | ("numpy", "ndarray" | "dtype")
            | ("_codecs", "encode")
            | ("collections", "OrderedDict")
    )
}
