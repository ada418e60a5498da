//! Equality with torchvision on the cases of `tests/fixtures/make_augmentation.py`: operations with explicit parameters,
//! and whole transforms with their draws.

use std::collections::HashMap;

use serde::Deserialize;
use tallow_transforms::functional::{self, Affine, Fill, ImageMut};
use tallow_transforms::{Compose, Image, ImageRef, Interpolation, Problem, SampleRng};

#[derive(Deserialize)]
struct Fixtures {
    images: HashMap<String, Values>,
    operations: Vec<Operation>,
    pipelines: Vec<Pipeline>,
}

/// Values of one type or the other, in base64.
#[derive(Deserialize)]
struct Values {
    shape: (usize, usize, usize),
    u8: Option<String>,
    f32: Option<String>,
}

#[derive(Deserialize)]
struct Operation {
    image: String,
    tolerance: f32,
    #[serde(flatten)]
    call: Call,
    #[serde(flatten)]
    expected: Values,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "op", content = "arguments", rename_all = "snake_case")]
enum Call {
    Invert {},
    Solarize {
        threshold: f64,
    },
    Posterize {
        bits: u32,
    },
    Autocontrast {},
    Equalize {},
    AdjustBrightness {
        factor: f64,
    },
    AdjustContrast {
        factor: f64,
    },
    AdjustSaturation {
        factor: f64,
    },
    AdjustSharpness {
        factor: f64,
    },
    AdjustHue {
        factor: f64,
    },
    RgbToGrayscale {},
    GaussianBlur {
        kernel_size: [usize; 2],
        sigma: [f64; 2],
    },
    Rotate {
        angle: f64,
        interpolation: Interpolation,
        center: Option<[f64; 2]>,
        fill: f32,
    },
    Affine {
        angle: f64,
        translate: [f64; 2],
        scale: f64,
        shear: [f64; 2],
        center: Option<[f64; 2]>,
        interpolation: Interpolation,
        fill: f32,
    },
    Perspective {
        start: [[f64; 2]; 4],
        end: [[f64; 2]; 4],
        interpolation: Interpolation,
        fill: f32,
    },
    ResizedCrop {
        place: (usize, usize),
        size: (usize, usize),
        target: (usize, usize),
        interpolation: Interpolation,
    },
    Erase {
        place: (usize, usize),
        size: (usize, usize),
        value: Vec<f32>,
    },
}

impl Call {
    fn run(&self, image: ImageMut<'_>) -> Result<(), Problem> {
        match self {
            Self::Invert {} => functional::invert(image),
            Self::Solarize { threshold } => functional::solarize(image, *threshold),
            Self::Posterize { bits } => functional::posterize(image, *bits),
            Self::Autocontrast {} => functional::autocontrast(image),
            Self::Equalize {} => functional::equalize(image),
            Self::AdjustBrightness { factor } => functional::adjust_brightness(image, *factor),
            Self::AdjustContrast { factor } => functional::adjust_contrast(image, *factor)?,
            Self::AdjustSaturation { factor } => functional::adjust_saturation(image, *factor)?,
            Self::AdjustSharpness { factor } => functional::adjust_sharpness(image, *factor),
            Self::AdjustHue { factor } => functional::adjust_hue(image, *factor)?,
            Self::RgbToGrayscale {} => functional::rgb_to_grayscale(image)?,
            Self::GaussianBlur { kernel_size, sigma } => {
                functional::gaussian_blur(image, *kernel_size, *sigma)?;
            }
            Self::Rotate {
                angle,
                interpolation,
                center,
                fill,
            } => functional::rotate(image, *angle, *interpolation, *center, *fill)?,
            &Self::Affine {
                angle,
                translate,
                scale,
                shear,
                center,
                interpolation,
                fill,
            } => {
                let map = Affine {
                    angle,
                    translate,
                    scale,
                    shear,
                    center,
                };
                functional::affine(image, &map, interpolation, fill)?;
            }
            Self::Perspective {
                start,
                end,
                interpolation,
                fill,
            } => {
                let coefficients = functional::perspective_coefficients(*start, *end)?;
                functional::perspective(image, &coefficients, *interpolation, *fill)?;
            }
            Self::ResizedCrop {
                place,
                size,
                target,
                interpolation,
            } => match image {
                ImageMut::U8(image) => {
                    functional::resized_crop(image, *place, *size, *target, *interpolation)?;
                }
                ImageMut::F32(_) => panic!("no case of f32"),
            },
            Self::Erase { place, size, value } => {
                functional::erase(image, *place, *size, Fill::Values(value))?;
            }
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct Pipeline {
    image: String,
    rng: [u64; 3],
    pipeline: Compose,
    tolerance: f32,
    #[serde(flatten)]
    expected: Values,
}

/// Decodes base64 of the standard alphabet.
fn bytes(text: &str) -> Vec<u8> {
    let value = |digit| match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        other => panic!("{other} is not base64"),
    };
    let digits = text.trim_end_matches('=').as_bytes().chunks(4);
    digits
        .flat_map(|four| {
            let bits = four
                .iter()
                .fold(0, |bits, &digit| bits << 6 | u32::from(value(digit)));
            let bits = bits << (6 * (4 - four.len()));
            bits.to_be_bytes()[1..four.len()].to_vec()
        })
        .collect()
}

impl Values {
    /// In the units of the type, and whether that is u8.
    fn floats(&self) -> (Vec<f32>, bool) {
        match (&self.u8, &self.f32) {
            (Some(text), None) => (bytes(text).into_iter().map(f32::from).collect(), true),
            (None, Some(text)) => {
                let words = bytes(text);
                let words = words.chunks_exact(4);
                let floats = words.map(|word| f32::from_le_bytes(word.try_into().unwrap()));
                (floats.collect(), false)
            }
            _ => panic!("expects one of u8 and f32"),
        }
    }

    fn image(&self) -> Image<u8> {
        Image::new(bytes(self.u8.as_ref().unwrap()), self.shape).unwrap()
    }

    /// Difference from the expected values, if it is above the tolerance.
    fn difference(&self, found: &[f32], tolerance: f32) -> Option<String> {
        let (expected, _) = self.floats();
        if found.len() != expected.len() {
            return Some(format!(
                "{} values, expected {}",
                found.len(),
                expected.len()
            ));
        }
        let wrong: Vec<usize> = (0..found.len())
            .filter(|&i| {
                let difference = (found[i] - expected[i]).abs();
                difference.is_nan() || difference > tolerance
            })
            .collect();
        let &first = wrong.first()?;
        Some(format!(
            "{} of {} values, the first at {first}: {} instead of {}",
            wrong.len(),
            found.len(),
            found[first],
            expected[first],
        ))
    }
}

fn fixtures() -> Fixtures {
    serde_json::from_str(include_str!("../fixtures/augmentation.json")).unwrap()
}

#[test]
fn operations_with_explicit_parameters() {
    let fixtures = fixtures();
    assert!(fixtures.operations.len() > 300);
    let mut failures = Vec::new();
    for case in &fixtures.operations {
        let mut image = fixtures.images[&case.image].image();
        let (found, shape) = match case.expected.floats().1 {
            true => {
                case.call.run((&mut image).into()).unwrap();
                let values = image.data().iter().copied().map(f32::from);
                (values.collect::<Vec<_>>(), image.shape())
            }
            false => {
                let values = image.data().iter().map(|&byte| f32::from(byte) / 255.0);
                let mut image = Image::new(values.collect(), image.shape()).unwrap();
                case.call.run((&mut image).into()).unwrap();
                (image.data().to_vec(), image.shape())
            }
        };
        assert_eq!(shape, case.expected.shape, "{:?}", case.call);
        if let Some(difference) = case.expected.difference(&found, case.tolerance) {
            let kind = if case.expected.u8.is_some() {
                "u8"
            } else {
                "f32"
            };
            failures.push(format!(
                "{:?} of {} ({kind}): {difference}",
                case.call, case.image
            ));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn transforms_with_their_draws() {
    let fixtures = fixtures();
    assert!(fixtures.pipelines.len() > 100);
    let mut failures = Vec::new();
    for case in &fixtures.pipelines {
        let picture = fixtures.images[&case.image].image();
        let (channels, height, width) = picture.shape();
        let image = ImageRef::new(picture.data(), channels, height, width).unwrap();
        let pipeline = &case.pipeline;
        assert_eq!(
            pipeline.output_shape(image.shape()),
            Ok(case.expected.shape)
        );
        assert!(pipeline.is_random());
        let [seed, epoch, index] = case.rng;
        let (expected, is_u8) = case.expected.floats();
        let mut out = vec![f32::NAN; expected.len()];
        let mut rng = SampleRng::new(seed, epoch, index);
        pipeline.apply(image, &mut rng, &mut out).unwrap();
        if is_u8 {
            for value in &mut out {
                *value = (*value * 255.0).round();
            }
        }
        if let Some(difference) = case.expected.difference(&out, case.tolerance) {
            failures.push(format!(
                "{:?} of {} ({:?}): {difference}",
                pipeline.configs(),
                case.image,
                case.rng
            ));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
