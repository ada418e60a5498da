//! Convolutions that are shared between threads.

use candle_core::{DType, Tensor};
use tallow_ops::{Conv2dConfig, Layout, conv2d};

use super::case::{Case, assert_agrees, case, run};

/// Convolutions large enough for several threads, several blocks of rows and several images to a block.
fn large() -> Vec<Case> {
    let mut cases = Vec::new();
    for layout in [Layout::Nchw, Layout::Nhwc] {
        let plain = Conv2dConfig {
            layout,
            ..Default::default()
        };
        let same = Conv2dConfig {
            padding: (1, 1),
            ..plain
        };
        cases.extend([
            case([9, 17, 14, 15], 33, (3, 3), same),
            case([9, 35, 14, 15], 33, (3, 3), same),
            case([1, 33, 40, 37], 20, (3, 3), same),
            case(
                [2, 3, 90, 110],
                40,
                (3, 3),
                Conv2dConfig {
                    stride: (2, 2),
                    ..same
                },
            ),
            case([70, 64, 2, 2], 72, (3, 3), same),
            case([5, 24, 20, 20], 70, (1, 1), plain),
            case([40, 24, 5, 6], 40, (1, 1), plain),
            case(
                [3, 24, 31, 30],
                12,
                (3, 3),
                Conv2dConfig {
                    groups: 2,
                    dilation: (2, 3),
                    padding: (2, 3),
                    ..plain
                },
            ),
            case(
                [6, 24, 31, 30],
                2,
                (3, 3),
                Conv2dConfig { groups: 24, ..same },
            ),
            case(
                [6, 24, 31, 30],
                1,
                (3, 3),
                Conv2dConfig { groups: 24, ..same },
            ),
            case(
                [35, 37, 29, 17],
                1,
                (5, 5),
                Conv2dConfig {
                    groups: 37,
                    stride: (2, 2),
                    padding: (2, 2),
                    ..plain
                },
            ),
            case([17, 1, 28, 28], 6, (5, 5), plain),
            case([19, 6, 12, 12], 16, (5, 5), plain),
            case([5, 16, 24, 30], 21, (3, 3), same),
        ]);
    }
    cases
}

#[test]
fn large_convolutions_agree_for_any_number_of_threads() {
    for threads in [1, 2, 5] {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| large().iter().for_each(|case| assert_agrees(case, false)));
    }
}

#[test]
fn the_same_call_gives_the_same_bits() {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(3)
        .build()
        .unwrap();
    for case in large() {
        let arguments = case.arguments(DType::F32);
        let bits = || -> Vec<u32> {
            let tensors = pool.install(|| run(conv2d, &case, &arguments, false));
            let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            tensors.iter().flat_map(flat).map(f32::to_bits).collect()
        };
        let first = bits();
        for _ in 0..3 {
            assert!(first == bits(), "bits differ: {case:?}");
        }
    }
}

/// Not promised of other convolutions, nor of the kernel without vector instructions.
#[test]
fn depthwise_convolutions_have_the_same_bits_on_any_number_of_threads() {
    if tallow_ops::instruction_set() == "portable" {
        println!("skipped: the portable kernel divides its sums by the number of threads");
        return;
    }
    for layout in [Layout::Nchw, Layout::Nhwc] {
        for stride in [1, 2] {
            let config = Conv2dConfig {
                groups: 20,
                stride: (stride, stride),
                padding: (1, 1),
                layout,
                ..Default::default()
            };
            let case = case([35, 20, 30, 31], 1, (3, 3), config);
            let arguments = case.arguments(DType::F32);
            let bits = |threads| -> Vec<u32> {
                let pool = rayon::ThreadPoolBuilder::new()
                    .num_threads(threads)
                    .build()
                    .unwrap();
                let tensors = pool.install(|| run(conv2d, &case, &arguments, false));
                let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                tensors.iter().flat_map(flat).map(f32::to_bits).collect()
            };
            let one = bits(1);
            assert!(one == bits(2) && one == bits(5), "bits differ: {case:?}");
        }
    }
}
