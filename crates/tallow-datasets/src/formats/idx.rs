//! IDX, the file format of MNIST and datasets like it: a magic number that gives type and rank, the sizes as
//! big-endian `u32`, then bytes.

use std::fs::File;
use std::path::Path;

use zip::ZipArchive;

use crate::error::{Error, Result};
use crate::source::Source;
use crate::storage::{Contents, Format, Reading, Storage};

const IMAGES: u32 = 0x0803;
const LABELS: u32 = 0x0801;

/// A file of images and a file of labels for each split. A name in `.gz` also stands for the plain file.
pub(crate) const fn files(
    train: &'static [&'static str; 2],
    test: &'static [&'static str; 2],
) -> Storage {
    Storage {
        format: Format::Idx,
        files: [train, test],
        members: [&[], &[]],
        read,
    }
}

/// The same files inside a zip archive that holds both splits.
pub(crate) const fn in_zip(
    archive: &'static [&'static str; 1],
    train: &'static [&'static str; 2],
    test: &'static [&'static str; 2],
) -> Storage {
    Storage {
        format: Format::IdxZip,
        files: [archive, archive],
        members: [train, test],
        read: read_zip,
    }
}

fn read(reading: &Reading) -> Result<Contents> {
    let images = Source::open(&reading.files[0])?;
    let labels = Source::open(&reading.files[1])?;
    read_sources(reading, images, labels)
}

fn read_zip(reading: &Reading) -> Result<Contents> {
    let path = &reading.files[0];
    let names = [reading.members[0], reading.members[1]];
    let open = || {
        let file = File::open(path).map_err(|e| Error::io(path, e))?;
        ZipArchive::new(file).map_err(|e| Error::invalid(path, "EMNIST's gzip.zip", e.to_string()))
    };
    let absent = |name: &str| Error::invalid(path, format!("an archive with {name}"), "none");
    let stored = path.metadata().map_err(|e| Error::io(path, e))?.len();
    // Two handles, as an archive lends one file at a time.
    let (mut first, mut second) = (open()?, open()?);
    let images = first.by_name(names[0]).map_err(|_| absent(names[0]))?;
    let labels = second.by_name(names[1]).map_err(|_| absent(names[1]))?;
    let (size, label_size) = (images.size().min(stored), labels.size().min(stored));
    let images = Source::new(path.join(names[0]), images, size)?;
    let labels = Source::new(path.join(names[1]), labels, label_size)?;
    read_sources(reading, images, labels)
}

/// Images and labels from open sources.
pub(crate) fn read_sources(reading: &Reading, images: Source, labels: Source) -> Result<Contents> {
    let (_, height, width) = reading.shape;
    let (n, pixels) = self::images(images, (height, width), reading.most)?;
    let path = labels.path().to_path_buf();
    let bytes = self::labels(labels, reading.most)?;
    let labels = classes(&path, &bytes, n, reading.labels.first, reading.classes)?;
    Ok(Contents::lossless(pixels, labels))
}

/// Number and pixels of the images of `height` x `width`, at most `most`, row by row.
fn images(
    mut source: Source,
    (height, width): (usize, usize),
    most: usize,
) -> Result<(usize, Vec<u8>)> {
    magic(
        &mut source,
        IMAGES,
        "an IDX file of images (magic 0x00000803)",
    )?;
    let n = count(&mut source, most)?;
    let h = be32(&mut source)?;
    let w = be32(&mut source)?;
    if (h as usize, w as usize) != (height, width) {
        return Err(Error::invalid(
            source.path(),
            format!("images of {height}x{width}"),
            format!("images of {h}x{w}"),
        ));
    }
    let pixels = source.rest(n as u64 * (height * width) as u64)?;
    Ok((n, pixels))
}

/// Labels, at most `most`.
fn labels(mut source: Source, most: usize) -> Result<Vec<u8>> {
    magic(
        &mut source,
        LABELS,
        "an IDX file of labels (magic 0x00000801)",
    )?;
    let n = count(&mut source, most)?;
    source.rest(n as u64)
}

/// Labels as class numbers: `first` is that of class 0, and each must be one of `classes`.
/// There must be `images` of them.
pub(crate) fn classes(
    path: &Path,
    labels: &[u8],
    images: usize,
    first: u8,
    classes: usize,
) -> Result<Vec<u32>> {
    if labels.len() != images {
        return Err(Error::invalid(
            path,
            format!("{images} labels, one per image"),
            format!("{} labels", labels.len()),
        ));
    }
    let last = first as usize + classes - 1;
    labels
        .iter()
        .enumerate()
        .map(|(i, &l)| match l.checked_sub(first) {
            Some(class) if (class as usize) < classes => Ok(class as u32),
            _ => Err(Error::invalid(
                path,
                format!("labels from {first} to {last}"),
                format!("label {l} at sample {i}"),
            )),
        })
        .collect()
}

fn magic(source: &mut Source, expected: u32, what: &str) -> Result<()> {
    let start: [u8; 4] = source.array(what)?;
    if u32::from_be_bytes(start) != expected {
        return Err(Error::invalid(source.path(), what, source.kind(&start)));
    }
    Ok(())
}

fn count(source: &mut Source, most: usize) -> Result<usize> {
    let n = be32(source)? as usize;
    if n == 0 || n > most {
        return Err(Error::invalid(
            source.path(),
            format!("1 to {most} samples"),
            format!("a header that says {n}"),
        ));
    }
    Ok(n)
}

fn be32(source: &mut Source) -> Result<u32> {
    Ok(u32::from_be_bytes(
        source.array("the sizes of an IDX header")?,
    ))
}
