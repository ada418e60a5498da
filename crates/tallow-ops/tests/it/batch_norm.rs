//! Batch norm against PyTorch, against the reference, against finite differences; and its errors.

use crate::torch::{
    LAYOUTS, TYPES, arrange, assert_close, bits, differentiate, fixture, noise, restore, tensor,
    view,
};
use candle_core::{DType, Device, Tensor, Var};
use proptest::prelude::*;
use serde_json::Value;
use tallow_ops::{
    BatchNormConfig, Error, Layout, Result, batch_norm_eval, batch_norm_train, gradcheck, reference,
};

type Train = fn(&Tensor, &Tensor, &Tensor, &Var, &Var, &BatchNormConfig) -> Result<Tensor>;
type Eval = fn(&Tensor, &Tensor, &Tensor, &Tensor, &Tensor, &BatchNormConfig) -> Result<Tensor>;

const PATHS: [(&str, Train, Eval); 2] = [
    ("fast", batch_norm_train, batch_norm_eval),
    (
        "reference",
        reference::batch_norm_train,
        reference::batch_norm_eval,
    ),
];

fn running(c: usize, dtype: DType) -> (Var, Var) {
    (
        Var::zeros(c, dtype, &Device::Cpu).unwrap(),
        Var::ones(c, dtype, &Device::Cpu).unwrap(),
    )
}

#[test]
fn three_steps_and_an_evaluation_equal_pytorch() {
    for case in fixture("batch_norm").as_array().unwrap() {
        for layout in LAYOUTS {
            for (dtype, tolerance) in TYPES {
                // Statistics of a few values near 3, divided by a deviation near 2.
                let tolerance = 4. * tolerance;
                for (path, train, eval) in PATHS {
                    let config = BatchNormConfig {
                        eps: case["eps"].as_f64().unwrap(),
                        momentum: case["momentum"].as_f64().unwrap(),
                        layout,
                    };
                    let what = format!("{path} {config:?} {dtype:?}");
                    let (weight, bias) =
                        (tensor(&case["weight"], dtype), tensor(&case["bias"], dtype));
                    let (mean, var) = running(weight.elem_count(), dtype);
                    let check =
                        |step: &Value, f: &dyn Fn(&Tensor, &Tensor, &Tensor) -> Result<Tensor>| {
                            let inputs =
                                [tensor(&step["input"], dtype), weight.clone(), bias.clone()];
                            let f = |t: &[Tensor]| {
                                Ok(restore(&f(&arrange(&t[0], layout), &t[1], &t[2])?, layout))
                            };
                            let (y, grads) =
                                differentiate(f, &inputs, Some(&tensor(&step["up"], dtype)))
                                    .unwrap();
                            assert_close(&what, &y, &tensor(&step["output"], dtype), tolerance);
                            for (grad, expected) in
                                grads.iter().zip(step["grads"].as_array().unwrap())
                            {
                                assert_close(&what, grad, &tensor(expected, dtype), tolerance);
                            }
                        };
                    for step in case["steps"].as_array().unwrap() {
                        check(step, &|x, w, b| train(x, w, b, &mean, &var, &config));
                        assert_close(&what, &mean, &tensor(&step["mean"], dtype), tolerance);
                        assert_close(&what, &var, &tensor(&step["var"], dtype), tolerance);
                    }
                    check(&case["eval"], &|x, w, b| {
                        eval(x, w, b, &mean, &var, &config)
                    });
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn fast_equals_reference(
        (n, c, h, w) in (1..=6usize, prop_oneof![1..=5usize, 30..=40usize], 1..=9usize, 1..=9usize),
        last: bool, seed: u64, kind in 0..4usize, offset in prop_oneof![Just(0.), Just(20.)],
    ) {
        prop_assume!(n * h * w > 1);
        let layout = if last { Layout::Nhwc } else { Layout::Nchw };
        let shape = if last { [n, h, w, c] } else { [n, c, h, w] };
        let config = BatchNormConfig { layout, eps: 1e-2, ..Default::default() };
        let x = (noise(&shape, seed, 64.) + offset).unwrap();
        let (weight, bias) = (noise(&[c], seed ^ 1, 64.), noise(&[c], seed ^ 2, 64.));
        let up = noise(&shape, seed ^ 3, 64.);

        // The truth in f64; then both types of the fast path, on awkward views.
        let (truth_mean, truth_var) = running(c, DType::F64);
        let inputs = [x, weight, bias];
        let truth = |t: &[Tensor]| reference::batch_norm_train(&t[0], &t[1], &t[2], &truth_mean, &truth_var, &config);
        let (y, grads) = differentiate(truth, &inputs, Some(&up)).unwrap();
        // Gradients are divided by the deviation, which can be as small as the root of eps, 0.1.
        for (dtype, tolerance) in [(DType::F32, 2e-4), (DType::F64, 1e-11)] {
            let inputs = inputs.each_ref().map(|t| t.to_dtype(dtype).unwrap());
            let up = up.to_dtype(dtype).unwrap();
            let (mean, var) = running(c, dtype);
            let f = |t: &[Tensor]| batch_norm_train(&view(&t[0], kind)?, &t[1], &t[2], &mean, &var, &config);
            let (fast, fast_grads) = differentiate(f, &inputs, Some(&up)).unwrap();
            let what = format!("train {shape:?} {layout:?} {dtype:?}");
            assert_close(&what, &fast, &y, tolerance);
            assert_close(&what, &mean, &truth_mean, tolerance);
            assert_close(&what, &var, &truth_var, tolerance);
            for (fast, plain) in fast_grads.iter().zip(&grads) {
                assert_close(&what, fast, plain, tolerance);
            }
        }

        let truth = |t: &[Tensor]| reference::batch_norm_eval(&t[0], &t[1], &t[2], &truth_mean, &truth_var, &config);
        let (y, grads) = differentiate(truth, &inputs, Some(&up)).unwrap();
        for (dtype, tolerance) in [(DType::F32, 2e-5), (DType::F64, 1e-11)] {
            let inputs = inputs.each_ref().map(|t| t.to_dtype(dtype).unwrap());
            let up = up.to_dtype(dtype).unwrap();
            let f = |t: &[Tensor]| batch_norm_eval(&view(&t[0], kind)?, &t[1], &t[2], &truth_mean, &truth_var, &config);
            let (fast, fast_grads) = differentiate(f, &inputs, Some(&up)).unwrap();
            let what = format!("eval {shape:?} {layout:?} {dtype:?}");
            assert_close(&what, &fast, &y, tolerance);
            for (fast, plain) in fast_grads.iter().zip(&grads) {
                assert_close(&what, fast, plain, tolerance);
            }
        }
    }
}

#[test]
fn gradients_equal_finite_differences() {
    let c = 3;
    let inputs = [
        noise(&[3, c, 2, 2], 11, 64.),
        noise(&[c], 12, 64.),
        noise(&[c], 13, 64.),
    ];
    for layout in LAYOUTS {
        let config = BatchNormConfig {
            layout,
            ..Default::default()
        };
        for (path, train, eval) in PATHS {
            let (mean, var) = running(c, DType::F64);
            let f = |t: &[Tensor]| {
                train(
                    &view(&arrange(&t[0], layout), 1)?,
                    &t[1],
                    &t[2],
                    &mean,
                    &var,
                    &config,
                )
            };
            let error = gradcheck::max_relative_error(f, &inputs).unwrap();
            assert!(error < 1e-7, "{path} train: {error}");
            let f =
                |t: &[Tensor]| eval(&arrange(&t[0], layout), &t[1], &t[2], &mean, &var, &config);
            let error = gradcheck::max_relative_error(f, &inputs).unwrap();
            assert!(error < 1e-7, "{path} eval: {error}");
        }
    }
}

/// Sums of squares in `f32` would lose a variance of 1 beside a mean of 10,000 altogether.
#[test]
fn a_large_mean_does_not_drown_the_variance() {
    for layout in LAYOUTS {
        let shape = if layout == Layout::Nchw {
            [32, 2, 16, 16]
        } else {
            [32, 16, 16, 2]
        };
        let x = (noise(&shape, 4, 64.) + 10_000.)
            .unwrap()
            .to_dtype(DType::F32)
            .unwrap();
        let config = BatchNormConfig {
            momentum: 1.,
            layout,
            ..Default::default()
        };
        let ones = Tensor::ones(2, DType::F32, &Device::Cpu).unwrap();
        let (mean, var) = running(2, DType::F32);
        batch_norm_train(&x, &ones, &ones, &mean, &var, &config).unwrap();
        let (mean64, var64) = running(2, DType::F64);
        let (x, ones) = (
            x.to_dtype(DType::F64).unwrap(),
            ones.to_dtype(DType::F64).unwrap(),
        );
        reference::batch_norm_train(&x, &ones, &ones, &mean64, &var64, &config).unwrap();
        assert_close("mean", &mean, &mean64, 1e-7);
        assert_close("variance", &var, &var64, 1e-7);
    }
}

#[test]
fn a_constant_channel_has_variance_zero() {
    let x = Tensor::full(0.1f32, (3, 2, 5, 5), &Device::Cpu).unwrap();
    let ones = Tensor::ones(2, DType::F32, &Device::Cpu).unwrap();
    let (mean, var) = running(2, DType::F32);
    let config = BatchNormConfig {
        momentum: 1.,
        ..Default::default()
    };
    let y = batch_norm_train(&x, &ones, &ones, &mean, &var, &config).unwrap();
    assert_eq!(crate::torch::values(&y), [1.; 150]);
    assert_eq!(mean.to_vec1::<f32>().unwrap(), [0.1; 2]);
    assert_eq!(var.to_vec1::<f32>().unwrap(), [0.; 2]);
}

#[test]
fn large_work_gives_the_same_bits_on_any_number_of_threads() {
    for layout in LAYOUTS {
        let x = arrange(
            &noise(&[16, 24, 20, 20], 7, 64.)
                .to_dtype(DType::F32)
                .unwrap(),
            layout,
        );
        let up = noise(x.dims(), 8, 64.).to_dtype(DType::F32).unwrap();
        let (weight, bias) = (noise(&[24], 9, 64.), noise(&[24], 10, 64.));
        let inputs = [x, weight, bias].map(|t| t.to_dtype(DType::F32).unwrap());
        let config = BatchNormConfig {
            layout,
            ..Default::default()
        };
        let run = |train: Train, threads| {
            let threads = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            let (mean, var) = running(24, DType::F32);
            let f = |t: &[Tensor]| train(&t[0], &t[1], &t[2], &mean, &var, &config);
            let (y, mut results) =
                threads.install(|| differentiate(f, &inputs, Some(&up)).unwrap());
            results.extend([y, mean.as_detached_tensor(), var.as_detached_tensor()]);
            results
        };
        let first = run(batch_norm_train, 1);
        for threads in [1, 3] {
            for (a, b) in first.iter().zip(run(batch_norm_train, threads)) {
                assert_eq!(bits(a), bits(&b), "{layout:?}");
            }
        }
        for (i, (a, b)) in first
            .iter()
            .zip(run(reference::batch_norm_train, 1))
            .enumerate()
        {
            // The reference sums 6,400 products in f32 for the gradients of weight and bias.
            assert_close(&format!("{layout:?} result {i}"), a, &b, 2e-4);
        }
    }
}

#[test]
fn half_types_go_through_the_reference() {
    let x = noise(&[2, 2, 3, 3], 1, 64.);
    let ones = Tensor::ones(2, DType::F64, &Device::Cpu).unwrap();
    let config = BatchNormConfig::default();
    let (mean, var) = running(2, DType::F32);
    let half = |t: &Tensor| t.to_dtype(DType::BF16).unwrap();
    let y = batch_norm_train(&half(&x), &half(&ones), &half(&ones), &mean, &var, &config).unwrap();
    assert_eq!(y.dtype(), DType::BF16);
    let (mean64, var64) = running(2, DType::F64);
    let expected = batch_norm_train(&x, &ones, &ones, &mean64, &var64, &config).unwrap();
    assert_close("bf16", &y, &expected, 2e-2);
    assert_close("running_var", &var, &var64, 2e-3);
}

#[test]
fn bad_arguments_are_refused_and_leave_the_statistics_alone() {
    let zeros = |shape: &[usize], dtype| Tensor::zeros(shape, dtype, &Device::Cpu).unwrap();
    let f32 = |shape: &[usize]| zeros(shape, DType::F32);
    for (path, train, eval) in PATHS {
        let (mean, var) = running(2, DType::F32);
        let default = BatchNormConfig::default();
        let refuse = |x: &Tensor, w: &Tensor, b: &Tensor, config: &BatchNormConfig| {
            train(x, w, b, &mean, &var, config).expect_err(path)
        };
        let (x, c) = (f32(&[2, 2, 3, 3]), f32(&[2]));
        assert!(matches!(
            refuse(&f32(&[2, 3]), &c, &c, &default),
            Error::Shape {
                argument: "input",
                ..
            }
        ));
        assert!(matches!(
            refuse(&f32(&[2, 3, 2, 2]), &c, &c, &default),
            Error::Shape {
                argument: "weight",
                ..
            }
        ));
        assert!(matches!(
            refuse(&x, &c, &f32(&[2, 1]), &default),
            Error::Shape {
                argument: "bias",
                ..
            }
        ));
        assert!(matches!(
            refuse(&x, &zeros(&[2], DType::F64), &c, &default),
            Error::Config { .. }
        ));
        for config in [
            BatchNormConfig {
                eps: -1.,
                ..default
            },
            BatchNormConfig {
                eps: f64::NAN,
                ..default
            },
            BatchNormConfig {
                momentum: 1.5,
                ..default
            },
        ] {
            assert!(
                matches!(refuse(&x, &c, &c, &config), Error::Config { .. }),
                "{config:?}"
            );
        }
        let one = f32(&[1, 2, 1, 1]);
        let message = refuse(&one, &c, &c, &default).to_string();
        assert!(
            message.contains("more than 1 value per channel in training"),
            "{message}"
        );
        assert!(eval(&one, &c, &c, &mean, &var, &default).is_ok());

        let short = Var::zeros(1, DType::F32, &Device::Cpu).unwrap();
        let error = train(&x, &c, &c, &mean, &short, &default).unwrap_err();
        assert!(matches!(
            error,
            Error::Shape {
                argument: "running_var",
                ..
            }
        ));
        assert_eq!(mean.to_vec1::<f32>().unwrap(), [0.; 2]);
        assert_eq!(var.to_vec1::<f32>().unwrap(), [1.; 2]);
    }
}
