//! Check of the pages of a Parquet column before they are decompressed: sizes, counts and encodings in their headers.
//!
//! The `parquet` crate allocates what a page header announces, searches a damaged header for as long as it says, and panics on some
//! contradictions between headers.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};

use crate::formats::thrift::{Fault, Reader};

/// Bytes read for a page header at first, and at most: statistics in it may be long.
const HEADER: [u64; 2] = [1 << 10, 1 << 20];

/// Smallest work for a page, in bytes.
const PAGE: u64 = 1 << 10;
const LARGEST_FOOTER: u64 = 64 << 20;
const DEEPEST_SCHEMA: usize = 32;
/// Field of the footer.
const SCHEMA: i64 = 2;
/// Field of an element of the schema.
const CHILDREN: i64 = 5;

/// Work that a file may still cause.
pub(crate) struct Budget {
    /// Bytes that may still be decompressed.
    pub bytes: u64,
}

/// Pages of a column of a row group.
#[derive(Debug)]
pub(crate) struct Pages {
    /// First byte of the page of the dictionary, and its size when it is decompressed.
    pub dictionary: Option<(u64, u64)>,
    /// Pages with values, in order.
    pub data: Vec<Page>,
}

/// Page with values.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Page {
    /// First byte of its header.
    pub at: u64,
    /// Size in the file, with the header.
    pub stored: u64,
    /// Size when it is decompressed.
    pub bytes: u64,
    /// Row of its first value in the row group.
    pub first: u64,
    /// Whether its values refer to the dictionary.
    pub by_dictionary: bool,
}

/// Sizes and counts in the header of a page.
struct Header {
    kind: i64,
    uncompressed: i64,
    compressed: i64,
    /// Values of a data page.
    values: i64,
    encoding: i64,
}

const DATA: i64 = 0;
const DICTIONARY: i64 = 2;
const DATA_V2: i64 = 3;
/// Encodings that are read: plain, two of differences (`DELTA_BINARY_PACKED`, `DELTA_LENGTH_BYTE_ARRAY`), and by dictionary.
/// `DELTA_BYTE_ARRAY` can make a page into its square.
const ENCODINGS: [i64; 5] = [0, 2, 5, 6, 8];
/// Encodings that refer to a dictionary: `PLAIN_DICTIONARY`, `RLE_DICTIONARY`.
const BY_DICTIONARY: [i64; 2] = [2, 8];

/// Checks the pages of a column of a row group in `file`, which has `length` bytes, and lists them. The error says what was found.
pub(crate) fn check(
    file: &mut File,
    length: u64,
    group: &RowGroupMetaData,
    column: usize,
    budget: &mut Budget,
) -> Result<Pages, String> {
    let rows = u64::try_from(group.num_rows()).map_err(|_| "a negative number of rows")?;
    let column = group.column(column);
    let (start, size) = range(column).ok_or("a column at a negative place")?;
    let end = match start.checked_add(size) {
        Some(end) if end <= length => end,
        _ => return Err(format!("a column of {size} bytes from byte {start} on")),
    };
    let mut pages = Pages {
        dictionary: None,
        data: Vec::new(),
    };
    let (mut at, mut values) = (start, 0u64);
    while at < end {
        let first = at;
        let (header, header_size) = header(file, at, end)?;
        at += header_size;
        let damaged = || format!("a damaged page header at byte {}", at - header_size);
        let sizes = [header.compressed, header.uncompressed].map(u64::try_from);
        let [Ok(compressed), Ok(uncompressed)] = sizes else {
            return Err(damaged());
        };
        if compressed > end - at {
            return Err(damaged());
        }
        let work = PAGE + header_size + compressed.max(uncompressed);
        budget.bytes = budget.bytes.checked_sub(work).ok_or_else(|| {
            format!("a page of {uncompressed} bytes at byte {at}, more than such a file can hold")
        })?;
        match header.kind {
            // A value takes four bytes at least.
            DICTIONARY if u64::try_from(header.values).map_or(true, |n| n > uncompressed / 4) => {
                return Err(damaged());
            }
            DICTIONARY if pages.dictionary.is_some() || values > 0 => return Err(damaged()),
            DICTIONARY => pages.dictionary = Some((first, uncompressed)),
            DATA | DATA_V2 => {
                if !ENCODINGS.contains(&header.encoding) {
                    return Err(format!(
                        "a page of encoding {} at byte {at}, which is not read",
                        header.encoding
                    ));
                }
                let by_dictionary = BY_DICTIONARY.contains(&header.encoding);
                if by_dictionary && pages.dictionary.is_none() {
                    return Err(format!(
                        "a page of references to a dictionary that is missing, at byte {at}"
                    ));
                }
                let count = u64::try_from(header.values).map_err(|_| damaged())?;
                if count > 0 {
                    pages.data.push(Page {
                        at: first,
                        stored: header_size + compressed,
                        bytes: uncompressed,
                        first: values,
                        by_dictionary,
                    });
                }
                values += count;
                if values > rows {
                    return Err(format!("{values} values or more for {rows} rows"));
                }
            }
            _ => {}
        }
        at += compressed;
    }
    if values != rows {
        return Err(format!("{values} values for {rows} rows"));
    }
    Ok(pages)
}

/// First byte and number of bytes of a column's pages.
fn range(column: &ColumnChunkMetaData) -> Option<(u64, u64)> {
    let data = column.data_page_offset();
    let start = match column.dictionary_page_offset() {
        Some(dictionary) if dictionary > 0 => dictionary,
        _ => data,
    };
    Some((
        u64::try_from(start).ok()?,
        u64::try_from(column.compressed_size()).ok()?,
    ))
}

/// Header of the page at byte `at`, and its size. It ends before byte `end`.
fn header(file: &mut File, at: u64, end: u64) -> Result<(Header, u64), String> {
    let mut bytes = Vec::new();
    for most in HEADER {
        bytes.clear();
        file.seek(SeekFrom::Start(at))
            .and_then(|_| {
                file.by_ref()
                    .take(most.min(end - at))
                    .read_to_end(&mut bytes)
            })
            .map_err(|e| e.to_string())?;
        let mut reader = Reader::new(&bytes);
        match page_header(&mut reader) {
            Ok(header) => return Ok((header, reader.position() as u64)),
            Err(Fault::Short) => {}
            Err(Fault::Damaged) => break,
        }
    }
    Err(format!("a damaged page header at byte {at}"))
}

fn page_header(reader: &mut Reader) -> Result<Header, Fault> {
    let (mut kind, mut uncompressed, mut compressed) = (None, None, None);
    let mut parts = [None; 9];
    let mut last = 0;
    while let Some((field, id)) = reader.field(last)? {
        last = id;
        match id {
            1 if field.is_integer() => kind = Some(reader.integer()?),
            2 if field.is_integer() => uncompressed = Some(reader.integer()?),
            3 if field.is_integer() => compressed = Some(reader.integer()?),
            5 | 7 | 8 if field.is_struct() => parts[id as usize] = Some(part(reader, id)?),
            1..=3 | 5 | 7 | 8 => return Err(Fault::Damaged),
            _ => reader.skip(field)?,
        }
    }
    let (Some(kind), Some(uncompressed), Some(compressed)) = (kind, uncompressed, compressed)
    else {
        return Err(Fault::Damaged);
    };
    let part = match kind {
        DATA => parts[5],
        DICTIONARY => parts[7],
        DATA_V2 => parts[8],
        _ => Some((0, 0)),
    };
    let (values, encoding) = part.ok_or(Fault::Damaged)?;
    Ok(Header {
        kind,
        uncompressed,
        compressed,
        values,
        encoding,
    })
}

/// Number of values and encoding in the header of a data page (field 5), a dictionary (7) or a data page of version 2 (8).
fn part(reader: &mut Reader, of: i64) -> Result<(i64, i64), Fault> {
    let encoding_field = if of == 8 { 4 } else { 2 };
    let (mut values, mut encoding) = (None, None);
    let mut last = 0;
    while let Some((field, id)) = reader.field(last)? {
        last = id;
        match id {
            1 if field.is_integer() => values = Some(reader.integer()?),
            id if id == encoding_field && field.is_integer() => encoding = Some(reader.integer()?),
            _ => reader.skip(field)?,
        }
    }
    Ok((
        values.ok_or(Fault::Damaged)?,
        encoding.ok_or(Fault::Damaged)?,
    ))
}

/// Checks the footer of `file`, which has `length` bytes, before it is parsed: its size, and the nesting of the schema, which is
/// parsed by recursion.
pub(crate) fn check_footer(file: &mut File, length: u64) -> Result<(), String> {
    let mut tail = [0; 8];
    let read = |file: &mut File, at: u64, bytes: &mut [u8]| {
        file.seek(SeekFrom::Start(at))
            .and_then(|_| file.read_exact(bytes))
            .map_err(|e| e.to_string())
    };
    let at = length
        .checked_sub(8)
        .ok_or_else(|| format!("a file of {length} bytes"))?;
    read(file, at, &mut tail)?;
    let [a, b, c, d, magic @ ..] = tail;
    if &magic != b"PAR1" {
        return Err("a file that does not end with the bytes PAR1".into());
    }
    let size = u64::from(u32::from_le_bytes([a, b, c, d]));
    if size > at.min(LARGEST_FOOTER) {
        return Err(format!("a footer of {size} bytes"));
    }
    let mut footer = vec![0; size as usize];
    read(file, at - size, &mut footer)?;
    match schema_depth(&mut Reader::new(&footer)) {
        Ok(depth) if depth <= DEEPEST_SCHEMA => Ok(()),
        Ok(_) => Err(format!("columns nested more than {DEEPEST_SCHEMA} deep")),
        Err(_) => Err("a damaged footer".into()),
    }
}

/// Deepest nesting of the schema, a list of elements in depth-first order, each with the number of its children.
fn schema_depth(reader: &mut Reader) -> Result<usize, Fault> {
    let mut depth = 0;
    let mut last = 0;
    while let Some((field, id)) = reader.field(last)? {
        last = id;
        if id != SCHEMA {
            reader.skip(field)?;
            continue;
        }
        // Number of children that are still to come, for each open group.
        let mut open: Vec<u64> = Vec::new();
        for _ in 0..reader.list(field)? {
            let mut children = 0;
            let mut last = 0;
            while let Some((field, id)) = reader.field(last)? {
                last = id;
                match id {
                    CHILDREN if field.is_integer() => children = reader.integer()?,
                    _ => reader.skip(field)?,
                }
            }
            if let Some(left) = open.last_mut() {
                *left = left.saturating_sub(1);
            }
            open.push(u64::try_from(children).map_err(|_| Fault::Damaged)?);
            depth = depth.max(open.len());
            while open.last() == Some(&0) {
                open.pop();
            }
        }
    }
    Ok(depth)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read() {
        // As pyarrow writes it: a dictionary of 5 values in 935 bytes, plain, not compressed.
        let bytes = [
            0x15, 4, 0x15, 0xce, 0x0e, 0x15, 0xce, 0x0e, 0x4c, 0x15, 10, 0x15, 0, 0x12, 0, 0, 0xff,
        ];
        let mut reader = Reader::new(&bytes);
        let header = page_header(&mut reader).unwrap();
        assert_eq!((header.kind, header.values), (DICTIONARY, 5));
        assert_eq!((header.compressed, header.uncompressed), (935, 935));
        assert_eq!((header.encoding, reader.position()), (0, 16));
        for end in 0..16 {
            let cut = page_header(&mut Reader::new(&bytes[..end]));
            assert!(matches!(cut, Err(Fault::Short)), "{end}");
        }
    }

    #[test]
    fn the_depth_of_a_schema_is_counted() {
        let schema = |children: &[u8]| {
            let mut bytes = vec![0x29, 0xfc, children.len() as u8];
            for n in children {
                bytes.extend([0x55, 2 * n, 0]);
            }
            bytes.push(0);
            schema_depth(&mut Reader::new(&bytes))
        };
        assert_eq!(schema(&[2, 0, 1, 0]), Ok(3));
        assert_eq!(schema(&[3, 0, 0, 0]), Ok(2));
        assert_eq!(schema(&[1; 40]), Ok(40));
        // One child less than the third element announces.
        assert_eq!(schema(&[1, 1, 2, 0]), Ok(4));
    }
}
