//! NumPy archives: a zip of `.npy` arrays, as Keras keeps MNIST (`mnist.npz`) and KMNIST is published.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use zip::ZipArchive;

use crate::error::{Error, Result};
use crate::formats::idx::classes;
use crate::storage::{Contents, Format, Reading, Storage};

/// Longest header of an array.
const HEADER: u64 = 1 << 16;
/// Largest ratio by which a deflate stream can grow.
const MAX_RATIO: u64 = 1032;

/// One archive that holds `x_train`, `y_train`, `x_test` and `y_test`.
pub(crate) const fn keras(archive: &'static [&'static str; 1]) -> Storage {
    Storage {
        format: Format::Npz,
        files: [archive, archive],
        members: [&["x_train", "y_train"], &["x_test", "y_test"]],
        read,
    }
}

/// An archive of images and one of labels for each split, each with the one array `arr_0`.
pub(crate) const fn pairs(
    train: &'static [&'static str; 2],
    test: &'static [&'static str; 2],
) -> Storage {
    Storage {
        format: Format::Npz,
        files: [train, test],
        members: [&["arr_0", "arr_0"], &["arr_0", "arr_0"]],
        read,
    }
}

fn read(reading: &Reading) -> Result<Contents> {
    let (_, height, width) = reading.shape;
    let path = |i: usize| &reading.files[i.min(reading.files.len() - 1)];
    let images = array(path(0), reading.members[0], reading.most, &[height, width])?;
    let labels = array(path(1), reading.members[1], reading.most, &[])?;
    let (first, number) = (reading.labels.first, reading.classes);
    let labels = classes(path(1), &labels.data, images.count, first, number)?;
    Ok(Contents::lossless(images.data, labels))
}

struct Array {
    count: usize,
    data: Vec<u8>,
}

/// The array `name` of shape `(N, rest...)`, with N from 1 to `most`.
fn array(path: &Path, name: &str, most: usize, rest: &[usize]) -> Result<Array> {
    let broken = |found: String| Error::invalid(path, "a NumPy archive (.npz)", found);
    let file = File::open(path).map_err(|e| Error::io(path, e))?;
    let mut archive = ZipArchive::new(file).map_err(|e| broken(e.to_string()))?;
    let names: Vec<String> = archive
        .file_names()
        .take(16)
        .flatten()
        .map(|n| n.into_owned())
        .collect();
    let member = archive.by_name(&format!("{name}.npy")).map_err(|_| {
        let expected = format!("an archive with the array {name}");
        Error::invalid(path, expected, names.join(", "))
    })?;
    let at: PathBuf = path.join(format!("{name}.npy"));
    // What the member claims to be packed into is no more than the archive.
    let stored = member
        .compressed_size()
        .min(path.metadata().map_err(|e| Error::io(path, e))?.len());
    let size = member.size();
    let mut reader = member.take(size);
    let header = header(&mut reader).map_err(|found| {
        Error::invalid(&at, "an array of NumPy's format 1 or 2 in C order", found)
    })?;
    let count = header.shape.first().copied().unwrap_or(0);
    if header.shape.get(1..) != Some(rest) || count == 0 || count > most {
        return Err(Error::invalid(
            &at,
            format!("an array of (1 to {most}, then {rest:?})"),
            format!("one of {:?}", header.shape),
        ));
    }
    if header.kind != "u1" {
        let found = format!("one of {}", header.kind);
        return Err(Error::invalid(&at, "an array of bytes (u1)", found));
    }
    let bytes = (count * rest.iter().product::<usize>()) as u64;
    // The stored bytes bound what is allocated.
    if bytes > stored.saturating_mul(MAX_RATIO) {
        let found = format!("{stored} bytes, too few to hold them");
        return Err(Error::invalid(&at, format!("{bytes} bytes"), found));
    }
    let mut data = Vec::new();
    let wrong = |found: String| Error::invalid(&at, format!("{bytes} bytes of data"), found);
    reader
        .by_ref()
        .take(bytes)
        .read_to_end(&mut data)
        .map_err(|e| wrong(e.to_string()))?;
    // Reading on also makes the archive compare its checksum.
    match reader.read(&mut [0]) {
        Ok(0) if data.len() as u64 == bytes => {}
        Ok(0) => return Err(wrong(format!("{} bytes", data.len()))),
        Ok(_) => return Err(wrong("more bytes after these".into())),
        Err(e) => return Err(wrong(e.to_string())),
    }
    Ok(Array { count, data })
}

struct Header {
    /// Such as `u1` or `i8`, without byte order.
    kind: String,
    shape: Vec<usize>,
}

/// The header of a `.npy` array: a Python dict as text.
fn header(reader: &mut impl Read) -> Result<Header, String> {
    let text = |e: std::io::Error| e.to_string();
    let mut start = [0; 8];
    reader.read_exact(&mut start).map_err(text)?;
    let [magic @ .., major, _] = start;
    if &magic != b"\x93NUMPY" {
        return Err("no array".into());
    }
    let mut length = [0; 4];
    let width = if major == 1 { 2 } else { 4 };
    reader.read_exact(&mut length[..width]).map_err(text)?;
    let length = u64::from(u32::from_le_bytes(length));
    if length > HEADER {
        return Err(format!("a header of {length} bytes"));
    }
    let mut header = String::new();
    reader
        .by_ref()
        .take(length)
        .read_to_string(&mut header)
        .map_err(text)?;
    let wrong = || format!("the header {}", header.trim_end());
    let value = |key: &str| Some(header.split_once(&format!("'{key}':"))?.1.trim_start());
    if !value("fortran_order").is_some_and(|v| v.starts_with("False")) {
        return Err(wrong());
    }
    let kind = value("descr").and_then(|v| v.strip_prefix('\''));
    let kind = kind.and_then(|v| Some(v.split_once('\'')?.0));
    let shape = value("shape").and_then(|v| v.strip_prefix('('));
    let shape = shape.and_then(|v| Some(v.split_once(')')?.0));
    let (Some(kind), Some(shape)) = (kind, shape) else {
        return Err(wrong());
    };
    let sizes = shape.split(',').map(str::trim).filter(|s| !s.is_empty());
    Ok(Header {
        kind: kind.trim_start_matches(['|', '<']).into(),
        shape: sizes
            .map(|size| size.parse().map_err(|_| wrong()))
            .collect::<Result<_, _>>()?,
    })
}
