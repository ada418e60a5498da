//! CIFAR's binary format: records of one label byte (CIFAR-100: two, coarse and fine) and 3,072 pixels,
//! planar RGB. Published as `.bin` files inside a `.tar.gz`.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use tar::Archive;

use crate::catalog::Cifar;
use crate::dataset::Split;
use crate::error::{Error, Result};
use crate::source::Source;

const PIXELS: usize = 3 * 32 * 32;

impl Cifar {
    /// Bytes of a record.
    fn record(self) -> usize {
        self.labels() + PIXELS
    }

    fn labels(self) -> usize {
        match self {
            Cifar::Ten => 1,
            Cifar::HundredFine | Cifar::HundredCoarse => 2,
        }
    }

    /// Which of the label bytes counts.
    fn label(self) -> usize {
        match self {
            Cifar::Ten | Cifar::HundredCoarse => 0,
            Cifar::HundredFine => 1,
        }
    }

    /// Files of a split and the records each has.
    pub fn files(self, split: Split) -> (&'static [&'static str], usize) {
        match (self, split) {
            (Cifar::Ten, Split::Train) => (
                &[
                    "data_batch_1.bin",
                    "data_batch_2.bin",
                    "data_batch_3.bin",
                    "data_batch_4.bin",
                    "data_batch_5.bin",
                ],
                10_000,
            ),
            (Cifar::Ten, Split::Test) => (&["test_batch.bin"], 10_000),
            (_, Split::Train) => (&["train.bin"], 50_000),
            (_, Split::Test) => (&["test.bin"], 10_000),
        }
    }

    pub fn archive(self) -> &'static str {
        match self {
            Cifar::Ten => "cifar-10-binary.tar.gz",
            Cifar::HundredFine | Cifar::HundredCoarse => "cifar-100-binary.tar.gz",
        }
    }
}

/// Pixels and labels of `.bin` files, in the order given.
pub(crate) fn read_bins(
    kind: Cifar,
    split: Split,
    classes: usize,
    paths: &[PathBuf],
) -> Result<(Vec<u8>, Vec<u32>)> {
    let most = kind.files(split).1;
    let mut out = Records::new(kind, classes);
    for path in paths {
        let source = Source::open(path)?;
        let size = check_size(kind, path, source.stored(), most)?;
        out.push(path, &source.rest(size)?)?;
    }
    Ok((out.pixels, out.labels))
}

/// Pixels and labels of a split inside the published archive.
pub(crate) fn read_archive(
    kind: Cifar,
    split: Split,
    classes: usize,
    path: &Path,
) -> Result<(Vec<u8>, Vec<u32>)> {
    let (names, most) = kind.files(split);
    let mut source = Source::open(path)?;
    let files = match unpack(kind, source.reader(), path, names, most) {
        Ok(files) => files?,
        Err(e) => return Err(source.broken("the CIFAR archive, a gzipped tar file", e)),
    };
    let mut out = Records::new(kind, classes);
    for (name, bytes) in names.iter().zip(files) {
        let Some(bytes) = bytes else {
            let expected = format!("an archive with {name}");
            return Err(Error::invalid(path, expected, "none of that name"));
        };
        out.push(&path.join(name), &bytes)?;
    }
    Ok((out.pixels, out.labels))
}

/// The files called `names` in a tar stream. The outer error is the stream's.
fn unpack(
    kind: Cifar,
    mut tar: &mut dyn Read,
    path: &Path,
    names: &[&str],
    most: usize,
) -> io::Result<Result<Vec<Option<Vec<u8>>>>> {
    let mut files = vec![None; names.len()];
    for entry in Archive::new(&mut tar).entries()? {
        let mut entry = entry?;
        let file = entry.path()?.file_name().map(|n| n.to_owned());
        let Some(i) = names
            .iter()
            .position(|n| file.as_deref() == Some(n.as_ref()))
        else {
            continue;
        };
        let size = match check_size(kind, &path.join(names[i]), entry.size(), most) {
            Ok(size) => size,
            Err(e) => return Ok(Err(e)),
        };
        let mut bytes = Vec::with_capacity(size as usize);
        entry.read_to_end(&mut bytes)?;
        if bytes.len() as u64 != size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        files[i] = Some(bytes);
    }
    // What follows the last entry holds the gzip checksum.
    io::copy(tar, &mut io::sink())?;
    Ok(Ok(files))
}

/// `size` when it is a whole number of records from 1 to `most`.
fn check_size(kind: Cifar, path: &Path, size: u64, most: usize) -> Result<u64> {
    let record = kind.record() as u64;
    if size == 0 || !size.is_multiple_of(record) || size / record > most as u64 {
        return Err(Error::invalid(
            path,
            format!("1 to {most} records of {record} bytes"),
            format!("{size} bytes, {:.2} records", size as f64 / record as f64),
        ));
    }
    Ok(size)
}

struct Records {
    kind: Cifar,
    classes: usize,
    pixels: Vec<u8>,
    labels: Vec<u32>,
}

impl Records {
    fn new(kind: Cifar, classes: usize) -> Self {
        Self {
            kind,
            classes,
            pixels: Vec::new(),
            labels: Vec::new(),
        }
    }

    fn push(&mut self, path: &Path, bytes: &[u8]) -> Result<()> {
        self.pixels
            .reserve_exact(bytes.len() / self.kind.record() * PIXELS);
        for (i, record) in bytes.chunks_exact(self.kind.record()).enumerate() {
            let label = record[self.kind.label()];
            if label as usize >= self.classes {
                return Err(Error::invalid(
                    path,
                    format!("labels from 0 to {}", self.classes - 1),
                    format!("label {label} at record {i}"),
                ));
            }
            self.labels.push(label as u32);
            self.pixels.extend_from_slice(&record[self.kind.labels()..]);
        }
        Ok(())
    }
}
