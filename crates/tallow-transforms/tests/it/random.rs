//! Randomness: a function of (seed, epoch, index), and distributed as it says.

use tallow_transforms::{Compose, ImageRef, Resize, SampleRng, TransformConfig, permutation};

/// Applies `pipeline` to a 9 x 9 image whose bytes are their positions, 0 to 80.
fn numbered(pipeline: &Compose, mut rng: SampleRng) -> Vec<u8> {
    let data: Vec<u8> = (0..81).collect();
    let image = ImageRef::new(&data, 1, 9, 9).unwrap();
    let (_, height, width) = pipeline.output_shape(image.shape()).unwrap();
    let mut out = vec![0.0; height * width];
    pipeline.apply(image, &mut rng, &mut out).unwrap();
    out.iter()
        .map(|value| (value * 255.0).round() as u8)
        .collect()
}

fn pipeline(transforms: impl IntoIterator<Item = TransformConfig>) -> Compose {
    Compose::new(transforms.into_iter().chain([TransformConfig::to_tensor()])).unwrap()
}

fn augment() -> Compose {
    pipeline([
        TransformConfig::random_crop(9, 4),
        TransformConfig::random_horizontal_flip(0.5),
    ])
}

/// Pearson's statistic of counts that should be equal.
fn chi_square(counts: &[usize]) -> f64 {
    let expected = counts.iter().sum::<usize>() as f64 / counts.len() as f64;
    counts
        .iter()
        .map(|&count| (count as f64 - expected).powi(2) / expected)
        .sum()
}

/// The 0.1 % and 99.9 % points of chi-square with 80 degrees of freedom.
const CHI_SQUARE_80: std::ops::Range<f64> = 46.52..124.84;

#[test]
fn crops_fall_everywhere_alike() {
    // A crop of one pixel shows where it was taken.
    let crop = pipeline([TransformConfig::random_crop(1, 0)]);
    let place =
        |seed, epoch, index| usize::from(numbered(&crop, SampleRng::new(seed, epoch, index))[0]);
    let mut by_index = [0; 81];
    let mut by_epoch = [0; 81];
    let mut by_seed = [0; 81];
    let mut rows_of_neighbours = [0; 81];
    for i in 0..81 * 200 {
        by_index[place(3, 0, i)] += 1;
        by_epoch[place(3, i, 0)] += 1;
        by_seed[place(i, 3, 0)] += 1;
        rows_of_neighbours[place(9, 1, 2 * i) / 9 * 9 + place(9, 1, 2 * i + 1) / 9] += 1;
    }
    for counts in [by_index, by_epoch, by_seed, rows_of_neighbours] {
        let statistic = chi_square(&counts);
        assert!(
            CHI_SQUARE_80.contains(&statistic),
            "{statistic}: {counts:?}"
        );
    }
}

#[test]
fn flips_happen_as_often_as_asked() {
    let n = 20_000;
    for p in [0.1, 0.5, 0.9] {
        let flip = pipeline([TransformConfig::random_horizontal_flip(p)]);
        let flipped = (0..n)
            .filter(|&index| numbered(&flip, SampleRng::new(4, 0, index))[0] == 8)
            .count();
        let deviation = (flipped as f64 - n as f64 * p) / (n as f64 * p * (1.0 - p)).sqrt();
        assert!(
            deviation.abs() < 3.29,
            "{p}: {flipped} of {n}, {deviation} standard deviations"
        );
    }
    let (never, always) = (
        TransformConfig::random_horizontal_flip(0.0),
        TransformConfig::random_horizontal_flip(1.0),
    );
    let (never, always) = (pipeline([never]), pipeline([always]));
    for index in 0..2_000 {
        assert_eq!(numbered(&never, SampleRng::new(4, 0, index))[0], 0);
        assert_eq!(numbered(&always, SampleRng::new(4, 0, index))[0], 8);
    }
}

#[test]
fn a_flip_does_not_depend_on_the_crop() {
    let crop = pipeline([
        TransformConfig::random_crop((1, 2), 0),
        TransformConfig::random_horizontal_flip(0.5),
    ]);
    // Top row (9) by mirrored (2), each pair equally likely.
    let mut counts = [0; 18];
    for index in 0..18 * 500 {
        let pixels = numbered(&crop, SampleRng::new(1, 1, index));
        counts[usize::from(pixels[0] / 9) * 2 + usize::from(pixels[0] > pixels[1])] += 1;
    }
    // 0.1 % and 99.9 % points for 17 degrees of freedom.
    assert!((4.42..40.79).contains(&chi_square(&counts)), "{counts:?}");
}

#[test]
fn below_is_uniform_and_in_range() {
    let mut rng = SampleRng::new(0, 0, 0);
    let mut counts = [0; 81];
    for _ in 0..81 * 500 {
        counts[rng.below(81) as usize] += 1;
    }
    assert!(CHI_SQUARE_80.contains(&chi_square(&counts)));
    assert_eq!((rng.below(0), rng.below(1)), (0, 0));
    // A quarter of all words is rejected here; a plain remainder would put 5/8 into the lower half.
    let n = (1 << 31) + (1 << 30);
    let low = (0..20_000).filter(|_| rng.below(n) < n / 2).count();
    assert!((9_768..10_232).contains(&low), "{low}");
}

#[test]
fn uniform_numbers_are_in_range_and_spread() {
    let mut rng = SampleRng::new(0, 0, 0);
    let mut counts = [0; 81];
    for _ in 0..81 * 500 {
        let number = rng.uniform(-4.0, 4.1);
        assert!((-4.0..4.1).contains(&number), "{number}");
        counts[((number + 4.0) * 10.0) as usize] += 1;
    }
    assert!(CHI_SQUARE_80.contains(&chi_square(&counts)), "{counts:?}");
}

#[test]
fn the_same_sample_looks_the_same_whatever_went_before() {
    let augment = augment();
    let resize = pipeline([TransformConfig::Resize(Resize {
        size: 5.into(),
        interpolation: Default::default(),
    })]);
    let forward: Vec<_> = (0..50)
        .map(|index| numbered(&augment, SampleRng::new(8, 2, index)))
        .collect();
    let backward: Vec<_> = (0..50)
        .rev()
        .map(|index| {
            numbered(&resize, SampleRng::new(0, 0, 0));
            numbered(&augment, SampleRng::new(8, 2, index))
        })
        .collect();
    assert!(forward.iter().eq(backward.iter().rev()));

    let elsewhere = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..50)
            .map(|index| {
                let augment = &augment;
                scope.spawn(move || numbered(augment, SampleRng::new(8, 2, index)))
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect::<Vec<_>>()
    });
    assert_eq!(forward, elsewhere);
}

#[test]
fn seed_epoch_and_index_all_count() {
    let augment = augment();
    let looks = |change: fn(u64) -> (u64, u64, u64)| {
        let mut seen: Vec<_> = (0..100)
            .map(|i| {
                let (seed, epoch, index) = change(i);
                numbered(&augment, SampleRng::new(seed, epoch, index))
            })
            .collect();
        seen.sort();
        seen.dedup();
        seen.len()
    };
    // 162 equally likely looks; 100 draws show about 75 of them.
    assert!(looks(|i| (i, 0, 0)) > 60);
    assert!(looks(|i| (0, i, 0)) > 60);
    assert!(looks(|i| (0, 0, i)) > 60);
    assert!(looks(|i| (i << 32, 0, 0)) > 60);
    assert_eq!(looks(|_| (1, 2, 3)), 1);
}

#[test]
fn is_random_says_whether_the_generator_matters() {
    assert!(augment().is_random());
    assert!(!pipeline([TransformConfig::center_crop(3)]).is_random());
}

#[test]
fn permutations() {
    let order = permutation(1, 784);
    let mut sorted = order.clone();
    sorted.sort();
    assert!(sorted.into_iter().eq(0..784));
    assert_ne!(order, permutation(2, 784));
    assert!(permutation(1, 0).is_empty());

    // Each of 9 places sends its pixel to each of 9 others alike.
    let mut counts = [0; 81];
    for seed in 0..9 * 900 {
        for (to, from) in permutation(seed, 9).into_iter().enumerate() {
            counts[to * 9 + from as usize] += 1;
        }
    }
    // Rows and columns are fixed sums: 64 degrees of freedom.
    assert!((34.63..104.72).contains(&chi_square(&counts)), "{counts:?}");

    // Images of several sizes through one pipeline: each gets its own.
    let permute = pipeline([TransformConfig::permute_pixels(6)]);
    for (height, width) in [(2, 3), (4, 5), (2, 3), (3, 2)] {
        let data: Vec<u8> = (0..height * width).map(|byte| byte as u8).collect();
        let image = ImageRef::new(&data, 1, height, width).unwrap();
        let mut out = vec![0.0; data.len()];
        permute
            .apply(image, &mut SampleRng::new(0, 0, 0), &mut out)
            .unwrap();
        let bytes = out.iter().map(|value| (value * 255.0).round() as u32);
        assert!(bytes.eq(permutation(6, data.len() as u32)));
    }
}
