//! CIFAR's binary format: records of one label byte (CIFAR-100: two, coarse and fine) and 3,072 pixels,
//! planar RGB. Published as `.bin` files inside a `.tar.gz`.

use std::io::Read;
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
    let what = "the CIFAR archive, a gzipped tar file";
    let mut source = Source::open(path)?;
    let mut files: Vec<Option<Vec<u8>>> = vec![None; names.len()];
    let mut failure = None;
    let mut archive = Archive::new(source.reader());
    let entries = archive.entries().map_err(|e| Error::io(path, e))?;
    for entry in entries {
        let step = entry.and_then(|mut entry| {
            let name = entry
                .path()?
                .file_name()
                .and_then(|n| n.to_str())
                .map(str::to_owned);
            let Some(i) = names.iter().position(|n| Some(*n) == name.as_deref()) else {
                return Ok(None);
            };
            let inside = path.join(names[i]);
            let size = match check_size(kind, &inside, entry.size(), most) {
                Ok(size) => size,
                Err(e) => return Ok(Some(e)),
            };
            let mut bytes = Vec::with_capacity(size as usize);
            entry.by_ref().take(size).read_to_end(&mut bytes)?;
            if bytes.len() as u64 != size {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            files[i] = Some(bytes);
            Ok(None)
        });
        match step {
            Ok(None) => {}
            Ok(Some(error)) => return Err(error),
            Err(e) => {
                failure = Some(e);
                break;
            }
        }
    }
    drop(archive);
    // The rest holds the gzip checksum.
    let failure = failure.or_else(|| std::io::copy(source.reader(), &mut std::io::sink()).err());
    if let Some(e) = failure {
        return Err(source.broken(what, e));
    }
    let mut out = Records::new(kind, classes);
    for (name, bytes) in names.iter().zip(files) {
        let Some(bytes) = bytes else {
            return Err(Error::invalid(
                path,
                format!("an archive with {name}"),
                "none of that name",
            ));
        };
        out.push(&path.join(name), &bytes)?;
    }
    Ok((out.pixels, out.labels))
}

/// `size` when it is a whole number of records from 1 to `most`.
fn check_size(kind: Cifar, path: &Path, size: u64, most: usize) -> Result<u64> {
    let record = kind.record() as u64;
    if size == 0 || size % record != 0 || size / record > most as u64 {
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
