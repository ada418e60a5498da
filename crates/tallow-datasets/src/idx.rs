//! IDX, the format of MNIST and its kin: a magic number that states type and rank, the sizes as
//! big-endian `u32`, then bytes.

use std::path::Path;

use crate::error::{Error, Result};
use crate::source::Source;

const IMAGES: u32 = 0x0803;
const LABELS: u32 = 0x0801;

/// Images of `height` x `width`, at most `most`: their number and their pixels, row by row.
pub(crate) fn images(
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
pub(crate) fn labels(mut source: Source, most: usize) -> Result<Vec<u8>> {
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
            format!("{images} labels, one an image"),
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
