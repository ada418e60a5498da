//! NumPy's format of one array, `.npy`: a header, which is a Python dict as text, and the numbers.

use std::io::Read;
use std::path::Path;

use crate::error::{Error, Result};

/// Longest header of an array.
const HEADER: u64 = 1 << 16;
/// Largest ratio by which a deflate stream can grow.
const MAX_RATIO: u64 = 1032;

/// Header of an array.
pub(crate) struct Header {
    /// Type without the order of bytes, such as `u1` or `i8`.
    pub kind: String,
    /// Whether the highest byte of a number comes first.
    pub big_endian: bool,
    pub shape: Vec<usize>,
}

/// Reads the header of an array; `at` is its name in messages.
pub(crate) fn header(reader: &mut impl Read, at: &Path) -> Result<Header> {
    parse(reader)
        .map_err(|found| Error::invalid(at, "an array of NumPy's format 1 or 2 in C order", found))
}

/// Reads the `bytes` of an array, which must be all that is left. `stored` is the number of bytes that hold them, compressed or not: it
/// bounds what is allocated.
pub(crate) fn data(reader: &mut impl Read, at: &Path, bytes: u64, stored: u64) -> Result<Vec<u8>> {
    if bytes > stored.saturating_mul(MAX_RATIO) {
        let found = format!("{stored} bytes, too few to hold them");
        return Err(Error::invalid(at, format!("{bytes} bytes"), found));
    }
    let mut data = Vec::new();
    let wrong = |found: String| Error::invalid(at, format!("{bytes} bytes of data"), found);
    reader
        .by_ref()
        .take(bytes)
        .read_to_end(&mut data)
        .map_err(|e| wrong(e.to_string()))?;
    // Reading on also makes an archive compare its checksum.
    match reader.read(&mut [0]) {
        Ok(0) if data.len() as u64 == bytes => Ok(data),
        Ok(0) => Err(wrong(format!("{} bytes", data.len()))),
        Ok(_) => Err(wrong("more bytes after these".into())),
        Err(e) => Err(wrong(e.to_string())),
    }
}

fn parse(reader: &mut impl Read) -> Result<Header, String> {
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
        kind: kind.trim_start_matches(['|', '<', '>', '=']).into(),
        big_endian: kind.starts_with('>'),
        shape: sizes
            .map(|size| size.parse().map_err(|_| wrong()))
            .collect::<Result<_, _>>()?,
    })
}
