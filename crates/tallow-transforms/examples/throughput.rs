//! Samples a second of everyday pipelines on one thread: `cargo run --release --example throughput`.

use std::hint::black_box;
use std::time::Instant;

use tallow_transforms::{Compose, ImageRef, Interpolation, Resize, SampleRng, TransformConfig};

fn main() -> Result<(), tallow_transforms::Error> {
    let flip = || TransformConfig::random_horizontal_flip(0.5);
    let rgb = || TransformConfig::normalize([0.4914, 0.4822, 0.4465], [0.247, 0.2435, 0.2616]);
    let grey = || TransformConfig::normalize([0.1307], [0.3081]);
    let resize = TransformConfig::Resize(Resize {
        size: 40.into(),
        interpolation: Interpolation::Bilinear,
    });
    let pipelines = [
        (
            "to-tensor, normalize",
            (3, 32, 32),
            vec![TransformConfig::to_tensor(), rgb()],
        ),
        (
            "random-crop, flip, to-tensor, normalize",
            (3, 32, 32),
            vec![
                TransformConfig::random_crop(32, 4),
                flip(),
                TransformConfig::to_tensor(),
                rgb(),
            ],
        ),
        (
            "resize 40, random-crop, flip, to-tensor, normalize",
            (3, 32, 32),
            vec![
                resize,
                TransformConfig::random_crop(32, 0),
                flip(),
                TransformConfig::to_tensor(),
                rgb(),
            ],
        ),
        (
            "to-tensor, normalize, permute-pixels",
            (1, 28, 28),
            vec![
                TransformConfig::to_tensor(),
                grey(),
                TransformConfig::permute_pixels(0),
            ],
        ),
    ];
    for (name, (channels, height, width), transforms) in pipelines {
        let pipeline = Compose::new(transforms)?;
        let data: Vec<u8> = (0..channels * height * width)
            .map(|i| (i * 131 % 251) as u8)
            .collect();
        let image = ImageRef::new(&data, channels, height, width)?;
        let (c, h, w) = pipeline.output_shape(image.shape())?;
        let mut out = vec![0.0; c * h * w];
        let rounds = 7;
        let samples = 20_000;
        let mut best = f64::INFINITY;
        for epoch in 0..rounds {
            let start = Instant::now();
            for index in 0..samples {
                pipeline.apply(
                    black_box(image),
                    &mut SampleRng::new(0, epoch, index),
                    &mut out,
                )?;
                black_box(&mut out);
            }
            best = best.min(start.elapsed().as_secs_f64() / samples as f64);
        }
        println!(
            "{name} ({channels} x {height} x {width}): {:.2} us, {:.0} samples/s",
            best * 1e6,
            1.0 / best
        );
    }
    Ok(())
}
