//! Randomness of the augmentations: a function of (seed, epoch, index), the same number of words whatever the settings.

use tallow_transforms::*;

const SHAPE: (usize, usize, usize) = (3, 19, 17);

fn picture() -> Vec<u8> {
    (0..SHAPE.0 * SHAPE.1 * SHAPE.2)
        .map(|i| (i * i * 7 + i * 31) as u8)
        .collect()
}

fn run(pipeline: &Compose, rng: &mut SampleRng) -> Vec<u32> {
    let data = picture();
    let image = ImageRef::new(&data, SHAPE.0, SHAPE.1, SHAPE.2).unwrap();
    let (channels, height, width) = pipeline.output_shape(SHAPE).unwrap();
    let mut out = vec![f32::NAN; channels * height * width];
    pipeline.apply(image, rng, &mut out).unwrap();
    out.iter().map(|value| value.to_bits()).collect()
}

fn before(transform: TransformConfig) -> Compose {
    Compose::new([transform, TransformConfig::to_tensor()]).unwrap()
}

/// One of each, with settings by which most samples change.
fn each() -> Vec<TransformConfig> {
    vec![
        TransformConfig::random_vertical_flip(0.5),
        TransformConfig::alternating_flip(),
        TransformConfig::random_resized_crop((9, 8)),
        TransformConfig::random_rotation(40.0),
        RandomAffine {
            translate: Some([0.3, 0.2]),
            scale: Some([0.5, 1.5]),
            shear: Some(Shear::Both([-9.0, 9.0, -5.0, 5.0])),
            interpolation: Interpolation::Bilinear,
            ..RandomAffine::new(30.0)
        }
        .into(),
        TransformConfig::random_perspective(0.5, 0.8),
        TransformConfig::color_jitter(0.4, 0.4, 0.4, 0.2),
        TransformConfig::random_grayscale(0.5),
        TransformConfig::random_invert(0.5),
        TransformConfig::random_posterize(3, 0.5),
        TransformConfig::random_solarize(128.0, 0.5),
        TransformConfig::random_adjust_sharpness(2.0, 0.5),
        TransformConfig::random_autocontrast(0.5),
        TransformConfig::random_equalize(0.5),
        TransformConfig::gaussian_blur(5),
        TransformConfig::random_erasing(0.8),
        TransformConfig::cutout(6),
        TransformConfig::auto_augment(AutoAugmentPolicy::Cifar10),
        TransformConfig::rand_augment(2, 15),
        TransformConfig::trivial_augment_wide(),
        TransformConfig::aug_mix(5),
    ]
}

#[test]
fn a_sample_looks_the_same_whatever_went_before_and_on_any_thread() {
    let pipelines: Vec<Compose> = each().into_iter().map(before).collect();
    let sample = |pipeline: &Compose, index| run(pipeline, &mut SampleRng::new(4, 2, index));
    let forward: Vec<Vec<_>> = pipelines
        .iter()
        .map(|pipeline| (0..20).map(|index| sample(pipeline, index)).collect())
        .collect();
    // Transforms in turn, samples from the last to the first.
    for index in (0..20).rev() {
        for (pipeline, forward) in pipelines.iter().zip(&forward) {
            assert_eq!(
                sample(pipeline, index),
                forward[index as usize],
                "{pipeline:?}"
            );
        }
    }
    std::thread::scope(|scope| {
        for (pipeline, forward) in pipelines.iter().zip(&forward) {
            scope.spawn(move || assert_eq!(sample(pipeline, 7), forward[7], "{pipeline:?}"));
        }
    });
}

#[test]
fn samples_differ() {
    for transform in each() {
        let pipeline = before(transform);
        let mut looks: Vec<_> = (0..200)
            .map(|index| run(&pipeline, &mut SampleRng::new(0, 0, index)))
            .collect();
        looks.sort();
        looks.dedup();
        assert!(looks.len() >= 2, "{pipeline:?}");
        assert!(pipeline.is_random());
    }
}

/// Later transforms draw the same numbers whatever the settings of this one.
#[test]
fn settings_do_not_change_what_is_drawn_later() {
    let same: [Vec<TransformConfig>; 13] = [
        [0.0, 0.3, 1.0]
            .map(TransformConfig::random_vertical_flip)
            .into(),
        [0.0, 0.3, 1.0].map(TransformConfig::random_invert).into(),
        [0.0, 0.3, 1.0].map(TransformConfig::random_equalize).into(),
        [0.0, 0.3, 1.0]
            .map(TransformConfig::random_grayscale)
            .into(),
        vec![
            TransformConfig::random_resized_crop(4),
            RandomResizedCrop {
                // No attempt fits.
                scale: [1.0, 1.0],
                ratio: [5.0, 6.0],
                ..RandomResizedCrop::new(9)
            }
            .into(),
        ],
        [0.0, 10.0].map(TransformConfig::random_rotation).into(),
        vec![
            TransformConfig::random_affine(0.0),
            RandomAffine {
                translate: Some([0.5, 0.5]),
                scale: Some([0.5, 2.0]),
                shear: Some(Shear::Both([0.0, 3.0, 0.0, 3.0])),
                ..RandomAffine::new(90.0)
            }
            .into(),
        ],
        [0.0, 0.4, 1.0]
            .map(|p| TransformConfig::random_perspective(0.5, p))
            .into(),
        vec![
            TransformConfig::color_jitter(0.0, 0.0, 0.0, 0.0),
            TransformConfig::color_jitter(0.5, 0.1, [0.2, 0.9], 0.5),
        ],
        vec![
            TransformConfig::random_erasing(0.0),
            TransformConfig::random_erasing(1.0),
            RandomErasing {
                // No attempt fits.
                scale: [1.0, 1.0],
                ..RandomErasing::new(1.0)
            }
            .into(),
        ],
        [1, 6].map(TransformConfig::cutout).into(),
        vec![
            TransformConfig::rand_augment(0, 9),
            TransformConfig::rand_augment(5, 3),
            TransformConfig::trivial_augment_wide(),
            TransformConfig::auto_augment(AutoAugmentPolicy::Svhn),
            TransformConfig::aug_mix(1),
            TransformConfig::aug_mix(10),
        ],
        vec![
            TransformConfig::gaussian_blur(1),
            TransformConfig::gaussian_blur(7),
        ],
    ];
    for group in same {
        for index in 0..20 {
            let next: Vec<u32> = group
                .iter()
                .map(|transform| {
                    let mut rng = SampleRng::new(1, 1, index);
                    run(&before(transform.clone()), &mut rng);
                    rng.below(u32::MAX)
                })
                .collect();
            assert!(
                next.iter().all(|word| *word == next[0]),
                "{group:?}: {next:?}"
            );
        }
    }
    let after = |value| {
        let mut rng = SampleRng::new(1, 1, 1);
        let erasing = RandomErasing {
            value,
            ..RandomErasing::new(1.0)
        };
        let steps = [TransformConfig::to_tensor(), erasing.into()];
        run(&Compose::new(steps).unwrap(), &mut rng);
        rng.below(u32::MAX)
    };
    assert_eq!(
        after(ErasingValue::One(0.0)),
        after(ErasingValue::Random(RandomValue::Random))
    );
}

#[test]
fn two_epochs_of_the_alternating_flip_show_both_sides() {
    let pipeline = before(TransformConfig::alternating_flip());
    let plain = run(
        &Compose::new([TransformConfig::to_tensor()]).unwrap(),
        &mut SampleRng::new(0, 0, 0),
    );
    let flipped =
        |seed, epoch, index| run(&pipeline, &mut SampleRng::new(seed, epoch, index)) != plain;
    let mut first = [0; 2];
    for index in 0..1000 {
        for seed in [0, 1] {
            let sides: Vec<bool> = (0..4).map(|epoch| flipped(seed, epoch, index)).collect();
            assert_eq!(sides[0], sides[2]);
            assert_eq!(sides[1], sides[3]);
            assert_ne!(sides[0], sides[1]);
        }
        first[0] += usize::from(flipped(0, 0, index));
        first[1] += usize::from(flipped(0, 0, index) == flipped(1, 0, index));
    }
    // Five standard deviations of 1000 throws of a coin.
    for count in first {
        assert!((420..580).contains(&count), "{first:?}");
    }
}

#[test]
fn normal_numbers_have_mean_0_and_variance_1() {
    let mut rng = SampleRng::new(2, 0, 0);
    let numbers: Vec<f64> = (0..100_000).map(|_| rng.normal()).collect();
    let moment = |k: i32| numbers.iter().map(|x| x.powi(k)).sum::<f64>() / 1e5;
    // Five standard errors.
    assert!(moment(1).abs() < 0.016, "{}", moment(1));
    assert!((moment(2) - 1.0).abs() < 0.023, "{}", moment(2));
    assert!(moment(3).abs() < 0.062, "{}", moment(3));
    assert!((moment(4) - 3.0).abs() < 0.16, "{}", moment(4));
}
