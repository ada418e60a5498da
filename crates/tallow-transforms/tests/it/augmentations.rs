//! Random configurations of the augmentations, with all settings in their ranges.

use proptest::prelude::*;
use tallow_transforms::*;

fn p() -> impl Strategy<Value = f64> {
    prop_oneof![1 => Just(0.0), 2 => Just(1.0), 2 => 0.0..=1.0]
}

fn ends(low: f64, high: f64) -> impl Strategy<Value = [f64; 2]> {
    (low..=high, low..=high).prop_map(|(a, b)| [a.min(b), a.max(b)])
}

/// One number up to `most`, or two from `low` to `high`.
fn interval(most: f64, (low, high): (f64, f64)) -> impl Strategy<Value = Interval> {
    prop_oneof![
        (0.0..=most).prop_map(Interval::One),
        ends(low, high).prop_map(Interval::Both)
    ]
}

fn angles() -> impl Strategy<Value = Interval> {
    prop_oneof![
        4 => interval(180.0, (-400.0, 400.0)),
        1 => prop_oneof![Just(0.0), Just(90.0), Just(180.0), Just(270.0), Just(1e9)]
            .prop_map(|angle| Interval::Both([angle; 2])),
    ]
}

fn warp() -> impl Strategy<Value = Interpolation> {
    prop_oneof![Just(Interpolation::Nearest), Just(Interpolation::Bilinear)]
}

fn any_interpolation() -> impl Strategy<Value = Interpolation> {
    prop_oneof![warp(), Just(Interpolation::Bicubic)]
}

fn center() -> impl Strategy<Value = Option<[f64; 2]>> {
    prop::option::of((-20.0..20.0, -20.0..20.0).prop_map(|(x, y)| [x, y]))
}

/// Fills that suit both sides of to-tensor.
fn fill() -> impl Strategy<Value = f32> {
    (0_u8..=255).prop_map(f32::from)
}

fn shear() -> impl Strategy<Value = Shear> {
    prop_oneof![
        (0.0..=89.0).prop_map(Shear::One),
        Just(Shear::One(90.0)),
        ends(-100.0, 100.0).prop_map(Shear::Horizontal),
        (ends(-60.0, 60.0), ends(-60.0, 60.0))
            .prop_map(|([a, b], [c, d])| Shear::Both([a, b, c, d])),
    ]
}

fn rotation(
    interpolation: impl Strategy<Value = Interpolation>,
) -> impl Strategy<Value = TransformConfig> {
    (angles(), interpolation, center(), fill()).prop_map(
        |(degrees, interpolation, center, fill)| {
            RandomRotation {
                degrees,
                interpolation,
                center,
                fill,
            }
            .into()
        },
    )
}

fn affine(
    interpolation: impl Strategy<Value = Interpolation>,
) -> impl Strategy<Value = TransformConfig> {
    let shares = (0.0..=1.0, 0.0..=1.0).prop_map(|(x, y)| [x, y]);
    let scales = prop_oneof![ends(0.1, 3.0), ends(1e-300, 1e300)];
    let settings = (
        angles(),
        prop::option::of(shares),
        prop::option::of(scales),
        prop::option::of(shear()),
        interpolation,
        center(),
        fill(),
    );
    settings.prop_map(
        |(degrees, translate, scale, shear, interpolation, center, fill)| {
            RandomAffine {
                degrees,
                translate,
                scale,
                shear,
                interpolation,
                center,
                fill,
            }
            .into()
        },
    )
}

fn perspective(
    interpolation: impl Strategy<Value = Interpolation>,
) -> impl Strategy<Value = TransformConfig> {
    (0.0..=1.0, p(), interpolation, fill()).prop_map(
        |(distortion_scale, p, interpolation, fill)| {
            RandomPerspective {
                distortion_scale,
                p,
                interpolation,
                fill,
            }
            .into()
        },
    )
}

fn erasing(value: impl Strategy<Value = ErasingValue>) -> impl Strategy<Value = TransformConfig> {
    (p(), ends(0.0, 1.0), ends(0.01, 10.0), value).prop_map(|(p, scale, ratio, value)| {
        RandomErasing {
            p,
            scale,
            ratio,
            value,
        }
        .into()
    })
}

/// On either side of to-tensor.
pub fn anywhere() -> impl Strategy<Value = TransformConfig> {
    let factor = || interval(2.0, (0.0, 3.0));
    let jitter = (factor(), factor(), factor(), interval(0.5, (-0.5, 0.5)));
    let kernel = prop_oneof![
        (0_usize..3).prop_map(|half| Size::One(2 * half + 1)),
        (0_usize..3, 0_usize..3).prop_map(|(x, y)| Size::Both([2 * x + 1, 2 * y + 1])),
    ];
    let sigma = prop_oneof![
        (0.01..5.0).prop_map(Interval::One),
        ends(0.01, 5.0).prop_map(Interval::Both)
    ];
    let values = prop_oneof![
        fill().prop_map(ErasingValue::One),
        prop::collection::vec(fill(), 3).prop_map(ErasingValue::PerChannel),
    ];
    prop_oneof![
        p().prop_map(TransformConfig::random_vertical_flip),
        Just(TransformConfig::alternating_flip()),
        rotation(warp()),
        affine(warp()),
        perspective(warp()),
        jitter.prop_map(|(brightness, contrast, saturation, hue)| {
            TransformConfig::color_jitter(brightness, contrast, saturation, hue)
        }),
        p().prop_map(TransformConfig::random_grayscale),
        p().prop_map(TransformConfig::random_invert),
        (0_u32..=8, p()).prop_map(|(bits, p)| TransformConfig::random_posterize(bits, p)),
        (0.0..=1.0, p()).prop_map(|(at, p)| TransformConfig::random_solarize(at, p)),
        (0.0..5.0, p()).prop_map(|(by, p)| TransformConfig::random_adjust_sharpness(by, p)),
        p().prop_map(TransformConfig::random_autocontrast),
        p().prop_map(TransformConfig::random_equalize),
        (kernel, sigma).prop_map(|(kernel_size, sigma)| GaussianBlur { kernel_size, sigma }.into()),
        erasing(values),
        (1_usize..20, fill(), p()).prop_map(|(size, fill, p)| Cutout { size, fill, p }.into()),
    ]
}

/// Before to-tensor alone.
pub fn before() -> impl Strategy<Value = TransformConfig> {
    let crop = (
        1_usize..=12,
        1_usize..=12,
        ends(0.0, 1.0),
        ends(0.1, 10.0),
        any_interpolation(),
    );
    let policy = prop_oneof![
        Just(AutoAugmentPolicy::ImageNet),
        Just(AutoAugmentPolicy::Cifar10),
        Just(AutoAugmentPolicy::Svhn),
    ];
    let look = || (any_interpolation(), fill());
    let rand = (0_usize..4, 2_usize..40, 0.0..1.0, look());
    let mix = (
        1_usize..=10,
        1_usize..4,
        -1_i64..4,
        0.1..4.0,
        any::<bool>(),
        look(),
    );
    prop_oneof![
        1 => rotation(Just(Interpolation::Bicubic)),
        1 => affine(Just(Interpolation::Bicubic)),
        1 => perspective(Just(Interpolation::Bicubic)),
        2 => crop.prop_map(|(height, width, scale, ratio, interpolation)| {
            RandomResizedCrop { size: (height, width).into(), scale, ratio, interpolation }.into()
        }),
        3 => rand.prop_map(|(num_ops, num_magnitude_bins, share, (interpolation, fill))| {
            let magnitude = (share * num_magnitude_bins as f64) as usize;
            RandAugment { num_ops, magnitude, num_magnitude_bins, interpolation, fill }.into()
        }),
        2 => (2_usize..40, look()).prop_map(|(num_magnitude_bins, (interpolation, fill))| {
            TrivialAugmentWide { num_magnitude_bins, interpolation, fill }.into()
        }),
        2 => (policy, look()).prop_map(|(policy, (interpolation, fill))| {
            AutoAugment { policy, interpolation, fill }.into()
        }),
        2 => mix.prop_map(
            |(severity, mixture_width, chain_depth, alpha, all_ops, (interpolation, fill))| {
                AugMix { severity, mixture_width, chain_depth, alpha, all_ops, interpolation, fill }
                    .into()
            },
        ),
    ]
}

/// After to-tensor alone.
pub fn after() -> impl Strategy<Value = TransformConfig> {
    erasing(Just(ErasingValue::Random(RandomValue::Random)))
}
