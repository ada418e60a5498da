//! Errors: the cause, the time at which it is found, and the message.

use tallow_transforms::{
    Compose, Error, ImageRef, Interpolation, MAX_SIDE, Pad, PadMode, Problem, Resize, SampleRng,
    Size, TransformConfig,
};

fn build(transforms: Vec<TransformConfig>) -> Error {
    Compose::new(transforms).unwrap_err()
}

fn problem(transforms: Vec<TransformConfig>) -> Problem {
    match build(transforms) {
        Error::Transform { problem, .. } => problem,
        other => panic!("not about one transform: {other}"),
    }
}

/// The error for a black image of `shape`, which must be the same from every entrance.
fn on_image(transforms: Vec<TransformConfig>, shape: (usize, usize, usize)) -> Error {
    let pipeline = Compose::new(transforms).unwrap();
    let data = vec![0; shape.0 * shape.1 * shape.2];
    let image = ImageRef::new(&data, shape.0, shape.1, shape.2).unwrap();
    let error = pipeline.output_shape(shape).unwrap_err();
    let mut out = [5.0; 4];
    for result in [
        pipeline.apply(image, &mut SampleRng::new(0, 0, 0), &mut out),
        pipeline.apply_reference(image, &mut SampleRng::new(0, 0, 0), &mut out),
    ] {
        assert_eq!(result.as_ref(), Err(&error));
    }
    assert_eq!(out, [5.0; 4]);
    error
}

fn with_tensor(transform: TransformConfig) -> Vec<TransformConfig> {
    vec![transform, TransformConfig::to_tensor()]
}

fn pad(padding: usize, fill: f32, padding_mode: PadMode) -> TransformConfig {
    TransformConfig::Pad(Pad {
        padding: padding.into(),
        fill,
        padding_mode,
    })
}

#[test]
fn to_tensor_is_there_once() {
    assert_eq!(build(vec![]), Error::NoToTensor);
    assert_eq!(
        build(vec![TransformConfig::random_crop(3, 0)]),
        Error::NoToTensor
    );
    assert_eq!(
        problem(vec![
            TransformConfig::to_tensor(),
            TransformConfig::to_tensor()
        ]),
        Problem::SecondToTensor
    );
}

#[test]
fn order() {
    let normalize = TransformConfig::normalize([0.5], [0.5]);
    assert_eq!(
        problem(vec![normalize, TransformConfig::to_tensor()]),
        Problem::BeforeToTensor
    );
    let resize = TransformConfig::Resize(Resize {
        size: 8.into(),
        interpolation: Interpolation::Bilinear,
    });
    assert_eq!(
        problem(vec![TransformConfig::to_tensor(), resize]),
        Problem::AfterToTensor
    );
}

#[test]
fn normalize_values() {
    let normalize = |mean: &[f32], std: &[f32]| {
        problem(vec![
            TransformConfig::to_tensor(),
            TransformConfig::normalize(mean, std),
        ])
    };
    assert_eq!(normalize(&[0.5; 3], &[0.5, 0.0, 0.5]), Problem::Std(0.0));
    assert!(matches!(normalize(&[0.5], &[f32::NAN]), Problem::Std(_)));
    assert_eq!(
        normalize(&[f32::INFINITY], &[0.5]),
        Problem::Mean(f32::INFINITY)
    );
    assert_eq!(
        normalize(&[0.5; 3], &[0.5]),
        Problem::Lengths { mean: 3, std: 1 }
    );
    assert_eq!(normalize(&[], &[]), Problem::Lengths { mean: 0, std: 0 });
}

#[test]
fn channels() {
    let three = || TransformConfig::normalize([0.5; 3], [0.5; 3]);
    let grayscale = || TransformConfig::grayscale(1);
    let wrong = |found| Problem::Channels { expected: 3, found };

    let error = on_image(vec![TransformConfig::to_tensor(), three()], (1, 4, 4));
    assert_eq!(
        error,
        Error::Transform {
            position: 1,
            name: "normalize",
            problem: wrong(1)
        }
    );
    assert_eq!(
        error.to_string(),
        "transform 2 (normalize): expected 3 channels, the image has 1"
    );
    let error = on_image(with_tensor(grayscale()), (4, 4, 4));
    assert_eq!(
        error,
        Error::Transform {
            position: 0,
            name: "grayscale",
            problem: wrong(4)
        }
    );

    // Where the pipeline itself says how many there are, no image is needed to see it.
    assert_eq!(
        problem(vec![grayscale(), TransformConfig::to_tensor(), three()]),
        wrong(1)
    );
    let two = TransformConfig::normalize([0.5; 2], [0.5; 2]);
    assert_eq!(
        problem(vec![TransformConfig::to_tensor(), three(), two]),
        Problem::Channels {
            expected: 2,
            found: 3
        }
    );
    assert!(
        Compose::new(vec![
            TransformConfig::to_tensor(),
            three(),
            TransformConfig::normalize([0.5], [0.5])
        ])
        .is_ok()
    );

    let two = TransformConfig::grayscale(2);
    assert_eq!(problem(with_tensor(two)), Problem::GrayChannels(2));
}

#[test]
fn sizes() {
    let both = |height, width| Size::Both([height, width]);
    for (size, wrong) in [
        (0.into(), 0),
        (both(3, 0), 0),
        (both(MAX_SIDE + 1, 2), MAX_SIDE + 1),
    ] {
        let resize = TransformConfig::Resize(Resize {
            size,
            interpolation: Interpolation::Nearest,
        });
        for transform in [
            TransformConfig::random_crop(size, 1),
            TransformConfig::center_crop(size),
            resize,
        ] {
            assert_eq!(problem(with_tensor(transform)), Problem::Size(wrong));
        }
    }
    let wide = pad(MAX_SIDE + 1, 0.0, PadMode::Constant);
    assert_eq!(problem(with_tensor(wide)), Problem::Padding(MAX_SIDE + 1));
    assert_eq!(
        problem(with_tensor(TransformConfig::random_crop(1, usize::MAX))),
        Problem::Padding(usize::MAX)
    );

    // The longer side follows from the shorter one.
    for interpolation in [Interpolation::Nearest, Interpolation::Bilinear] {
        let resize = TransformConfig::Resize(Resize {
            size: 30_000.into(),
            interpolation,
        });
        let error = on_image(with_tensor(resize), (1, 1, 3));
        assert_eq!(
            error,
            Error::Transform {
                position: 0,
                name: "resize",
                problem: Problem::Size(90_000)
            }
        );
    }
}

#[test]
fn probabilities() {
    for p in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
        let found = problem(with_tensor(TransformConfig::random_horizontal_flip(p)));
        assert!(matches!(found, Problem::Probability(_)), "{p}");
    }
}

#[test]
fn fills() {
    for fill in [-1.0, 256.0, 0.5, f32::NAN] {
        let found = problem(with_tensor(pad(1, fill, PadMode::Constant)));
        assert!(matches!(found, Problem::FillU8(_)), "{fill}");
        assert_eq!(
            Compose::new(vec![
                TransformConfig::to_tensor(),
                pad(1, fill, PadMode::Constant)
            ])
            .is_ok(),
            !fill.is_nan()
        );
    }
}

#[test]
fn crops_that_do_not_fit() {
    let error = on_image(
        with_tensor(TransformConfig::random_crop((9, 7), 1)),
        (1, 6, 8),
    );
    let expected = Problem::CropTooLarge {
        crop_height: 9,
        crop_width: 7,
        height: 8,
        width: 10,
    };
    assert_eq!(
        error,
        Error::Transform {
            position: 0,
            name: "random-crop",
            problem: expected
        }
    );
    assert_eq!(
        error.to_string(),
        "transform 1 (random-crop): a crop of 9 x 7 does not fit into 8 x 10 (after padding): \
         pad more, or set pad_if_needed"
    );
}

#[test]
fn mirrors_that_are_too_wide() {
    let shape = (1, 4, 6);
    for (padding_mode, mode, most) in [
        (PadMode::Reflect, "reflect", 3),
        (PadMode::Symmetric, "symmetric", 4),
    ] {
        let fits = Compose::new(with_tensor(pad(most, 0.0, padding_mode))).unwrap();
        assert_eq!(
            fits.output_shape(shape),
            Ok((1, 4 + 2 * most, 6 + 2 * most))
        );
        let problem = Problem::MirrorTooWide {
            mode,
            padding: most + 1,
            side: 4,
        };
        let error = on_image(with_tensor(pad(most + 1, 0.0, padding_mode)), shape);
        assert_eq!(
            error,
            Error::Transform {
                position: 0,
                name: "pad",
                problem
            }
        );
    }
    // Unpadded sides ask for nothing, even of a single row.
    let sideways = TransformConfig::Pad(Pad {
        padding: [2, 0].into(),
        fill: 0.0,
        padding_mode: PadMode::Reflect,
    });
    assert_eq!(
        Compose::new(with_tensor(sideways))
            .unwrap()
            .output_shape((1, 1, 3)),
        Ok((1, 1, 7))
    );
}

#[test]
fn images_and_outputs_of_the_wrong_length() {
    let data = [0; 12];
    for (channels, height, width) in [
        (1, 3, 3),
        (0, 3, 4),
        (3, 0, 4),
        (3, 2, usize::MAX),
        (usize::MAX, 2, 6),
    ] {
        let expected = Error::Image {
            channels,
            height,
            width,
            bytes: 12,
        };
        assert_eq!(
            ImageRef::new(&data, channels, height, width).unwrap_err(),
            expected
        );
    }
    let pipeline = Compose::new(vec![TransformConfig::to_tensor()]).unwrap();
    let rng = &mut SampleRng::new(0, 0, 0);
    let unchecked = ImageRef {
        data: &data,
        channels: 3,
        height: 2,
        width: 3,
    };
    assert!(matches!(
        pipeline.apply(unchecked, rng, &mut [0.0; 18]),
        Err(Error::Image { .. })
    ));
    let image = ImageRef::new(&data, 3, 2, 2).unwrap();
    let wrong = Err(Error::OutputLength {
        expected: 12,
        found: 11,
    });
    assert_eq!(pipeline.apply(image, rng, &mut [0.0; 11]), wrong);
    assert_eq!(pipeline.apply_reference(image, rng, &mut [0.0; 11]), wrong);
}
