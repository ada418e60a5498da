//! Each augmentation on an RGB picture of 32 x 32 and one of 224 x 224, in a pipeline with to-tensor:
//! `cargo bench -p tallow-transforms`. `tests/fixtures/time_torchvision.py` times torchvision's.
//!
//! `to_tensor` alone is the least that a pipeline does, and the share of it in every other row.

use divan::{Bencher, black_box, counter::ItemsCount};
use tallow_transforms::{
    AutoAugmentPolicy, Compose, ImageRef, Interpolation, RandomAffine, RandomCrop, RandomRotation,
    SampleRng, TransformConfig,
};

fn main() {
    divan::main();
}

const SIDES: [usize; 2] = [32, 224];

fn run(bencher: Bencher, side: usize, transforms: &[TransformConfig]) {
    let steps = transforms.iter().cloned();
    let pipeline = Compose::new(steps.chain([TransformConfig::to_tensor()])).unwrap();
    let data: Vec<u8> = (0..3 * side * side)
        .map(|i| (128.0 + 100.0 * (i as f64 * 0.013).sin() + (i * 7 % 23) as f64) as u8)
        .collect();
    let image = ImageRef::new(&data, 3, side, side).unwrap();
    let mut out = vec![0.0; data.len()];
    let mut index = 0;
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        index += 1;
        let mut rng = SampleRng::new(0, 0, index);
        pipeline
            .apply(black_box(image), &mut rng, &mut out)
            .unwrap();
    });
}

/// A benchmark of one pipeline for each line.
macro_rules! pipelines {
    ($($name:ident($side:ident): $transforms:expr;)*) => {
        $(
            #[divan::bench(args = SIDES)]
            fn $name(bencher: Bencher, $side: usize) {
                run(bencher, $side, &$transforms);
            }
        )*
    };
}

pipelines! {
    to_tensor(_side): [];
    crop_and_flip(side): [
        TransformConfig::random_crop(side, 4),
        TransformConfig::random_horizontal_flip(0.5)
    ];
    reflect_crop_and_alternating_flip(side): [
        RandomCrop { padding_mode: tallow_transforms::PadMode::Reflect, ..RandomCrop::new(side, 2) }.into(),
        TransformConfig::alternating_flip()
    ];
    resized_crop(side): [TransformConfig::random_resized_crop(side)];
    rotation_nearest(_side): [TransformConfig::random_rotation(30.0)];
    rotation_bilinear(_side): [
        RandomRotation { interpolation: Interpolation::Bilinear, ..RandomRotation::new(30.0) }.into()
    ];
    affine_nearest(_side): [
        RandomAffine { translate: Some([0.1; 2]), scale: Some([0.8, 1.2]), ..RandomAffine::new(20.0) }.into()
    ];
    perspective(_side): [TransformConfig::random_perspective(0.5, 1.0)];
    brightness(_side): [TransformConfig::color_jitter(0.4, 0.0, 0.0, 0.0)];
    contrast(_side): [TransformConfig::color_jitter(0.0, 0.4, 0.0, 0.0)];
    saturation(_side): [TransformConfig::color_jitter(0.0, 0.0, 0.4, 0.0)];
    hue(_side): [TransformConfig::color_jitter(0.0, 0.0, 0.0, 0.1)];
    color_jitter(_side): [TransformConfig::color_jitter(0.4, 0.4, 0.4, 0.1)];
    grayscale(_side): [TransformConfig::random_grayscale(1.0)];
    invert(_side): [TransformConfig::random_invert(1.0)];
    posterize(_side): [TransformConfig::random_posterize(4, 1.0)];
    solarize(_side): [TransformConfig::random_solarize(128.0, 1.0)];
    sharpness(_side): [TransformConfig::random_adjust_sharpness(2.0, 1.0)];
    autocontrast(_side): [TransformConfig::random_autocontrast(1.0)];
    equalize(_side): [TransformConfig::random_equalize(1.0)];
    blur_5(_side): [TransformConfig::gaussian_blur(5)];
    erasing(_side): [TransformConfig::random_erasing(1.0)];
    cutout(side): [TransformConfig::cutout(side / 4)];
    auto_augment(_side): [TransformConfig::auto_augment(AutoAugmentPolicy::Cifar10)];
    rand_augment(_side): [TransformConfig::rand_augment(2, 9)];
    trivial_augment(_side): [TransformConfig::trivial_augment_wide()];
    aug_mix(_side): [TransformConfig::aug_mix(3)];
}
