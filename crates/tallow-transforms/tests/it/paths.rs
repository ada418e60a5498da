//! The fast path gives what the step-by-step path gives, bit for bit, on any pipeline.

use proptest::prelude::*;
use tallow_transforms::{
    Arrangement, Compose, Error, ImageRef, Interpolation, Pad, PadMode, Padding, RandomCrop,
    Resize, SampleRng, Size, TransformConfig,
};

use crate::augmentations;

fn size() -> impl Strategy<Value = Size> {
    prop_oneof![
        (1_usize..=12).prop_map(Size::One),
        (1_usize..=12, 1_usize..=12).prop_map(|(height, width)| Size::Both([height, width])),
    ]
}

fn padding() -> impl Strategy<Value = Padding> {
    let sides = (0_usize..=3, 0_usize..=3, 0_usize..=3, 0_usize..=3);
    sides.prop_map(|(left, top, right, bottom)| Padding {
        left,
        top,
        right,
        bottom,
    })
}

fn mode() -> impl Strategy<Value = PadMode> {
    prop_oneof![
        3 => Just(PadMode::Constant),
        1 => Just(PadMode::Edge),
        1 => Just(PadMode::Reflect),
        1 => Just(PadMode::Symmetric),
    ]
}

/// Transforms that work on either side of to-tensor, with fills that suit both.
fn anywhere() -> impl Strategy<Value = TransformConfig> {
    let fill = (0_u8..=255).prop_map(f32::from);
    let nearest = |size| {
        TransformConfig::Resize(Resize {
            size,
            interpolation: Interpolation::Nearest,
        })
    };
    let crop = (
        size(),
        padding(),
        prop::bool::weighted(0.8),
        fill.clone(),
        mode(),
    );
    prop_oneof![
        4 => crop.prop_map(|(size, padding, pad_if_needed, fill, padding_mode)| {
            TransformConfig::RandomCrop(RandomCrop { size, padding, pad_if_needed, fill, padding_mode })
        }),
        3 => (0.0..=1.0).prop_map(TransformConfig::random_horizontal_flip),
        2 => size().prop_map(TransformConfig::center_crop),
        3 => (padding(), fill, mode())
            .prop_map(|(padding, fill, padding_mode)| TransformConfig::Pad(Pad { padding, fill, padding_mode })),
        1 => size().prop_map(nearest),
        1 => any::<u64>().prop_map(TransformConfig::permute_pixels),
        1 => prop_oneof![Just(1_usize), Just(3)]
            .prop_map(TransformConfig::grayscale),
        6 => augmentations::anywhere(),
    ]
}

fn before() -> impl Strategy<Value = TransformConfig> {
    let bilinear = |size| {
        TransformConfig::Resize(Resize {
            size,
            interpolation: Interpolation::Bilinear,
        })
    };
    prop_oneof![6 => anywhere(), 1 => size().prop_map(bilinear), 2 => augmentations::before()]
}

fn after() -> impl Strategy<Value = TransformConfig> {
    let values = |channels| prop::collection::vec((-1.0_f32..1.0, 0.1_f32..2.0), channels);
    let normalize = prop_oneof![values(1), values(3)].prop_map(|values| {
        let (mean, std): (Vec<f32>, Vec<f32>) = values.into_iter().unzip();
        TransformConfig::normalize(mean, std)
    });
    prop_oneof![4 => anywhere(), 4 => normalize, 1 => augmentations::after()]
}

fn transforms() -> impl Strategy<Value = Vec<TransformConfig>> {
    let few = 0..4_usize;
    let parts = (
        prop::collection::vec(before(), few.clone()),
        prop::collection::vec(after(), few),
    );
    parts.prop_map(|(before, after)| {
        before
            .into_iter()
            .chain([TransformConfig::to_tensor()])
            .chain(after)
            .collect()
    })
}

fn image() -> impl Strategy<Value = ((usize, usize, usize), Vec<u8>)> {
    (
        prop_oneof![1 => Just(1_usize), 3 => Just(3), 1 => Just(2)],
        1_usize..=12,
        1_usize..=12,
    )
        .prop_flat_map(|shape| {
            (
                Just(shape),
                prop::collection::vec(any::<u8>(), shape.0 * shape.1 * shape.2),
            )
        })
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_paths_agree(
        transforms in transforms(),
        (shape, data) in image(),
        (seed, epoch, index) in any::<(u64, u64, u64)>(),
    ) {
        // Pipelines that contradict themselves about channels are refused; nothing to compare.
        let Ok(pipeline) = Compose::new(transforms) else { return Ok(()) };
        let image = ImageRef::new(&data, shape.0, shape.1, shape.2).unwrap();
        let rng = SampleRng::new(seed, epoch, index);
        let (channels, height, width) = match pipeline.output_shape(shape) {
            Ok(shape) => shape,
            Err(error) => {
                prop_assert_eq!(pipeline.apply(image, &mut rng.clone(), &mut []), Err(error.clone()));
                prop_assert_eq!(pipeline.apply_reference(image, &mut rng.clone(), &mut []), Err(error));
                return Ok(());
            }
        };
        let mut fast = vec![f32::NAN; channels * height * width];
        let mut plain = fast.clone();
        let (mut fast_rng, mut plain_rng, mut drawn) = (rng.clone(), rng.clone(), rng);
        pipeline.apply(image, &mut fast_rng, &mut fast).unwrap();
        pipeline.apply_reference(image, &mut plain_rng, &mut plain).unwrap();
        prop_assert_eq!(bits(&fast), bits(&plain));
        // Both drew the same numbers.
        let next = fast_rng.below(u32::MAX);
        prop_assert_eq!(next, plain_rng.below(u32::MAX));
        // So does an arrangement, with which a device makes the image.
        match arranged(&pipeline, image, &mut drawn) {
            Ok(values) => {
                prop_assert_eq!(bits(&values), bits(&fast));
                prop_assert_eq!(next, drawn.below(u32::MAX));
            }
            Err(error) => {
                prop_assert_eq!(error, Error::NoArrangement);
                prop_assert!(pipeline.tables().is_none());
            }
        }
    }
}

/// Output of a pipeline from its tables and the arrangement of an image.
fn arranged(pipeline: &Compose, image: ImageRef, rng: &mut SampleRng) -> Result<Vec<f32>, Error> {
    let mut found = Arrangement::default();
    pipeline.arrange(image.shape(), rng, &mut found)?;
    let tables = pipeline.tables().unwrap();
    let mut out = Vec::new();
    for channel in 0..image.channels {
        for &row in &found.rows {
            for &column in &found.columns {
                out.push(match row.min(column) {
                    code if code < 0 => {
                        found.fills[(-1 - code) as usize * image.channels + channel]
                    }
                    _ => {
                        let place = channel * image.height + row as usize;
                        let byte = image.data[place * image.width + column as usize];
                        tables[channel % tables.len()][usize::from(byte)]
                    }
                });
            }
        }
    }
    Ok(out)
}

#[test]
fn only_pipelines_that_move_and_map_have_an_arrangement() {
    let of =
        |transforms: Vec<TransformConfig>| Compose::new(transforms).unwrap().tables().is_some();
    let usual = || {
        vec![
            TransformConfig::random_crop(32, 4),
            TransformConfig::random_horizontal_flip(0.5),
            TransformConfig::to_tensor(),
            TransformConfig::normalize([0.5], [0.5]),
        ]
    };
    assert!(of(usual()));
    let with = |transform| {
        let mut all = usual();
        all.push(transform);
        all
    };
    assert!(!of(with(TransformConfig::permute_pixels(0))));
    assert!(!of(with(TransformConfig::grayscale(1))));
}

/// The recipes that are in everyday use, on real sizes.
#[test]
fn everyday_recipes() {
    let flip = || TransformConfig::random_horizontal_flip(0.5);
    let rgb = || TransformConfig::normalize([0.4914, 0.4822, 0.4465], [0.247, 0.2435, 0.2616]);
    let grey = || TransformConfig::normalize([0.1307], [0.3081]);
    let reflect = TransformConfig::RandomCrop(RandomCrop {
        size: 32.into(),
        padding: 4.into(),
        pad_if_needed: false,
        fill: 0.0,
        padding_mode: PadMode::Reflect,
    });
    let resize = TransformConfig::Resize(Resize {
        size: 40.into(),
        interpolation: Interpolation::Bilinear,
    });
    let permute = || TransformConfig::permute_pixels(1);
    let recipes = [
        ((3, 32, 32), vec![TransformConfig::to_tensor()]),
        (
            (3, 32, 32),
            vec![
                TransformConfig::random_crop(32, 4),
                flip(),
                TransformConfig::to_tensor(),
                rgb(),
            ],
        ),
        (
            (3, 32, 32),
            vec![reflect, flip(), TransformConfig::to_tensor(), rgb()],
        ),
        (
            (3, 32, 32),
            vec![
                flip(),
                TransformConfig::random_crop(32, 4),
                TransformConfig::to_tensor(),
                rgb(),
            ],
        ),
        (
            (3, 32, 32),
            vec![
                TransformConfig::to_tensor(),
                rgb(),
                TransformConfig::random_crop(32, 4),
                flip(),
            ],
        ),
        (
            (3, 50, 61),
            vec![
                resize,
                TransformConfig::random_crop(32, 0),
                flip(),
                TransformConfig::to_tensor(),
                rgb(),
            ],
        ),
        ((1, 28, 28), vec![TransformConfig::to_tensor(), grey()]),
        (
            (1, 28, 28),
            vec![TransformConfig::to_tensor(), grey(), permute()],
        ),
        (
            (1, 28, 28),
            vec![
                TransformConfig::random_crop(28, 2),
                permute(),
                TransformConfig::to_tensor(),
                grey(),
            ],
        ),
    ];
    for (shape, transforms) in recipes {
        let pipeline = Compose::new(transforms).unwrap();
        let data: Vec<u8> = (0..shape.0 * shape.1 * shape.2)
            .map(|i| (i * 131 % 256) as u8)
            .collect();
        let image = ImageRef::new(&data, shape.0, shape.1, shape.2).unwrap();
        let (channels, height, width) = pipeline.output_shape(shape).unwrap();
        let mut fast = vec![f32::NAN; channels * height * width];
        let mut plain = fast.clone();
        for index in 0..200 {
            pipeline
                .apply(image, &mut SampleRng::new(0, 0, index), &mut fast)
                .unwrap();
            pipeline
                .apply_reference(image, &mut SampleRng::new(0, 0, index), &mut plain)
                .unwrap();
            assert_eq!(bits(&fast), bits(&plain), "{:?}", pipeline);
        }
    }
}
