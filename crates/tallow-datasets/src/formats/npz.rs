//! NumPy archives: a zip of `.npy` arrays, as Keras keeps MNIST (`mnist.npz`) and KMNIST is published.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use zip::ZipArchive;

use crate::error::{Error, Result};
use crate::formats::idx::classes;
use crate::formats::npy;
use crate::storage::{Contents, Format, Reading, Storage};

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
    let header = npy::header(&mut reader, &at)?;
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
    let data = npy::data(&mut reader, &at, bytes, stored)?;
    Ok(Array { count, data })
}
