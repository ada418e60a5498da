//! Decoding compared with libjpeg-turbo, to the bit, and files that are not decoded.

use tallow_jpeg::{Error, decode, decode_into, dimensions, quality};

/// A file with the size and the planes that libjpeg-turbo decodes it to.
struct Case<'a> {
    height: usize,
    width: usize,
    jpeg: &'a [u8],
    planes: &'a [u8],
}

/// The cases in a file written by `fixtures/make_jpeg.py`.
fn cases(mut rest: &[u8]) -> Vec<Case<'_>> {
    let mut number = || {
        let (bytes, after) = rest.split_first_chunk::<4>().unwrap();
        rest = after;
        u32::from_le_bytes(*bytes) as usize
    };
    let sizes: Vec<_> = (0..number())
        .map(|_| [number(), number(), number()])
        .collect();
    let mut cases = Vec::new();
    for [height, width, length] in sizes {
        let (jpeg, after) = rest.split_at(length);
        let (planes, after) = after.split_at(3 * height * width);
        rest = after;
        cases.push(Case {
            height,
            width,
            jpeg,
            planes,
        });
    }
    assert!(rest.is_empty());
    cases
}

const FILES: &[u8] = include_bytes!("../fixtures/jpeg.bin");
const NARROW: &[u8] = include_bytes!("../fixtures/narrow.bin");

#[test]
fn pixels_are_those_of_libjpeg() {
    let (files, narrow) = (cases(FILES), cases(NARROW));
    assert_eq!((files.len(), narrow.len()), (8, 10));
    for case in files.into_iter().chain(narrow) {
        let size = (case.height, case.width);
        assert_eq!(dimensions(case.jpeg), Ok(size));
        let image = decode(case.jpeg, case.height * case.width).unwrap();
        assert_eq!((image.height, image.width), size);
        assert!(image.planes == case.planes, "{size:?}");
    }
}

#[test]
fn truncated_and_changed_files_do_not_panic() {
    for case in cases(FILES) {
        let mut out = vec![0; case.planes.len()];
        for end in 0..case.jpeg.len() - 16 {
            let cut = decode_into(&case.jpeg[..end], &mut out);
            let expected = if end < 2 {
                matches!(cut, Err(Error::NotJpeg))
            } else {
                matches!(cut, Err(Error::Damaged(_)))
            };
            assert!(expected, "{end}: {cut:?}");
        }
        for at in 0..case.jpeg.len() {
            let mut changed = case.jpeg.to_vec();
            changed[at] ^= [0xff, 0x01, 0x80][at % 3];
            let _ = decode_into(&changed, &mut out);
            let _ = quality(&changed);
        }
    }
}

#[test]
fn sizes_are_checked_before_anything_is_allocated() {
    let case = &cases(FILES)[0];
    let error = decode(case.jpeg, 32 * 32 - 1).unwrap_err();
    let (height, width, limit) = (32, 32, 32 * 32 - 1);
    assert_eq!(
        error,
        Error::TooLarge {
            height,
            width,
            limit
        }
    );
    let error = decode_into(case.jpeg, &mut [0; 100]).unwrap_err();
    let (expected, found) = (3 * 32 * 32, 100);
    assert_eq!(error, Error::Buffer { expected, found });
    // 65,535 x 65,535 pixels in the header.
    let huge = edited(case.jpeg, |sof| sof[5..9].fill(0xff));
    assert_eq!(dimensions(&huge), Ok((65_535, 65_535)));
    assert!(matches!(
        decode(&huge, 1 << 26),
        Err(Error::TooLarge { .. })
    ));
}

/// The file with its frame header changed: marker, length, precision, height, width, count, and three bytes a component.
fn edited(jpeg: &[u8], change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut jpeg = jpeg.to_vec();
    let at = jpeg.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
    change(&mut jpeg[at..at + 19]);
    jpeg
}

#[test]
fn other_kinds_are_unsupported() {
    let jpeg = cases(FILES)[0].jpeg;
    let unsupported = |bytes: &[u8]| match dimensions(bytes) {
        Err(Error::Unsupported(kind)) => kind,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        unsupported(&edited(jpeg, |sof| sof[1] = 0xc2)),
        "progressive"
    );
    assert_eq!(
        unsupported(&edited(jpeg, |sof| sof[1] = 0xc9)),
        "arithmetic coding"
    );
    assert_eq!(
        unsupported(&edited(jpeg, |sof| sof[4] = 12)),
        "samples of other than 8 bits"
    );
    for sampling in [0x12, 0x41] {
        let kind = unsupported(&edited(jpeg, |sof| sof[11] = sampling));
        assert!(kind.contains("4:4:4, 4:2:2, 4:2:0"), "{kind}");
    }
    // Without JFIF's marker, libjpeg takes components called R, G, B for these colours.
    let named = |names: &[u8; 3], jpeg: Vec<u8>| {
        let mut jpeg = edited(&jpeg, |sof| {
            (sof[10], sof[13], sof[16]) = (names[0], names[1], names[2]);
        });
        let at = jpeg.windows(2).position(|w| w == [0xff, 0xda]).unwrap();
        (jpeg[at + 5], jpeg[at + 7], jpeg[at + 9]) = (names[0], names[1], names[2]);
        jpeg
    };
    let without = [&jpeg[..2], &jpeg[20..]].concat();
    assert_eq!(&jpeg[6..10], b"JFIF");
    assert_eq!(unsupported(&named(b"RGB", without)), "RGB instead of YCbCr");
    assert_eq!(
        dimensions(&named(b"RGB", jpeg.to_vec())),
        Ok((32, 32)),
        "JFIF is always YCbCr"
    );
    assert_eq!(dimensions(b"\x89PNG"), Err(Error::NotJpeg));
}
