//! Reading a data file of a known size, gzipped or not, without trusting it.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use crate::digest::hex;
use crate::error::{Error, Result};

/// Largest ratio by which a deflate stream can grow.
const MAX_RATIO: u64 = 1032;

/// A data file being read: its bytes after decompression, in order.
pub(crate) struct Source<'a> {
    path: PathBuf,
    reader: Box<dyn Read + 'a>,
    /// Bytes as stored.
    stored: u64,
    gzip: bool,
    /// Kind of the stored file, by its first bytes.
    kind: String,
    /// Bytes handed out so far.
    position: u64,
}

impl Source<'static> {
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::io(path, e))?;
        let stored = file.metadata().map_err(|e| Error::io(path, e))?.len();
        Self::new(
            path.to_path_buf(),
            BufReader::with_capacity(1 << 16, file),
            stored,
        )
    }
}

impl<'a> Source<'a> {
    /// A source over `reader`, which holds `stored` bytes; `path` is for messages, and a name in `.gz` must
    /// hold a gzip stream.
    pub fn new(path: PathBuf, mut reader: impl Read + 'a, stored: u64) -> Result<Self> {
        let mut start = Vec::new();
        reader
            .by_ref()
            .take(16)
            .read_to_end(&mut start)
            .map_err(|e| Error::io(&path, e))?;
        let gzip = start.starts_with(&[0x1f, 0x8b]);
        let kind = kind_of(&start);
        if !gzip && path.extension().is_some_and(|e| e == "gz") {
            return Err(Error::invalid(path, "a gzip file", kind));
        }
        let whole = Cursor::new(start).chain(reader);
        let reader: Box<dyn Read + 'a> = if gzip {
            Box::new(MultiGzDecoder::new(whole))
        } else {
            Box::new(whole)
        };
        Ok(Self {
            path,
            reader,
            stored,
            gzip,
            kind,
            position: 0,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Kind of the file, `start` being its first bytes after decompression.
    pub fn kind(&self, start: &[u8]) -> String {
        if self.gzip {
            format!("{}, gzipped", kind_of(start))
        } else {
            self.kind.clone()
        }
    }

    pub fn stored(&self) -> u64 {
        self.stored
    }

    /// Next `N` bytes; `what` describes them in an error.
    pub fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        let mut filled = 0;
        while filled < N {
            match self.reader.read(&mut bytes[filled..]) {
                Ok(0) => {
                    let found = match self.position + filled as u64 {
                        0 => "an empty file".to_string(),
                        n => format!("the end of the file after {n} bytes"),
                    };
                    return Err(Error::invalid(&self.path, what, found));
                }
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(self.broken(what, e)),
            }
        }
        self.position += N as u64;
        Ok(bytes)
    }

    /// The remaining bytes, of which there must be exactly `size`. Memory is bounded by what the stored file
    /// can hold, whatever `size` says.
    pub fn rest(mut self, size: u64) -> Result<Vec<u8>> {
        let expected = format!("{} bytes", self.position + size);
        let most = if self.gzip {
            self.stored.saturating_mul(MAX_RATIO)
        } else {
            self.stored
        };
        if !self.gzip && self.position + size != self.stored {
            return Err(Error::invalid(
                &self.path,
                expected,
                format!("{} bytes", self.stored),
            ));
        }
        if size > most {
            let found = format!(
                "a gzip file of {} bytes, too small to hold them",
                self.stored
            );
            return Err(Error::invalid(&self.path, expected, found));
        }
        let mut bytes = Vec::new();
        if bytes.try_reserve_exact(size as usize).is_err() {
            return Err(Error::Argument(format!(
                "{}: no memory for {size} bytes",
                self.path.display()
            )));
        }
        if let Err(e) = self.reader.by_ref().take(size).read_to_end(&mut bytes) {
            return Err(self.broken(&expected, e));
        }
        if bytes.len() as u64 != size {
            let found = format!("{} bytes", self.position + bytes.len() as u64);
            return Err(Error::invalid(&self.path, expected, found));
        }
        // Reading on also makes gzip compare its checksum.
        match self.reader.read(&mut [0]) {
            Ok(0) => Ok(bytes),
            Ok(_) => Err(Error::invalid(
                &self.path,
                expected,
                "more bytes after these",
            )),
            Err(e) => Err(self.broken(&expected, e)),
        }
    }

    /// Reader of the remaining bytes, for other parsers (tar).
    pub fn reader(&mut self) -> &mut (dyn Read + 'a) {
        &mut *self.reader
    }

    /// The error for `e` met while reading `what`: a broken file, or the system's trouble.
    pub fn broken(&self, what: &str, e: io::Error) -> Error {
        match e.kind() {
            io::ErrorKind::UnexpectedEof => {
                Error::invalid(&self.path, what, "a file that ends in the middle")
            }
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::Other => {
                Error::invalid(&self.path, what, e.to_string())
            }
            _ => Error::io(&self.path, e),
        }
    }
}

/// Kind of a file, by its first bytes.
pub(crate) fn kind_of(start: &[u8]) -> String {
    let known: [(&[u8], &str); 12] = [
        (b"\x1f\x8b", "a gzip file"),
        (b"\x89PNG", "a PNG image"),
        (b"\xff\xd8\xff", "a JPEG image"),
        (b"PK\x03\x04", "a zip archive"),
        (b"PAR1", "a Parquet file"),
        (b"\0\0\x08\x03", "an IDX file of images"),
        (b"\0\0\x08\x01", "an IDX file of labels"),
        (b"\xfd7zXZ", "an xz file"),
        (b"\x28\xb5\x2f\xfd", "a zstd file"),
        (
            b"version https://",
            "a Git LFS pointer, not the file itself",
        ),
        (b"<!", "an HTML page"),
        (b"<html", "an HTML page"),
    ];
    if start.is_empty() {
        return "an empty file".into();
    }
    match known.iter().find(|(magic, _)| start.starts_with(magic)) {
        Some((_, name)) => name.to_string(),
        None => format!(
            "a file that starts with the bytes {}",
            hex(&start[..start.len().min(4)])
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn rest(name: &str, bytes: &[u8], size: u64) -> Result<Vec<u8>, String> {
        Source::new(name.into(), bytes, bytes.len() as u64)
            .and_then(|s| s.rest(size))
            .map_err(|e| e.to_string())
    }

    #[test]
    fn exact_sizes_are_read() {
        let data: Vec<u8> = (0..=255).collect();
        assert_eq!(rest("f", &data, 256).unwrap(), data);
        assert_eq!(rest("f.gz", &gz(&data), 256).unwrap(), data);
        assert_eq!(
            rest("f", &gz(&data), 256).unwrap(),
            data,
            "gzip without the name"
        );
        let two = [gz(&data[..100]), gz(&data[100..])].concat();
        assert_eq!(
            rest("f.gz", &two, 256).unwrap(),
            data,
            "two gzip members are one file"
        );
    }

    #[test]
    fn wrong_sizes_are_named() {
        let data = [7; 100];
        assert_eq!(
            rest("f", &data, 90).unwrap_err(),
            "f: expected 90 bytes, found 100 bytes"
        );
        assert_eq!(
            rest("f", &data, 110).unwrap_err(),
            "f: expected 110 bytes, found 100 bytes"
        );
        let error = rest("f.gz", &gz(&data), 90).unwrap_err();
        assert_eq!(
            error,
            "f.gz: expected 90 bytes, found more bytes after these"
        );
        let error = rest("f.gz", &gz(&data), 110).unwrap_err();
        assert_eq!(error, "f.gz: expected 110 bytes, found 100 bytes");
    }

    #[test]
    fn a_promise_beyond_the_file_allocates_nothing() {
        let error = rest("f.gz", &gz(&[0; 100]), 1 << 50).unwrap_err();
        assert!(error.contains("too small to hold them"), "{error}");
    }

    #[test]
    fn damage_to_gzip_is_found() {
        let whole = gz(&(0..2000u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>());
        let mut wrong_sum = whole.clone();
        let n = wrong_sum.len();
        wrong_sum[n - 6] ^= 1;
        let error = rest("f.gz", &wrong_sum, 8000).unwrap_err();
        assert!(error.contains("checksum"), "{error}");
        let error = rest("f.gz", &whole[..n / 2], 8000).unwrap_err();
        assert!(error.contains("ends in the middle"), "{error}");
        let error = rest("f.gz", &[whole, b"trailing".to_vec()].concat(), 8000).unwrap_err();
        assert!(error.contains("expected 8000 bytes, found"), "{error}");
    }

    #[test]
    fn other_kinds_are_named() {
        let error = rest("f.gz", b"\x89PNG\r\n\x1a\n", 8).unwrap_err();
        assert_eq!(error, "f.gz: expected a gzip file, found a PNG image");
        let error = rest("f.gz", b"", 8).unwrap_err();
        assert_eq!(error, "f.gz: expected a gzip file, found an empty file");
    }
}
