//! The pictures of docs/augmentation.md are what the transforms make.
//!
//! With `TALLOW_WRITE_PICTURES=1` in the environment the test writes them instead.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use tallow_transforms::*;

/// Side of the picture.
const SIDE: usize = 64;
/// Samples beside the original.
const SAMPLES: usize = 6;
/// White columns between two pictures.
const GAP: usize = 4;

/// A house on a meadow, in flat colours: it has an upper and a left side, straight lines and all hues.
fn picture() -> Vec<u8> {
    let color = |x: usize, y: usize| -> [u8; 3] {
        let (fx, fy) = (x as f64, y as f64);
        let near = |cx: f64, cy: f64, r: f64| (fx - cx).powi(2) + (fy - cy).powi(2) < r * r;
        if near(52.0, 11.0, 7.0) {
            return [250, 214, 60];
        }
        if near(12.0, 32.0, 8.5) {
            return [38, 120, 60];
        }
        if (11..14).contains(&x) && (38..52).contains(&y) {
            return [110, 76, 44];
        }
        if (24..48).contains(&x) && (32..54).contains(&y) {
            let window = (27..34).contains(&x) && (37..44).contains(&y);
            let door = (37..44).contains(&x) && y >= 41;
            return match (window, door) {
                (true, _) if x == 30 || y == 40 => [240, 240, 235],
                (true, _) => [92, 150, 200],
                (_, true) => [70, 60, 120],
                _ => [222, 202, 170],
            };
        }
        // The roof: a triangle.
        if (18..32).contains(&y) && (fx - 35.5).abs() < (fy - 17.0) * 1.1 {
            return [186, 62, 52];
        }
        if y >= 48 {
            return [120, 172, 82];
        }
        // The sky is paler towards the horizon, in six bands.
        let band = (y / 8) as u8;
        [128 + 14 * band, 182 + 8 * band, 232]
    };
    let mut planes = vec![0; 3 * SIDE * SIDE];
    for y in 0..SIDE {
        for x in 0..SIDE {
            for (channel, value) in color(x, y).into_iter().enumerate() {
                planes[(channel * SIDE + y) * SIDE + x] = value;
            }
        }
    }
    planes
}

/// Entries of the page, as a recipe has them.
const ENTRIES: &[&str] = &[
    r#"{ name = "random-crop", size = 64, padding = 8, padding_mode = "reflect" }"#,
    r#"{ name = "random-horizontal-flip" }"#,
    r#"{ name = "random-vertical-flip" }"#,
    r#"{ name = "alternating-flip" }"#,
    r#"{ name = "random-resized-crop", size = 64 }"#,
    r#"{ name = "random-rotation", degrees = 30 }"#,
    r#"{ name = "random-affine", degrees = 15, translate = [0.1, 0.1], scale = [0.8, 1.2], shear = 10, interpolation = "bilinear" }"#,
    r#"{ name = "random-perspective", p = 1 }"#,
    r#"{ name = "color-jitter", brightness = 0.4, contrast = 0.4, saturation = 0.4, hue = 0.1 }"#,
    r#"{ name = "random-grayscale", p = 0.5 }"#,
    r#"{ name = "random-invert" }"#,
    r#"{ name = "random-posterize", bits = 2 }"#,
    r#"{ name = "random-solarize", threshold = 128 }"#,
    r#"{ name = "random-adjust-sharpness", sharpness_factor = 3 }"#,
    r#"{ name = "random-autocontrast" }"#,
    r#"{ name = "random-equalize" }"#,
    r#"{ name = "gaussian-blur", kernel_size = 7 }"#,
    r#"{ name = "random-erasing", p = 1 }"#,
    r#"{ name = "cutout", size = 24 }"#,
    r#"{ name = "auto-augment" }"#,
    r#"{ name = "rand-augment" }"#,
    r#"{ name = "trivial-augment-wide" }"#,
    r#"{ name = "aug-mix" }"#,
];

/// The original and six samples in a row: width, height and RGB pixels.
fn strip(config: &TransformConfig) -> (usize, usize, Vec<u8>) {
    let pipeline = Compose::new([config.clone(), TransformConfig::to_tensor()]).unwrap();
    let data = picture();
    let image = ImageRef::new(&data, 3, SIDE, SIDE).unwrap();
    let width = (SAMPLES + 1) * SIDE + SAMPLES * GAP;
    let mut pixels = vec![255; 3 * width * SIDE];
    let mut paint = |place: usize, planes: &[u8]| {
        for y in 0..SIDE {
            for x in 0..SIDE {
                for channel in 0..3 {
                    let to = y * width + place * (SIDE + GAP) + x;
                    pixels[3 * to + channel] = planes[(channel * SIDE + y) * SIDE + x];
                }
            }
        }
    };
    paint(0, &data);
    let mut out = vec![0.0; data.len()];
    for sample in 0..SAMPLES {
        let mut rng = SampleRng::new(0, 0, sample as u64);
        pipeline.apply(image, &mut rng, &mut out).unwrap();
        let bytes: Vec<u8> = out
            .iter()
            .map(|value| (value * 255.0).round() as u8)
            .collect();
        paint(sample + 1, &bytes);
    }
    (width, SIDE, pixels)
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

fn write(path: &Path, (width, height, pixels): &(usize, usize, Vec<u8>)) {
    let file = File::create(path).unwrap();
    let mut encoder = png::Encoder::new(file, *width as u32, *height as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::High);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(pixels).unwrap();
}

fn read(path: &Path) -> (usize, usize, Vec<u8>) {
    let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut reader = png::Decoder::new(BufReader::new(file)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!(info.color_type, png::ColorType::Rgb);
    (info.width as usize, info.height as usize, pixels)
}

#[test]
fn pictures_of_the_page() {
    let writes = std::env::var_os("TALLOW_WRITE_PICTURES").is_some();
    let pages: Vec<String> = ["augmentation.md", "zh/augmentation.md"]
        .iter()
        .map(|page| fs::read_to_string(docs().join(page)).unwrap())
        .collect();
    for entry in ENTRIES {
        #[derive(serde::Deserialize)]
        struct Recipe {
            transform: TransformConfig,
        }
        let Recipe { transform } = toml::from_str(&format!("transform = {entry}")).unwrap();
        let picture = format!("images/augmentation-{}.png", transform.name());
        let path = docs().join(&picture);
        let made = strip(&transform);
        if writes {
            write(&path, &made);
        }
        let committed = read(&path);
        let size = (made.0, made.1);
        assert_eq!((committed.0, committed.1), size, "{picture}");
        assert!(
            committed.2 == made.2,
            "{picture} is not what the transform makes: TALLOW_WRITE_PICTURES=1 writes it"
        );
        for page in &pages {
            assert!(page.contains(&picture), "{picture} is on no page");
            assert!(
                page.contains(&format!("`{entry}`")),
                "{entry} is on no page"
            );
        }
    }
}
