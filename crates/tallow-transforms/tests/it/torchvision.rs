//! Equality with torchvision on the cases of `tests/fixtures/make_fixtures.py`.

use serde::Deserialize;
use std::collections::HashMap;
use tallow_transforms::{Compose, ImageRef, SampleRng, permutation};

#[derive(Deserialize)]
struct Fixtures {
    images: HashMap<String, Picture>,
    permutations: Vec<Permutation>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Picture {
    shape: [usize; 3],
    data: Vec<u8>,
}

#[derive(Deserialize)]
struct Permutation {
    seed: u64,
    n: u32,
    order: Vec<u32>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    image: String,
    pipeline: Compose,
    rng: [u64; 3],
    shape: (usize, usize, usize),
    /// In grey levels for u8, else absolute; 0 asks for the same bits.
    tolerance: f32,
    u8: Option<Vec<u8>>,
    f32: Option<Vec<f32>>,
}

fn fixtures() -> Fixtures {
    serde_json::from_str(include_str!("../fixtures/torchvision.json")).unwrap()
}

impl Case {
    fn check(&self, path: &str, out: &[f32]) {
        let (scale, expected): (f32, Vec<f32>) = match (&self.u8, &self.f32) {
            (Some(bytes), None) => (255.0, bytes.iter().map(|&byte| f32::from(byte)).collect()),
            (None, Some(floats)) => (1.0, floats.clone()),
            _ => panic!("{}: expects one of u8 and f32", self.name),
        };
        assert_eq!(out.len(), expected.len(), "{}", self.name);
        for (i, (&found, expected)) in out.iter().zip(expected).enumerate() {
            let equal = if self.tolerance == 0.0 {
                found.to_bits() == (expected / scale).to_bits()
            } else if scale == 255.0 {
                ((found * scale).round() - expected).abs() <= self.tolerance
            } else {
                (found - expected).abs() <= self.tolerance
            };
            assert!(
                equal,
                "{} ({path}), value {i}: found {found}, expected {expected} / {scale}",
                self.name
            );
        }
    }
}

#[test]
fn every_case() {
    let fixtures = fixtures();
    assert!(fixtures.cases.len() > 70);
    for case in &fixtures.cases {
        let picture = &fixtures.images[&case.image];
        let [channels, height, width] = picture.shape;
        let image = ImageRef::new(&picture.data, channels, height, width).unwrap();
        assert_eq!(
            case.pipeline.output_shape(image.shape()),
            Ok(case.shape),
            "{}",
            case.name
        );

        let [seed, epoch, index] = case.rng;
        let rng = SampleRng::new(seed, epoch, index);
        let mut out = vec![f32::NAN; case.shape.0 * case.shape.1 * case.shape.2];
        case.pipeline
            .apply(image, &mut rng.clone(), &mut out)
            .unwrap();
        case.check("apply", &out);
        out.fill(f32::NAN);
        case.pipeline
            .apply_reference(image, &mut rng.clone(), &mut out)
            .unwrap();
        case.check("apply_reference", &out);
    }
}

#[test]
fn permutations_as_written_down() {
    for Permutation { seed, n, order } in fixtures().permutations {
        assert_eq!(permutation(seed, n), order, "seed {seed}, n {n}");
    }
}
