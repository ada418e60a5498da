//! Custom transforms in a pipeline, beside the built-in ones.

use serde::{Deserialize, Serialize};
use tallow_transforms::{
    Compose, Error, Grayscale, Image, ImageRef, Kind, Move, Normalize, Pad, PadMode, Padding,
    PermutePixels, Problem, RandomCrop, RandomHorizontalFlip, Resize, SampleRng, Stage, ToTensor,
    Transform, TransformConfig,
};

/// Mirroring top to bottom with probability `p` (torchvision's `RandomVerticalFlip`).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandomVerticalFlip {
    /// Probability in `[0, 1]`.
    pub p: f64,
}

impl RandomVerticalFlip {
    /// Mirroring with probability `p`.
    pub fn new(p: f64) -> Self {
        Self { p }
    }
}

impl Transform for RandomVerticalFlip {
    fn name(&self) -> &'static str {
        "random-vertical-flip"
    }

    fn kind(&self) -> Kind {
        Kind::Geometry
    }

    fn check(&self, _: Stage) -> Result<(), Problem> {
        match (0.0..=1.0).contains(&self.p) {
            true => Ok(()),
            false => Err(Problem::Probability(self.p)),
        }
    }

    fn moves(
        &self,
        _: (usize, usize),
        rng: &mut SampleRng,
        moves: &mut Vec<Move>,
    ) -> Result<(), Problem> {
        if rng.chance(self.p) {
            moves.push(Move::FlipVertical);
        }
        Ok(())
    }
}

/// Value map on either side of to-tensor: inverts values above the middle.
#[derive(Debug)]
struct Solarize;

impl Transform for Solarize {
    fn name(&self) -> &'static str {
        "solarize"
    }

    fn kind(&self) -> Kind {
        Kind::Values
    }

    fn is_random(&self) -> bool {
        false
    }

    fn map_u8(&self, values: &mut [u8], _: usize) {
        for value in values.iter_mut().filter(|value| **value >= 128) {
            *value = 255 - *value;
        }
    }

    fn map_f32(&self, values: &mut [f32], _: usize) {
        for value in values.iter_mut().filter(|value| **value >= 0.5) {
            *value = 1.0 - *value;
        }
    }
}

/// General transform of f32: a square of side `size` at a random place becomes 0.
#[derive(Debug)]
struct Cutout {
    size: usize,
}

impl Transform for Cutout {
    fn name(&self) -> &'static str {
        "cutout"
    }

    fn check(&self, stage: Stage) -> Result<(), Problem> {
        match stage {
            Stage::U8 => Err(Problem::BeforeToTensor),
            Stage::F32 => Ok(()),
        }
    }

    fn apply_f32(&self, image: &mut Image<f32>, rng: &mut SampleRng) -> Result<(), Problem> {
        let (height, width) = image.size();
        let top = rng.below(height as u32) as usize;
        let left = rng.below(width as u32) as usize;
        for plane in image.planes_mut() {
            for row in plane.chunks_exact_mut(width).skip(top).take(self.size) {
                let right = (left + self.size).min(width);
                row[left..right].fill(0.0);
            }
        }
        Ok(())
    }
}

/// General transform of u8 with another shape: the image beside its mirror image, of the first two channels.
#[derive(Debug)]
struct Doubled;

impl Transform for Doubled {
    fn name(&self) -> &'static str {
        "doubled"
    }

    fn channels(&self, channels: Option<usize>) -> Result<Option<usize>, Problem> {
        match channels {
            Some(found @ 0..2) => Err(Problem::Channels { expected: 2, found }),
            _ => Ok(Some(2)),
        }
    }

    fn output_size(&self, (height, width): (usize, usize)) -> Result<(usize, usize), Problem> {
        Ok((height, 2 * width))
    }

    fn apply_u8(&self, image: &mut Image<u8>, _: &mut SampleRng) -> Result<(), Problem> {
        let (_, height, width) = image.shape();
        image.replace((2, height, 2 * width), |old, new| {
            for (old, new) in old.chunks_exact(width).zip(new.chunks_exact_mut(2 * width)) {
                new[..width].copy_from_slice(old);
                new[width..].copy_from_slice(old);
                new[width..].reverse();
            }
        });
        Ok(())
    }
}

fn apply(pipeline: &Compose, shape: (usize, usize, usize), index: u64) -> Vec<f32> {
    let data: Vec<u8> = (0..shape.0 * shape.1 * shape.2)
        .map(|i| (i * 131 % 256) as u8)
        .collect();
    let image = ImageRef::new(&data, shape.0, shape.1, shape.2).unwrap();
    let (c, h, w) = pipeline.output_shape(shape).unwrap();
    let (mut fast, mut plain) = (vec![f32::NAN; c * h * w], vec![f32::NAN; c * h * w]);
    let rng = SampleRng::new(5, 1, index);
    let (mut fast_rng, mut plain_rng) = (rng.clone(), rng);
    pipeline.apply(image, &mut fast_rng, &mut fast).unwrap();
    pipeline
        .apply_reference(image, &mut plain_rng, &mut plain)
        .unwrap();
    let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&fast), bits(&plain), "{pipeline:?}");
    assert_eq!(
        fast_rng.below(u32::MAX),
        plain_rng.below(u32::MAX),
        "{pipeline:?}"
    );
    fast
}

fn compose(transforms: Vec<Box<dyn Transform>>) -> Compose {
    Compose::from_transforms(transforms).unwrap()
}

#[test]
fn a_flip_in_both_paths() {
    let flip = |p| {
        compose(vec![
            Box::new(RandomVerticalFlip::new(p)),
            Box::new(ToTensor),
        ])
    };
    let (kept, flipped) = (
        apply(&flip(0.0), (1, 3, 2), 0),
        apply(&flip(1.0), (1, 3, 2), 0),
    );
    assert_eq!(flipped, [&kept[4..], &kept[2..4], &kept[..2]].concat());
    let n = 4_000;
    let half = flip(0.5);
    let count = (0..n)
        .filter(|&index| apply(&half, (1, 3, 2), index) == flipped)
        .count();
    let deviation = (count as f64 - n as f64 / 2.0) / (n as f64 / 4.0).sqrt();
    assert!(deviation.abs() < 3.29, "{count} of {n}");
}

#[test]
fn any_order_in_both_paths() {
    let normalize = || Box::new(Normalize::new([0.5, 0.4, 0.3], [0.2, 0.3, 0.4]));
    let fill = Pad {
        padding: Padding::from([1, 2]),
        fill: 200.0,
        padding_mode: PadMode::Constant,
    };
    let pipelines: Vec<Vec<Box<dyn Transform>>> = vec![
        vec![
            Box::new(RandomCrop::new(8, 2)),
            Box::new(RandomHorizontalFlip::default()),
            Box::new(ToTensor),
            normalize(),
            Box::new(Cutout { size: 3 }),
        ],
        vec![
            Box::new(Solarize),
            Box::new(fill),
            Box::new(Solarize),
            Box::new(RandomVerticalFlip::new(0.5)),
            Box::new(ToTensor),
            Box::new(Solarize),
            Box::new(RandomCrop::new(7, 3)),
            normalize(),
            Box::new(Solarize),
        ],
        vec![
            Box::new(Doubled),
            Box::new(Solarize),
            Box::new(ToTensor),
            Box::new(Cutout { size: 2 }),
            Box::new(PermutePixels::new(3)),
            Box::new(RandomVerticalFlip::new(0.5)),
        ],
        vec![
            Box::new(Resize::new((6, 5))),
            Box::new(PermutePixels::new(1)),
            Box::new(ToTensor),
            Box::new(RandomVerticalFlip::new(0.5)),
            Box::new(Grayscale::new(3)),
            normalize(),
        ],
    ];
    for transforms in pipelines {
        let pipeline = compose(transforms);
        assert!(pipeline.is_random());
        for index in 0..50 {
            let seen = apply(&pipeline, (3, 9, 10), index);
            assert_eq!(seen, apply(&pipeline, (3, 9, 10), index));
        }
        let all = (0..20).map(|index| apply(&pipeline, (3, 9, 10), index));
        let all: Vec<_> = all.collect();
        assert!(all.iter().any(|seen| *seen != all[0]), "{pipeline:?}");
    }
    assert!(!compose(vec![Box::new(Solarize), Box::new(ToTensor)]).is_random());
}

#[test]
fn values_of_a_map_on_bytes_and_on_floats() {
    let pixel = |pipeline: &Compose, byte: u8| {
        let mut out = [0.0];
        let image = ImageRef::new(std::slice::from_ref(&byte), 1, 1, 1).unwrap();
        pipeline
            .apply(image, &mut SampleRng::new(0, 0, 0), &mut out)
            .unwrap();
        out[0]
    };
    let before = compose(vec![Box::new(Solarize), Box::new(ToTensor)]);
    let after = compose(vec![Box::new(ToTensor), Box::new(Solarize)]);
    assert_eq!(pixel(&before, 100), 100.0 / 255.0);
    assert_eq!(pixel(&before, 200), 55.0 / 255.0);
    assert_eq!(pixel(&after, 200), 1.0 - 200.0 / 255.0);
}

#[test]
fn a_pipeline_inside_a_transform() {
    #[derive(Debug)]
    struct Nested(Compose);
    impl Transform for Nested {
        fn name(&self) -> &'static str {
            "nested"
        }
        fn apply_u8(&self, image: &mut Image<u8>, rng: &mut SampleRng) -> Result<(), Problem> {
            let mut out = vec![0.0; image.data().len()];
            self.0
                .apply(image.view(), rng, &mut out)
                .map_err(|error| Problem::Custom(error.to_string()))?;
            for (value, new) in image.data_mut().iter_mut().zip(out) {
                *value = (new * 255.0).round() as u8;
            }
            Ok(())
        }
    }
    let flip = compose(vec![
        Box::new(RandomVerticalFlip::new(1.0)),
        Box::new(ToTensor),
    ]);
    let nested = compose(vec![Box::new(Nested(flip.clone())), Box::new(ToTensor)]);
    assert_eq!(apply(&nested, (3, 4, 5), 0), apply(&flip, (3, 4, 5), 0));
    // Its error arrives with the name of the outer transform.
    let broken = compose(vec![Box::new(RandomCrop::new(9, 0)), Box::new(ToTensor)]);
    let nested = compose(vec![Box::new(Nested(broken)), Box::new(ToTensor)]);
    let error = first_error(&nested, (1, 4, 4));
    assert!(
        error
            .to_string()
            .starts_with("transform 1 (nested): transform 1 (random-crop): a crop of 9 x 9"),
        "{error}"
    );
}

/// Error for a black image of `shape`, the same in both paths.
fn first_error(pipeline: &Compose, shape: (usize, usize, usize)) -> Error {
    let data = vec![0; shape.0 * shape.1 * shape.2];
    let image = ImageRef::new(&data, shape.0, shape.1, shape.2).unwrap();
    let (mut fast, mut plain) = (vec![5.0; data.len()], vec![5.0; data.len()]);
    let rng = SampleRng::new(0, 0, 0);
    let error = pipeline
        .apply(image, &mut rng.clone(), &mut fast)
        .unwrap_err();
    assert_eq!(
        pipeline.apply_reference(image, &mut rng.clone(), &mut plain),
        Err(error.clone())
    );
    assert!(fast.iter().chain(&plain).all(|value| *value == 5.0));
    error
}

#[test]
fn mistakes_are_errors() {
    let problem = |error: Error| match error {
        Error::Transform { problem, .. } => problem,
        other => panic!("not about one transform: {other}"),
    };
    let build = |transforms| problem(Compose::from_transforms(transforms).unwrap_err());
    // Found as the pipeline is built, where a transform checks its stage.
    assert_eq!(
        build(vec![Box::new(Cutout { size: 1 }), Box::new(ToTensor)]),
        Problem::BeforeToTensor
    );
    assert_eq!(
        build(vec![
            Box::new(RandomVerticalFlip::new(2.0)),
            Box::new(ToTensor)
        ]),
        Problem::Probability(2.0)
    );
    assert_eq!(
        build(vec![
            Box::new(Doubled),
            Box::new(ToTensor),
            Box::new(Normalize::new([0.5; 3], [0.5; 3]))
        ]),
        Problem::Channels {
            expected: 3,
            found: 2
        }
    );
    // Found with the first image, where it does not.
    let late = compose(vec![Box::new(ToTensor), Box::new(Doubled)]);
    assert_eq!(
        problem(first_error(&late, (3, 2, 2))),
        Problem::AfterToTensor
    );
    let doubled = compose(vec![Box::new(Doubled), Box::new(ToTensor)]);
    assert_eq!(doubled.output_shape((3, 2, 2)), Ok((2, 2, 4)));
    assert_eq!(
        problem(first_error(&doubled, (1, 2, 2))),
        Problem::Channels {
            expected: 2,
            found: 1
        }
    );

    #[derive(Debug)]
    struct Wrong(Kind);
    impl Transform for Wrong {
        fn name(&self) -> &'static str {
            "wrong"
        }
        fn kind(&self) -> Kind {
            self.0
        }
        fn moves(
            &self,
            (height, width): (usize, usize),
            _: &mut SampleRng,
            moves: &mut Vec<Move>,
        ) -> Result<(), Problem> {
            moves.push(Move::Crop {
                top: 1,
                left: 0,
                height,
                width,
            });
            Ok(())
        }
        fn permutation(&self, pixels: u32) -> Vec<u32> {
            (1..=pixels).collect()
        }
        fn apply_u8(&self, image: &mut Image<u8>, _: &mut SampleRng) -> Result<(), Problem> {
            image.replace((1, 1, 4), |_, _| ());
            Ok(())
        }
    }
    let wrong = |kind| {
        let pipeline = compose(vec![Box::new(Wrong(kind)), Box::new(ToTensor)]);
        problem(first_error(&pipeline, (1, 2, 2)))
    };
    assert_eq!(
        wrong(Kind::General),
        Problem::OutputShape {
            expected: (1, 2, 2),
            found: (1, 1, 4)
        }
    );
    assert_eq!(
        wrong(Kind::Geometry),
        Problem::CropOutside {
            top: 1,
            left: 0,
            crop_height: 2,
            crop_width: 2,
            height: 2,
            width: 2
        }
    );
    assert_eq!(wrong(Kind::Permutation), Problem::Permutation(4));
    assert_eq!(
        build(vec![Box::new(Wrong(Kind::ToTensor)), Box::new(ToTensor)]),
        Problem::SecondToTensor
    );
}

#[test]
fn moves_give_their_size_or_an_error() {
    let crop = |top, left, height, width| Move::Crop {
        top,
        left,
        height,
        width,
    };
    let size = (4, 5);
    assert_eq!(crop(1, 2, 3, 3).output_size(size), Ok((3, 3)));
    for outside in [
        crop(2, 0, 3, 5),
        crop(0, 1, 4, 5),
        crop(0, 0, 0, 5),
        crop(usize::MAX, 0, 2, 2),
    ] {
        assert!(matches!(
            outside.output_size(size),
            Err(Problem::CropOutside { .. })
        ));
    }
    let nearest = |height, width| Move::ResizeNearest { height, width };
    assert_eq!(nearest(0, 3).output_size(size), Err(Problem::Size(0)));
    assert_eq!(
        nearest(3, 70_000).output_size(size),
        Err(Problem::Size(70_000))
    );
    let pad = |padding: usize, mode| Move::Pad {
        padding: padding.into(),
        mode,
        fill: 0.0,
    };
    assert_eq!(pad(2, PadMode::Constant).output_size(size), Ok((8, 9)));
    assert_eq!(
        pad(usize::MAX, PadMode::Constant).output_size(size),
        Err(Problem::Padding(usize::MAX))
    );
    assert!(matches!(
        pad(4, PadMode::Reflect).output_size(size),
        Err(Problem::MirrorTooWide { .. })
    ));
}

#[test]
fn built_in_transforms_know_their_configuration() {
    let pipeline = compose(vec![
        Box::new(RandomCrop::new(4, 1)),
        Box::new(Solarize),
        Box::new(ToTensor),
    ]);
    let names: Vec<_> = pipeline.transforms().map(Transform::name).collect();
    assert_eq!(names, ["random-crop", "solarize", "to-tensor"]);
    assert_eq!(
        pipeline.configs(),
        [
            TransformConfig::random_crop(4, 1),
            TransformConfig::to_tensor()
        ]
    );
    assert_eq!(
        serde_json::to_value(&pipeline).unwrap(),
        serde_json::json!([
            TransformConfig::random_crop(4, 1),
            { "name": "solarize", "debug": "Solarize" },
            { "name": "to-tensor" },
        ])
    );
}
