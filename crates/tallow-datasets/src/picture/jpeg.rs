//! Segments of a JPEG file: size, orientation, and whether it ends.

use image::metadata::Orientation;

/// Contents of a JPEG's segments.
pub(super) struct Headers {
    /// Height and width of the frame header.
    pub size: Option<(usize, usize)>,
    /// Marker of the frame header, which tells the process, and bits of a sample.
    process: (u8, u8),
    /// Number of colour components.
    pub components: u8,
    /// EXIF orientation, 1 to 8.
    pub orientation: u8,
    /// Whether the end-of-image marker was found.
    pub whole: bool,
}

impl Headers {
    /// Reads all segments up to the end-of-image marker. Whatever follows the marker does not count; thumbnails inside
    /// segments have markers of their own, and are skipped with them.
    pub fn read(bytes: &[u8]) -> Self {
        Self::walk(bytes, 0xd9)
    }

    /// Reads the segments before the first scan.
    pub fn read_start(bytes: &[u8]) -> Self {
        Self::walk(bytes, 0xda)
    }

    /// Kind of the image with its article, if it is one that no decoder here reads.
    pub fn unsupported(&self) -> Option<&'static str> {
        match self.process {
            (0xc9 | 0xca | 0xcd | 0xce, _) => Some("an arithmetic-coded"),
            (0xc3 | 0xc7 | 0xcb | 0xcf, _) => Some("a lossless"),
            (0xc5 | 0xc6, _) => Some("a hierarchical"),
            (_, 12) => Some("a 12-bit"),
            _ => None,
        }
    }

    fn walk(bytes: &[u8], last: u8) -> Self {
        let mut headers = Headers {
            size: None,
            process: (0xc0, 8),
            components: 0,
            orientation: 1,
            whole: false,
        };
        let mut exif = false;
        let mut rest = bytes;
        // Image data between segments has a 0 after each byte 255, so that all else after 255 is a marker.
        while let Some(at) = rest.iter().position(|&byte| byte == 0xff) {
            rest = &rest[at + 1..];
            let Some(&marker) = rest.first() else { break };
            if marker == last || marker == 0xd9 {
                headers.whole = marker == 0xd9;
                break;
            }
            match marker {
                0xff => continue,
                0x00 | 0x01 | 0xd0..=0xd8 => {
                    rest = &rest[1..];
                    continue;
                }
                _ => {}
            }
            let Some(&[_, high, low]) = rest.first_chunk() else {
                break;
            };
            let length = usize::from(u16::from_be_bytes([high, low])).max(2);
            let Some(body) = rest.get(3..1 + length) else {
                break;
            };
            match (marker, body) {
                (
                    0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf,
                    [bits, h1, h0, w1, w0, n, ..],
                ) if headers.size.is_none() => {
                    let number = |high: u8, low: u8| usize::from(u16::from_be_bytes([high, low]));
                    headers.size = Some((number(*h1, *h0), number(*w1, *w0)));
                    headers.process = (marker, *bits);
                    headers.components = *n;
                }
                (0xe1, [b'E', b'x', b'i', b'f', 0, _, chunk @ ..]) if !exif => {
                    exif = true;
                    let orientation = Orientation::from_exif_chunk(chunk);
                    headers.orientation = orientation.map_or(1, Orientation::to_exif);
                }
                _ => {}
            }
            rest = &rest[1 + length..];
        }
        headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Segments of a grey image of 3 x 5 with a scan of a few bytes; a thumbnail inside the EXIF segment ends before it.
    fn file() -> Vec<u8> {
        let exif = [
            &b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0"[..],
            &[0xff, 0xd8, 0xff, 0xd9],
        ]
        .concat();
        let mut bytes = vec![0xff, 0xd8, 0xff, 0xe1, 0, exif.len() as u8 + 2];
        bytes.extend(exif);
        bytes.extend([0xff, 0xc0, 0, 11, 8, 0, 3, 0, 5, 1, 1, 0x11, 0]);
        bytes.extend([0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0]);
        bytes.extend([1, 2, 0xff, 0, 3, 0xff, 0xd0, 4, 0xff, 0xd9]);
        bytes
    }

    #[test]
    fn reads_size_orientation_and_end() {
        let whole = file();
        let trailed = [&whole[..], &[9, 0xff, 0xda, 0, 0, 0xff, 0xd9, 7]].concat();
        for bytes in [&whole, &trailed] {
            let headers = Headers::read(bytes);
            assert_eq!(headers.size, Some((3, 5)));
            assert_eq!((headers.components, headers.orientation), (1, 6));
            assert!(headers.whole);
        }
        for end in 0..whole.len() {
            assert!(!Headers::read(&whole[..end]).whole, "{end}");
        }
        assert!(!Headers::read_start(&whole).whole);
    }
}
