//! Decoding of picture files: notes, limits, damaged files. That pixels are Pillow's is tested in `formats/pictures.rs`.

use std::collections::BTreeMap;

use tallow_datasets::{Alpha, Picture, PictureError, PictureNote, PictureOptions, decode_picture};

use crate::sets::make::*;

pub fn bytes(name: &str) -> Vec<u8> {
    fixture_bytes(&format!("pictures/{name}"))
}

fn decode(bytes: &[u8]) -> Result<Picture, PictureError> {
    decode_picture(bytes, &PictureOptions::default())
}

/// Height, width and planes that Pillow gives for each file.
pub fn expected() -> BTreeMap<String, (usize, usize, Vec<u8>)> {
    let names = String::from_utf8(bytes("names.txt")).unwrap();
    let pixels = bytes("pixels.bin");
    let mut rest = &pixels[..];
    let mut expected = BTreeMap::new();
    for name in names.lines() {
        let (height, width) = (usize::from(rest[0]), usize::from(rest[1]));
        let (planes, after) = rest[2..].split_at(3 * height * width);
        expected.insert(name.to_string(), (height, width, planes.to_vec()));
        rest = after;
    }
    assert!(rest.is_empty());
    expected
}

fn is_read(name: &str) -> bool {
    decode(&bytes(name)).is_ok()
}

fn notes(name: &str, options: &PictureOptions) -> Vec<PictureNote> {
    decode_picture(&bytes(name), options).unwrap().notes
}

#[test]
fn changes_are_told() {
    let options = PictureOptions::default();
    for name in ["animated.gif", "animated.png", "animated.webp", "pages.tif"] {
        let notes = notes(name, &options);
        assert!(notes.contains(&PictureNote::FirstFrame), "{name}");
    }
    for name in [
        "rgba.png",
        "grey-alpha.png",
        "rgba.webp",
        "palette-transparent.png",
    ] {
        assert_eq!(notes(name, &options), [PictureNote::AlphaDropped], "{name}");
    }
    for name in [
        "one.gif",
        "rgb.tif",
        "deep.png",
        "exif-1.jpg",
        "progressive.jpg",
    ] {
        assert_eq!(notes(name, &options), [], "{name}");
    }
    for (name, code) in [
        ("exif-7.jpg", 7),
        ("exif.png", 6),
        ("exif.webp", 8),
        ("exif.tif", 3),
    ] {
        assert_eq!(
            notes(name, &options),
            [PictureNote::Oriented(code)],
            "{name}"
        );
    }
}

#[test]
fn orientation_and_alpha_are_options() {
    let options = PictureOptions {
        exif: false,
        ..PictureOptions::default()
    };
    let stored = decode(&bytes("exif-1.jpg")).unwrap();
    for code in 2..=8 {
        let name = format!("exif-{code}.jpg");
        let picture = decode_picture(&bytes(&name), &options).unwrap();
        assert_eq!(picture.planes, stored.planes, "{name}");
        assert_eq!(picture.notes, [PictureNote::NotOriented(code)]);
    }

    // A red pixel, half transparent on white: 255, 127 and 127 up to rounding.
    let image = image::RgbaImage::from_pixel(1, 1, image::Rgba([200, 0, 0, 128]));
    let mut png = std::io::Cursor::new(Vec::new());
    image.write_to(&mut png, image::ImageFormat::Png).unwrap();
    let png = png.into_inner();
    assert_eq!(decode(&png).unwrap().planes, [200, 0, 0]);
    let options = PictureOptions {
        alpha: Alpha::Blend,
        ..PictureOptions::default()
    };
    let picture = decode_picture(&png, &options).unwrap();
    assert_eq!(picture.planes, [227, 127, 127]);
    assert_eq!(picture.notes, [PictureNote::Blended("white")]);
}

/// Files of a few bytes whose headers promise `side` x `side` pixels.
fn promises(side: u16) -> Vec<(&'static str, Vec<u8>)> {
    let (be, le) = (side.to_be_bytes(), side.to_le_bytes());
    let mut png = bytes("deep.png");
    png[16..24].copy_from_slice(&[0, 0, be[0], be[1], 0, 0, be[0], be[1]]);
    let mut sum = flate2::Crc::new();
    sum.update(&png[12..29]);
    png[29..33].copy_from_slice(&sum.sum().to_be_bytes());
    let mut jpegs = ["grey.jpg", "progressive.jpg"].map(bytes);
    for jpeg in &mut jpegs {
        let at = jpeg
            .windows(2)
            .position(|w| w == [0xff, 0xc0] || w == [0xff, 0xc2]);
        let at = at.unwrap() + 5;
        jpeg[at..at + 4].copy_from_slice(&[be[0], be[1], be[0], be[1]]);
    }
    let mut gif = bytes("one.gif");
    gif[6..10].copy_from_slice(&[le[0], le[1], le[0], le[1]]);
    let mut bmp = fixture_bytes("folder/rgb.bmp");
    bmp[18..26].copy_from_slice(&[le[0], le[1], 0, 0, le[0], le[1], 0, 0]);
    let ppm = format!("P6 {side} {side} 255\n123").into_bytes();
    // Lossless WebP: 14 bits of width less one, 14 of height less one.
    let size = (u32::from(side) - 1) & 0x3fff;
    let mut webp = b"RIFF\x20\0\0\0WEBPVP8L\x14\0\0\0\x2f".to_vec();
    webp.extend((size | size << 14).to_le_bytes());
    webp.extend([0; 15]);
    let [grey, progressive] = jpegs;
    vec![
        ("png", png),
        ("jpeg", grey),
        ("progressive", progressive),
        ("gif", gif),
        ("bmp", bmp),
        ("ppm", ppm),
        ("webp", webp),
    ]
}

#[test]
fn a_header_that_promises_too_much_is_refused() {
    for (name, bytes) in promises(16_000) {
        let error = decode(&bytes).unwrap_err();
        let expected = PictureError::TooLarge {
            height: 16_000,
            width: 16_000,
            limit: 100_000_000,
        };
        assert_eq!(error, expected, "{name}");
        assert!(error.to_string().contains("16000x16000"), "{error}");
    }
    // 9 x 14 pixels are one more than the limit.
    let options = PictureOptions {
        max_pixels: 125,
        ..PictureOptions::default()
    };
    for name in expected().keys().filter(|name| is_read(name)) {
        let error = decode_picture(&bytes(name), &options).unwrap_err();
        assert!(matches!(error, PictureError::TooLarge { .. }), "{name}");
    }
}

#[test]
fn pictures_that_take_more_memory_for_each_pixel_have_a_lower_limit() {
    let limit = |bytes: &[u8]| match decode(bytes) {
        Err(PictureError::TooLarge { limit, .. }) => Some(limit),
        _ => None,
    };
    // 98 million pixels of eight bits are within the limit; the files end early.
    for (name, bytes) in promises(9_900) {
        if ["png", "webp"].contains(&name) {
            assert_eq!(limit(&bytes), None, "{name}");
        }
    }
    // An animation has a canvas and a frame of four bytes a pixel, beside the result.
    let side = (9_900u32 - 1).to_le_bytes();
    let mut animation = bytes("animated.webp");
    animation[24..30].copy_from_slice(&[side[0], side[1], side[2], side[0], side[1], side[2]]);
    assert_eq!(limit(&animation), Some(1_000_000_000 / 11));
    // Four components of a progressive JPEG, with coefficients of 16 bits.
    let named = promises(9_900)
        .into_iter()
        .find(|(name, _)| *name == "progressive");
    let mut jpeg = named.unwrap().1;
    let frame = jpeg.windows(2).position(|w| w == [0xff, 0xc2]).unwrap();
    jpeg[frame + 9] = 4;
    assert_eq!(limit(&jpeg), Some(1_000_000_000 / 11));
}

#[test]
fn what_follows_a_jpeg_does_not_matter_but_its_end_does() {
    for name in ["exif-6.jpg", "progressive.jpg", "grey.jpg", "cmyk.jpg"] {
        let whole = bytes(name);
        let picture = decode(&whole).unwrap();
        for tail in [
            &[0; 40][..],
            &[1, 0xff, 0xda, 0, 8, 1],
            &[0xff, 0xd9, 0xff, 0xda],
            &whole[..100],
        ] {
            assert_eq!(decode(&[&whole, tail].concat()).unwrap(), picture, "{name}");
        }
        for end in 3..whole.len() {
            let error = decode(&whole[..end]).unwrap_err();
            assert_eq!(error, PictureError::Truncated, "{name} cut to {end}");
        }
        assert!(decode(&whole[..2]).is_err());
    }
    // The last quarter of the image data is missing, and the end marker is there.
    let whole = bytes("exif-1.jpg");
    let cut = [&whole[..whole.len() - 40], &[0xff, 0xd9]].concat();
    assert!(matches!(decode(&cut), Err(PictureError::Damaged(_))));
}

#[test]
fn other_formats_that_end_early_are_errors() {
    for name in [
        "deep.png",
        "rgb.ppm",
        "rgb.tif",
        "rgba.webp",
        "animated.webp",
        "one.gif",
    ] {
        let whole = bytes(name);
        let error = decode(&whole[..whole.len() / 2]).unwrap_err();
        assert!(matches!(error, PictureError::Damaged(_)), "{name}: {error}");
    }
    let bmp = fixture_bytes("folder/rgb.bmp");
    assert!(decode(&bmp[..bmp.len() / 2]).is_err());
}

#[test]
fn what_is_no_picture_is_named() {
    for (bytes, words) in [
        (&b""[..], "is no image but an empty file"),
        (b"<html>", "is no image but an HTML page"),
        (b"version https://git-lfs", "Git LFS pointer"),
        (
            b"\0\0\0\x20ftypavif\0\0\0\0",
            "AVIF image, which is not read",
        ),
        (
            b"\0\0\0\x20ftypheic\0\0\0\0",
            "HEIC image, which is not read",
        ),
        (b"P6 0 5 255\n", ""),
    ] {
        let error = decode(bytes).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn sixteen_bits_give_the_high_byte() {
    let image = image::ImageBuffer::<image::Luma<u16>, _>::from_raw(2, 1, vec![0x1234u16, 0xfeff]);
    let mut png = std::io::Cursor::new(Vec::new());
    let image = image::DynamicImage::ImageLuma16(image.unwrap());
    image.write_to(&mut png, image::ImageFormat::Png).unwrap();
    let picture = decode(&png.into_inner()).unwrap();
    assert_eq!(picture.planes, [0x12, 0xfe].repeat(3));
    assert!(!picture.colour);
}

#[test]
fn damaged_files_never_panic() {
    use rand_chacha::ChaCha8Rng;
    use rand_core::{RngCore, SeedableRng};

    let options = PictureOptions {
        max_pixels: 100_000,
        ..PictureOptions::default()
    };
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for name in expected().keys() {
        let whole = bytes(name);
        for _ in 0..150 {
            let mut damaged = whole.clone();
            for _ in 0..1 + rng.next_u32() % 4 {
                let at = rng.next_u32() as usize % damaged.len();
                match rng.next_u32() % 3 {
                    0 => damaged[at] ^= 1 << (rng.next_u32() % 8),
                    1 => damaged[at] = rng.next_u32() as u8,
                    _ => damaged.truncate(at.max(1)),
                }
            }
            if let Ok(picture) = decode_picture(&damaged, &options) {
                let pixels = picture.height * picture.width;
                assert_eq!(picture.planes.len(), 3 * pixels, "{name}");
                assert!(pixels <= 100_000, "{name}");
            }
        }
    }
}
