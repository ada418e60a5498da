//! Kinds of picture files.

use std::collections::{BTreeMap, BTreeSet};

use tallow_datasets::{Picture, PictureError, PictureNote, PictureOptions, decode_picture};

use crate::formats::table::{Outcome, Table};
use crate::sets::make::fixture_bytes;
use crate::sets::pictures::{bytes, expected};

/// Pixels that a kind must have.
#[derive(Clone, Copy)]
enum Pixels {
    /// Those of Pillow's `convert("RGB")`, up to a difference.
    Pillow(u8),
    /// The high bytes of grey samples of 16 bits, which are the red plane of `rgb.png`.
    HighByte,
    /// `4 r + 1` of 1023 for the red plane `r` of `rgb.png`, scaled to 255 and rounded.
    TenBits,
}

use Pixels::{HighByte, Pillow, TenBits};

/// Kinds of files that Pillow wrote, and for those that are read, what it makes of them.
const WRITTEN: [(&str, Pixels, &str); 55] = [
    (
        "JPEG, baseline: 4:4:4, 4:2:2 or 4:2:0",
        Pillow(0),
        "quality95.jpg baseline-422.jpg exif-1.jpg",
    ),
    (
        "JPEG, baseline, with restart markers",
        Pillow(0),
        "restarts.jpg",
    ),
    ("JPEG, baseline, grey", Pillow(0), "grey.jpg"),
    (
        "JPEG, baseline, 4:4:0 or 4:1:1",
        Pillow(3),
        "440.jpg 411.jpg",
    ),
    (
        "JPEG, progressive",
        Pillow(3),
        "progressive.jpg progressive-420.jpg",
    ),
    ("JPEG, progressive, grey", Pillow(1), "grey-progressive.jpg"),
    (
        "JPEG, CMYK (Adobe), baseline or progressive",
        Pillow(3),
        "cmyk.jpg cmyk-progressive.jpg",
    ),
    ("JPEG, YCCK (Adobe)", Pillow(3), "ycck.jpg"),
    ("JPEG, RGB (Adobe)", Pillow(3), "rgb.jpg"),
    (
        "JPEG with an EXIF orientation of 2 to 8",
        Pillow(0),
        "exif-2.jpg exif-3.jpg exif-4.jpg exif-5.jpg exif-6.jpg exif-7.jpg exif-8.jpg",
    ),
    (
        "JPEG, progressive, with an EXIF orientation",
        Pillow(3),
        "exif-progressive.jpg",
    ),
    ("MPO: several JPEGs in one file", Pillow(0), "photos.mpo"),
    (
        "PNG, RGB, also with a colour profile",
        Pillow(0),
        "rgb.png profile.png",
    ),
    ("PNG, grey", Pillow(0), "grey.png"),
    (
        "PNG, palette or grey of 1 to 8 bits",
        Pillow(0),
        "palette.png palette-2.png one-bit.png",
    ),
    ("PNG with alpha", Pillow(0), "rgba.png grey-alpha.png"),
    (
        "PNG, palette with transparency",
        Pillow(0),
        "palette-transparent.png palette-alphas.png",
    ),
    (
        "PNG with a transparent colour",
        Pillow(0),
        "rgb-key.png grey-key.png",
    ),
    ("PNG, RGB of 16 bits", Pillow(0), "deep.png"),
    (
        "PNG of 16 bits with alpha",
        Pillow(0),
        "rgba-16.png grey-alpha-16.png",
    ),
    (
        "PNG or TIFF, grey of 16 bits",
        HighByte,
        "grey-16.png grey-16.tif",
    ),
    ("PNG with an EXIF orientation", Pillow(0), "exif.png"),
    ("PNG, animated", Pillow(0), "animated.png"),
    ("WebP, lossless", Pillow(0), "lossless.webp"),
    ("WebP, lossless with alpha", Pillow(0), "rgba.webp"),
    ("WebP, lossy", Pillow(3), "lossy.webp"),
    ("WebP, lossy with alpha", Pillow(3), "lossy-alpha.webp"),
    ("WebP with an EXIF orientation", Pillow(0), "exif.webp"),
    ("WebP, animated, lossless", Pillow(0), "animated.webp"),
    (
        "WebP, animated, lossless with alpha",
        Pillow(0),
        "animated-alpha.webp",
    ),
    ("WebP, animated, lossy", Pillow(3), "animated-lossy.webp"),
    (
        "GIF, also interlaced or grey",
        Pillow(0),
        "one.gif interlaced.gif grey.gif",
    ),
    ("GIF with transparency", Pillow(0), "transparent.gif"),
    ("GIF, animated", Pillow(0), "animated.gif"),
    (
        "GIF, animated, with transparency",
        Pillow(0),
        "animated-transparent.gif",
    ),
    (
        "BMP: RGB, grey, palette, 1 bit",
        Pillow(0),
        "rgb.bmp grey.bmp palette.bmp one-bit.bmp",
    ),
    ("BMP with alpha", Pillow(0), "rgba.bmp"),
    (
        "PPM, PGM, PBM, binary or text",
        Pillow(0),
        "rgb.ppm grey.pgm one-bit.pbm plain.pgm",
    ),
    ("PPM of 16 bits", Pillow(1), "deep.ppm"),
    ("PGM of 9 to 16 bits", TenBits, "ten-bit.pgm"),
    (
        "TIFF, RGB, grey or 1 bit: plain, deflate, LZW, PackBits",
        Pillow(0),
        "rgb.tif deflate.tif lzw.tif packbits.tif grey.tif one-bit.tif",
    ),
    ("TIFF, palette", Pillow(0), "palette.tif"),
    ("TIFF with alpha", Pillow(0), "rgba.tif"),
    ("TIFF, CMYK", Pillow(3), "cmyk.tif"),
    ("TIFF with JPEG compression", Pillow(3), "jpeg.tif"),
    ("TIFF with fax compression", Pillow(0), "group4.tif"),
    ("TIFF of floating-point numbers", Pillow(0), "float.tif"),
    ("TIFF with an EXIF orientation", Pillow(0), "exif.tif"),
    ("TIFF with several pages", Pillow(0), "pages.tif"),
    ("BigTIFF", Pillow(0), "big.tif"),
    ("AVIF", Pillow(0), "photo.avif"),
    ("JPEG 2000", Pillow(0), "2000.jp2"),
    ("ICO, QOI, DDS", Pillow(0), "icon.ico rgb.qoi rgb.dds"),
    ("PCX", Pillow(0), "rgb.pcx"),
    ("TGA", Pillow(0), "rgb.tga"),
];

/// Beginning of the details of a file whose pixels are not those expected.
const WRONG: &str = "wrong pixels:";

/// Height, width and planes.
type Expected = (usize, usize, Vec<u8>);

/// A fixture and what Pillow makes of it.
fn fixture(name: &str, pillow: &BTreeMap<String, Expected>) -> (Vec<u8>, Expected) {
    match pillow.get(name) {
        Some(expected) => (bytes(name), expected.clone()),
        None => {
            let planes = fixture_bytes(&format!("folder/{name}.bin"));
            (fixture_bytes(&format!("folder/{name}")), (9, 14, planes))
        }
    }
}

/// Outcome and details of a file. If it is read, its pixels must be as `pixels` says.
fn outcome(name: &str, file: &[u8], expected: &Expected, pixels: Pixels) -> (Outcome, String) {
    match decode_picture(file, &PictureOptions::default()) {
        Ok(picture) => (Outcome::Read, read(name, &picture, expected, pixels)),
        Err(error @ PictureError::NotAnImage(_)) => (Outcome::Unknown, error.to_string()),
        Err(error) => (Outcome::Refused, error.to_string()),
    }
}

fn read(name: &str, picture: &Picture, expected: &Expected, pixels: Pixels) -> String {
    let (height, width, planes) = expected;
    assert_eq!((picture.height, picture.width), (*height, *width), "{name}");
    let red = || fixture_bytes("folder/rgb.png.bin")[..9 * 14].repeat(3);
    let (planes, tolerance) = match pixels {
        Pillow(tolerance) => (planes.clone(), tolerance),
        HighByte => (red(), 0),
        TenBits => {
            let scaled = |r: u8| (((4 * u32::from(r) + 1) * 255 + 511) / 1023) as u8;
            (red().into_iter().map(scaled).collect(), 1)
        }
    };
    let pairs = picture.planes.iter().zip(&planes);
    let worst = pairs.map(|(a, b)| a.abs_diff(*b)).max();
    if worst > Some(tolerance) {
        return format!("{WRONG} {name} by {worst:?}");
    }
    let mut details = match (pixels, tolerance) {
        (HighByte | TenBits, _) => "not Pillow's pixels".to_string(),
        (_, 0) => "Pillow's pixels".to_string(),
        (_, tolerance) => format!("Pillow's pixels up to a difference of {tolerance}"),
    };
    for note in &picture.notes {
        // Without the number of the orientation.
        let note = match note {
            PictureNote::Oriented(_) => "turned upright".to_string(),
            note => note.to_string(),
        };
        details.push_str(&format!("; {note}"));
    }
    details
}

/// Kinds of damage and of files that are no pictures: a name, and files whose pixels are those of the first fixture if they are read.
fn made() -> Vec<(&'static str, &'static str, Vec<Vec<u8>>)> {
    let jpeg = bytes("exif-1.jpg");
    let progressive = bytes("progressive.jpg");
    let png = bytes("deep.png");
    let with = |whole: &[u8], tail: &[u8]| [whole, tail].concat();
    // A frame header with another marker: another process of JPEG.
    let process = |marker: u8, bits: u8| {
        let mut file = jpeg.clone();
        let at = file.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
        file[at + 1] = marker;
        file[at + 4] = bits;
        vec![file]
    };
    let half = |name: &str| {
        let whole = bytes(name);
        whole[..whole.len() / 2].to_vec()
    };
    let huge = [0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff];
    let mut large = png.clone();
    large[16..24].copy_from_slice(&huge);
    let mut sum = flate2::Crc::new();
    sum.update(&large[12..29]);
    large[29..33].copy_from_slice(&sum.sum().to_be_bytes());
    let mut wrong_sum = png.clone();
    wrong_sum[29] ^= 1;
    let damaged = with(&jpeg[..jpeg.len() - 40], &[0xff, 0xd9]);
    vec![
        (
            "JPEG with bytes behind its end (motion photo, maker notes, padding)",
            "exif-1.jpg",
            vec![
                with(&jpeg, &[0; 64]),
                with(&jpeg, b"\xff\xd8\xff\xe0ftypmp42"),
                with(&jpeg, &progressive),
            ],
        ),
        (
            "JPEG that ends early, baseline or progressive",
            "exif-1.jpg",
            vec![
                jpeg[..jpeg.len() / 2].to_vec(),
                jpeg[..jpeg.len() - 2].to_vec(),
                progressive[..progressive.len() / 2].to_vec(),
            ],
        ),
        ("JPEG with damaged image data", "exif-1.jpg", vec![damaged]),
        ("JPEG of 12 bits", "exif-1.jpg", process(0xc1, 12)),
        ("JPEG, lossless", "exif-1.jpg", process(0xc3, 8)),
        ("JPEG, arithmetic coding", "exif-1.jpg", process(0xc9, 8)),
        (
            "PNG, WebP, GIF, BMP, PPM or TIFF that ends early",
            "deep.png",
            [
                "deep.png",
                "rgba.webp",
                "one.gif",
                "grey.bmp",
                "rgb.ppm",
                "rgb.tif",
            ]
            .map(half)
            .to_vec(),
        ),
        ("PNG with a wrong checksum", "deep.png", vec![wrong_sum]),
        (
            "more than 100 million pixels by its header",
            "deep.png",
            vec![large],
        ),
        (
            "HEIC",
            "deep.png",
            vec![b"\0\0\0\x20ftypheic\0\0\0\0mif1heic".to_vec()],
        ),
        (
            "JPEG XL",
            "deep.png",
            vec![
                b"\xff\x0a\x3a\x1f".to_vec(),
                b"\0\0\0\x0cJXL \r\n\x87\n".to_vec(),
            ],
        ),
        ("Photoshop", "deep.png", vec![b"8BPS\0\x01\0\0".to_vec()]),
        (
            "SVG",
            "deep.png",
            vec![b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>".to_vec()],
        ),
        ("an empty file", "deep.png", vec![Vec::new()]),
        (
            "an HTML page, as a failed download leaves it",
            "deep.png",
            vec![b"<!DOCTYPE html><html>".to_vec()],
        ),
        (
            "a pointer of Git LFS",
            "deep.png",
            vec![b"version https://git-lfs.github.com/spec/v1\n".to_vec()],
        ),
        ("PDF", "deep.png", vec![b"%PDF-1.7\n".to_vec()]),
    ]
}

#[test]
fn pictures_are_as_the_page_says() {
    let pillow = expected();
    let mut table = Table::new("pictures");
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for (kind, pixels, names) in WRITTEN {
        let outcomes: Vec<_> = names
            .split(' ')
            .map(|name| {
                seen.insert(name);
                let (file, expected) = fixture(name, &pillow);
                (name, outcome(name, &file, &expected, pixels))
            })
            .collect();
        row(&mut table, kind, &outcomes, &mut wrong);
    }
    for (kind, base, files) in made() {
        let expected = &pillow[base];
        let outcomes: Vec<_> = files
            .iter()
            .map(|file| (base, outcome(kind, file, expected, Pillow(0))))
            .collect();
        row(&mut table, kind, &outcomes, &mut wrong);
    }
    let missing: Vec<_> = pillow
        .keys()
        .filter(|name| !seen.contains(&name[..]))
        .collect();
    assert!(missing.is_empty(), "in no kind: {missing:?}");
    assert!(wrong.is_empty(), "{wrong:#?}");
    table.check();
}

/// One row for files with one outcome, with the details of the first. Files with other pixels than expected go to `wrong`.
fn row(
    table: &mut Table,
    kind: &str,
    outcomes: &[(&str, (Outcome, String))],
    wrong: &mut Vec<String>,
) {
    let (_, (outcome, details)) = &outcomes[0];
    for (name, (other, more)) in outcomes {
        assert_eq!(other, outcome, "{kind}: {name}: {more}");
        if more.starts_with(WRONG) {
            wrong.push(format!("{kind}: {more}"));
        }
    }
    table.row(kind, *outcome, details);
}
