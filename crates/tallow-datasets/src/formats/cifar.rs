//! CIFAR's binary format: records of label bytes (CIFAR-100 has two, coarse and fine) and 3,072 pixels,
//! planar RGB. Published as `.bin` files inside a `.tar.gz`.

use std::io::{self, Read};
use std::path::Path;

use tar::Archive;

use crate::error::{Error, Result};
use crate::source::Source;
use crate::storage::{Contents, Format, Reading, Storage};

/// Bytes of the pixels of a record.
pub(crate) const PIXELS: usize = 3 * 32 * 32;

/// The published archive, which holds the `.bin` files of both splits.
pub(crate) const fn archive(
    archive: &'static [&'static str; 1],
    train: &'static [&'static str],
    test: &'static [&'static str],
) -> Storage {
    Storage {
        format: Format::CifarBinary,
        files: [archive, archive],
        members: [train, test],
        read: read_archive,
    }
}

/// The `.bin` files unpacked.
pub(crate) const fn files(
    train: &'static [&'static str],
    test: &'static [&'static str],
) -> Storage {
    Storage {
        format: Format::CifarBinary,
        files: [train, test],
        members: [&[], &[]],
        read: read_bins,
    }
}

/// Pixels and labels of `.bin` files, in the order given.
fn read_bins(reading: &Reading) -> Result<Contents> {
    let mut out = Records::new(reading, reading.files.len());
    for path in reading.files {
        let source = Source::open(path)?;
        let size = out.check_size(path, source.stored())?;
        out.push(path, &source.rest(size)?)?;
    }
    Ok(Contents::lossless(out.pixels, out.labels))
}

/// Pixels and labels of a split inside the published archive.
fn read_archive(reading: &Reading) -> Result<Contents> {
    let (path, names) = (&reading.files[0], reading.members);
    let mut source = Source::open(path)?;
    let mut out = Records::new(reading, names.len());
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

/// The files called `names` in a tar stream, those whose size passes `check`. The outer error is the stream's.
pub(crate) fn unpack(
    check: impl Fn(&Path, u64) -> Result<u64>,
    mut tar: &mut dyn Read,
    path: &Path,
    names: &[&str],
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
        let size = match check(&path.join(names[i]), entry.size()) {
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

/// Records of a split, collected file by file.
struct Records {
    /// Label bytes of a record.
    label_bytes: usize,
    /// Position of the label among them.
    label: usize,
    classes: usize,
    /// Largest number of records in a file.
    most: usize,
    pixels: Vec<u8>,
    labels: Vec<u32>,
}

impl Records {
    fn new(reading: &Reading, files: usize) -> Self {
        Self {
            label_bytes: reading.labels.bytes,
            label: reading.labels.byte,
            classes: reading.classes,
            most: reading.most / files.max(1),
            pixels: Vec::new(),
            labels: Vec::new(),
        }
    }

    /// Bytes of a record.
    fn record(&self) -> usize {
        self.label_bytes + PIXELS
    }

    /// `size` when it is a whole number of records from 1 to `most`.
    fn check_size(&self, path: &Path, size: u64) -> Result<u64> {
        let (record, most) = (self.record() as u64, self.most);
        if size == 0 || !size.is_multiple_of(record) || size / record > most as u64 {
            return Err(Error::invalid(
                path,
                format!("1 to {most} records of {record} bytes"),
                format!("{size} bytes, {:.2} records", size as f64 / record as f64),
            ));
        }
        Ok(size)
    }

    fn push(&mut self, path: &Path, bytes: &[u8]) -> Result<()> {
        let record = self.record();
        self.pixels.reserve_exact(bytes.len() / record * PIXELS);
        for (i, record) in bytes.chunks_exact(record).enumerate() {
            let label = record[self.label];
            if label as usize >= self.classes {
                return Err(Error::invalid(
                    path,
                    format!("labels from 0 to {}", self.classes - 1),
                    format!("label {label} at record {i}"),
                ));
            }
            self.labels.push(label as u32);
            self.pixels.extend_from_slice(&record[self.label_bytes..]);
        }
        Ok(())
    }
}
