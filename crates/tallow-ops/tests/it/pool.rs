//! Pooling against PyTorch, against the reference, against finite differences; and its errors.

use crate::torch::{
    LAYOUTS, TYPES, arrange, assert_close, bits, differentiate, fixture, noise, pair, restore,
    tensor, view,
};
use candle_core::{DType, Device, Tensor};
use proptest::prelude::*;
use tallow_ops::{
    Error, Layout, Pool2dConfig, Result, adaptive_avg_pool2d, avg_pool2d, gradcheck, max_pool2d,
    reference,
};

/// One of the three poolings and its settings.
#[derive(Clone, Copy, Debug)]
enum Pool {
    Max(Pool2dConfig),
    Avg(Pool2dConfig, bool),
    Adaptive((usize, usize), Layout),
}

impl Pool {
    fn fast(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Pool::Max(config) => max_pool2d(x, &config),
            Pool::Avg(config, include) => avg_pool2d(x, &config, include),
            Pool::Adaptive(output, layout) => adaptive_avg_pool2d(x, output, layout),
        }
    }

    fn reference(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Pool::Max(config) => reference::max_pool2d(x, &config),
            Pool::Avg(config, include) => reference::avg_pool2d(x, &config, include),
            Pool::Adaptive(output, layout) => reference::adaptive_avg_pool2d(x, output, layout),
        }
    }
}

#[test]
fn every_pooling_equals_pytorch() {
    let cases = fixture("pooling");
    let cases = cases.as_array().unwrap();
    assert!(cases.len() > 40);
    for (i, case) in cases.iter().enumerate() {
        for layout in LAYOUTS {
            let config = || Pool2dConfig {
                kernel: pair(&case["kernel"]),
                stride: pair(&case["stride"]),
                padding: pair(&case["padding"]),
                dilation: pair(&case["dilation"]),
                ceil_mode: case["ceil_mode"].as_bool().unwrap(),
                layout,
            };
            let pool = match case["op"].as_str().unwrap() {
                "max_pool2d" => Pool::Max(config()),
                "avg_pool2d" => Pool::Avg(config(), case["include"].as_bool().unwrap()),
                _ => Pool::Adaptive(pair(&case["size"]), layout),
            };
            for (dtype, tolerance) in TYPES {
                let what = format!("case {i}, {pool:?}, {dtype:?}");
                let [x, up, y] = ["input", "up", "output"].map(|name| tensor(&case[name], dtype));
                let gx = tensor(&case["grads"][0], dtype);
                for f in [Pool::fast, Pool::reference] {
                    let f = |t: &[Tensor]| Ok(restore(&f(pool, &arrange(&t[0], layout))?, layout));
                    let (got, grads) =
                        differentiate(f, std::slice::from_ref(&x), Some(&up)).unwrap();
                    assert_close(&what, &got, &y, tolerance);
                    assert_close(&what, &grads[0], &gx, tolerance);
                }
            }
        }
    }
}

/// candle 0.11.1 averages the mask of the maxima over the window and then multiplies by it, so a single maximum gets a quarter.
#[test]
fn a_single_maximum_gets_the_whole_gradient() {
    let x = Tensor::from_vec(vec![0f32, 1., 2., 3.], (1, 1, 2, 2), &Device::Cpu).unwrap();
    let gradient = |f: &dyn Fn(&Tensor) -> Result<Tensor>| {
        let (_, grads) = differentiate(|t| f(&t[0]), std::slice::from_ref(&x), None).unwrap();
        crate::torch::values(&grads[0])
    };
    assert_eq!(
        gradient(&|x| max_pool2d(x, &Pool2dConfig::new(2))),
        [0., 0., 0., 1.]
    );
    assert_eq!(
        gradient(&|x| reference::max_pool2d(x, &Pool2dConfig::new(2))),
        [0., 0., 0., 1.]
    );
    // What this crate works around; when it changes, the note in the README can go.
    assert_eq!(gradient(&|x| Ok(x.max_pool2d(2)?)), [0., 0., 0., 0.25]);
}

#[test]
fn the_first_of_equal_values_wins_and_overlapping_windows_add_up() {
    let x = Tensor::ones((1, 1, 3, 3), DType::F32, &Device::Cpu).unwrap();
    let config = Pool2dConfig {
        stride: (1, 1),
        ..Pool2dConfig::new(2)
    };
    let (_, grads) = differentiate(
        |t| max_pool2d(&t[0], &config),
        std::slice::from_ref(&x),
        None,
    )
    .unwrap();
    assert_eq!(
        crate::torch::values(&grads[0]),
        [1., 1., 0., 1., 1., 0., 0., 0., 0.]
    );

    let mut peak = vec![0f32; 9];
    peak[4] = 1.;
    let x = Tensor::from_vec(peak, (1, 1, 3, 3), &Device::Cpu).unwrap();
    let (_, grads) = differentiate(
        |t| max_pool2d(&t[0], &config),
        std::slice::from_ref(&x),
        None,
    )
    .unwrap();
    assert_eq!(
        crate::torch::values(&grads[0]),
        [0., 0., 0., 0., 4., 0., 0., 0., 0.]
    );
}

/// With dilation a window can lie in the padding altogether. Its maximum is that of nothing, and its gradient goes nowhere.
#[test]
fn a_window_on_padding_alone_has_no_gradient() {
    let x = Tensor::ones((1, 2, 3, 3), DType::F32, &Device::Cpu).unwrap();
    for layout in LAYOUTS {
        let config = Pool2dConfig {
            padding: (1, 1),
            dilation: (4, 4),
            stride: (1, 1),
            layout,
            ..Pool2dConfig::new(2)
        };
        for f in [max_pool2d, reference::max_pool2d] {
            let f = |t: &[Tensor]| f(&arrange(&t[0], layout), &config);
            let (y, grads) = differentiate(f, std::slice::from_ref(&x), None).unwrap();
            assert_eq!(crate::torch::values(&y), [f64::NEG_INFINITY; 2]);
            assert_eq!(crate::torch::values(&grads[0]), [0.; 18]);
        }
    }
}

/// The shape of a random pooling; an impossible one must be refused by both paths.
fn any_pool() -> impl Strategy<Value = (Pool, Vec<usize>)> {
    let kernel = (1..=5usize, 1..=5usize);
    let sizes = (
        1..=3usize,
        prop_oneof![1..=6usize, 15..=18usize],
        1..=11usize,
        1..=11usize,
    );
    let config = (
        kernel,
        1..=4usize,
        1..=4usize,
        0..=2usize,
        0..=2usize,
        1..=3usize,
        1..=3usize,
        any::<bool>(),
    );
    (0..3, sizes, config, any::<bool>(), any::<bool>()).prop_map(
        |(op, (n, c, h, w), config, include, last)| {
            let (kernel, sh, sw, ph, pw, dh, dw, ceil_mode) = config;
            let layout = if last { Layout::Nhwc } else { Layout::Nchw };
            let padding = (ph.min(kernel.0 / 2), pw.min(kernel.1 / 2));
            let dilation = if op == 0 { (dh, dw) } else { (1, 1) };
            let config = Pool2dConfig {
                kernel,
                stride: (sh, sw),
                padding,
                dilation,
                ceil_mode,
                layout,
            };
            let pool = match op {
                0 => Pool::Max(config),
                1 => Pool::Avg(config, include),
                _ => Pool::Adaptive((sh + ph, sw + pw), layout),
            };
            let shape = if last {
                vec![n, h, w, c]
            } else {
                vec![n, c, h, w]
            };
            (pool, shape)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn fast_equals_reference((pool, shape) in any_pool(), seed: u64, grain in prop_oneof![Just(1.), Just(64.)], kind in 0..4usize, nan: bool) {
        let mut x = noise(&shape, seed, grain);
        if nan {
            // About one element in eight.
            let chosen = noise(&shape, seed ^ 2, 64.).gt(1.5).unwrap();
            x = chosen.where_cond(&x.affine(0., f64::NAN).unwrap(), &x).unwrap();
        }
        let expected = pool.reference(&x);
        for (dtype, tolerance) in TYPES {
            let x = x.to_dtype(dtype).unwrap();
            let Ok(y) = &expected else {
                let refused = matches!(pool.fast(&x), Err(Error::Config { .. }));
                prop_assert!(refused);
                continue;
            };
            let up = noise(y.dims(), seed ^ 1, 64.).to_dtype(dtype).unwrap();
            let inputs = std::slice::from_ref(&x);
            let (fast, fast_grads) = differentiate(|t| pool.fast(&view(&t[0], kind)?), inputs, Some(&up)).unwrap();
            let (plain, plain_grads) = differentiate(|t| pool.reference(&t[0]), inputs, Some(&up)).unwrap();
            let what = format!("{pool:?} {shape:?} {dtype:?}");
            assert_close(&what, &fast, &plain, tolerance);
            assert_close(&what, &fast_grads[0], &plain_grads[0], tolerance);
        }
    }
}

#[test]
fn gradients_equal_finite_differences() {
    // A permutation of distinct values: no step of the differences changes a winner.
    let x: Vec<f64> = (0..2 * 2 * 5 * 6)
        .map(|i| (i * 49 % 120) as f64 / 60. - 1.)
        .collect();
    let x = Tensor::from_vec(x, (2, 2, 5, 6), &Device::Cpu).unwrap();
    for layout in LAYOUTS {
        let config = Pool2dConfig {
            stride: (2, 1),
            padding: (1, 0),
            layout,
            ..Pool2dConfig::new(3)
        };
        for pool in [
            Pool::Max(config),
            Pool::Avg(config, true),
            Pool::Avg(config, false),
            Pool::Adaptive((3, 4), layout),
        ] {
            let f = |t: &[Tensor]| pool.fast(&view(&arrange(&t[0], layout), 1)?);
            let error = gradcheck::max_relative_error(f, std::slice::from_ref(&x)).unwrap();
            assert!(error < 1e-8, "{pool:?}: {error}");
        }
    }
}

#[test]
fn large_work_gives_the_same_bits_on_any_number_of_threads() {
    for layout in LAYOUTS {
        let x = noise(&[8, 16, 32, 32], 3, 64.)
            .to_dtype(DType::F32)
            .unwrap();
        let config = Pool2dConfig {
            stride: (2, 2),
            padding: (1, 1),
            layout,
            ..Pool2dConfig::new(3)
        };
        for pool in [
            Pool::Max(config),
            Pool::Avg(config, true),
            Pool::Adaptive((5, 5), layout),
        ] {
            let run = |f: fn(Pool, &Tensor) -> Result<Tensor>, threads| {
                let threads = rayon::ThreadPoolBuilder::new()
                    .num_threads(threads)
                    .build()
                    .unwrap();
                let up = |y: &Tensor| noise(y.dims(), 5, 64.).to_dtype(DType::F32);
                threads.install(|| {
                    let f = |t: &[Tensor]| {
                        let y = f(pool, &t[0])?;
                        Ok((&y * up(&y)?)?)
                    };
                    differentiate(f, std::slice::from_ref(&arrange(&x, layout)), None).unwrap()
                })
            };
            let (y, grads) = run(Pool::fast, 1);
            for threads in [1, 3] {
                let (again, grads_again) = run(Pool::fast, threads);
                assert_eq!(bits(&y), bits(&again), "{pool:?}");
                assert_eq!(bits(&grads[0]), bits(&grads_again[0]), "{pool:?}");
            }
            let (plain, plain_grads) = run(Pool::reference, 1);
            assert_close("values", &y, &plain, 2e-6);
            assert_close("gradients", &grads[0], &plain_grads[0], 2e-6);
        }
    }
}

#[test]
fn half_types_go_through_the_reference() {
    let x = noise(&[1, 2, 4, 4], 1, 64.);
    let config = Pool2dConfig::new(2);
    let y = max_pool2d(&x.to_dtype(DType::BF16).unwrap(), &config).unwrap();
    assert_eq!(y.dtype(), DType::BF16);
    assert_close("bf16", &y, &max_pool2d(&x, &config).unwrap(), 1e-2);
}

#[test]
fn bad_settings_are_refused() {
    let x = Tensor::zeros((1, 2, 4, 4), DType::F32, &Device::Cpu).unwrap();
    let new = Pool2dConfig::new;
    let bad = [
        new(0),
        Pool2dConfig {
            stride: (0, 1),
            ..new(2)
        },
        Pool2dConfig {
            padding: (0, 2),
            ..new(2)
        },
        Pool2dConfig {
            padding: (2, 1),
            ..new(3)
        },
        new(5),
        Pool2dConfig {
            kernel: (usize::MAX, 2),
            ..new(2)
        },
        Pool2dConfig {
            ceil_mode: true,
            stride: (1, 1),
            ..new(6)
        },
    ];
    for f in [max_pool2d, reference::max_pool2d] {
        for config in bad {
            assert!(
                matches!(f(&x, &config), Err(Error::Config { .. })),
                "{config:?}"
            );
        }
        for config in [
            Pool2dConfig {
                dilation: (0, 1),
                ..new(2)
            },
            Pool2dConfig {
                dilation: (4, 1),
                ..new(2)
            },
            Pool2dConfig {
                dilation: (usize::MAX, 1),
                ..new(3)
            },
        ] {
            assert!(
                matches!(f(&x, &config), Err(Error::Config { .. })),
                "{config:?}"
            );
        }
        for shape in [&[2, 4, 4][..], &[1, 0, 4, 4], &[1, 2, 0, 4], &[1, 2, 4, 0]] {
            let x = Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
            assert!(
                matches!(f(&x, &new(1)), Err(Error::Shape { .. })),
                "{shape:?}"
            );
        }
    }
    for f in [avg_pool2d, reference::avg_pool2d] {
        for config in bad.into_iter().chain([Pool2dConfig {
            dilation: (2, 1),
            ..new(2)
        }]) {
            assert!(
                matches!(f(&x, &config, true), Err(Error::Config { .. })),
                "{config:?}"
            );
        }
    }
    for f in [adaptive_avg_pool2d, reference::adaptive_avg_pool2d] {
        assert!(matches!(
            f(&x, (0, 1), Layout::Nchw),
            Err(Error::Config { .. })
        ));
    }
    let message = max_pool2d(
        &x,
        &Pool2dConfig {
            padding: (0, 2),
            ..new(2)
        },
    )
    .unwrap_err()
    .to_string();
    assert_eq!(
        message,
        "max_pool2d: expected padding of at most half the kernel, found padding 2 for kernel 2 along the columns"
    );
}

#[test]
fn an_empty_batch_stays_empty() {
    let x = Tensor::zeros((0, 2, 4, 4), DType::F32, &Device::Cpu).unwrap();
    for y in [
        max_pool2d(&x, &Pool2dConfig::new(2)).unwrap(),
        avg_pool2d(&x, &Pool2dConfig::new(2), true).unwrap(),
        adaptive_avg_pool2d(&x, (2, 2), Layout::Nchw).unwrap(),
    ] {
        assert_eq!(y.dims(), [0, 2, 2, 2]);
    }
}
