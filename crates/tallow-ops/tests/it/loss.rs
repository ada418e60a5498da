//! Cross entropy, ReLU and the change of layout against PyTorch, the reference and finite differences.

use crate::torch::{
    LAYOUTS, TYPES, arrange, assert_close, bits, differentiate, fixture, noise, tensor, view,
};
use candle_core::{DType, Device, Tensor};
use proptest::prelude::*;
use tallow_ops::{
    CrossEntropyConfig, Error, Layout, Result, cross_entropy, cross_entropy_soft, flatten,
    gradcheck, reference, relu, to_layout,
};

type Hard = fn(&Tensor, &Tensor, &CrossEntropyConfig) -> Result<Tensor>;
type Soft = fn(&Tensor, &Tensor) -> Result<Tensor>;

const HARD: [Hard; 2] = [cross_entropy, reference::cross_entropy];
const SOFT: [Soft; 2] = [cross_entropy_soft, reference::cross_entropy_soft];

fn labels(values: Vec<u32>) -> Tensor {
    let count = values.len();
    Tensor::from_vec(values, count, &Device::Cpu).unwrap()
}

#[test]
fn cross_entropies_equal_pytorch() {
    let losses = fixture("losses");
    for case in losses["hard"].as_array().unwrap() {
        let targets = labels(
            crate::torch::sizes(&case["labels"])
                .into_iter()
                .map(|l| l as u32)
                .collect(),
        );
        let config = CrossEntropyConfig {
            label_smoothing: case["smoothing"].as_f64().unwrap(),
        };
        for (dtype, tolerance) in TYPES {
            let [z, y, up] = ["input", "output", "up"].map(|name| tensor(&case[name], dtype));
            for f in HARD {
                let f = |t: &[Tensor]| f(&t[0], &targets, &config);
                let (got, grads) = differentiate(f, std::slice::from_ref(&z), Some(&up)).unwrap();
                assert_close("loss", &got, &y, tolerance);
                assert_close(
                    "gradient",
                    &grads[0],
                    &tensor(&case["grads"][0], dtype),
                    tolerance,
                );
            }
        }
    }
    for case in losses["soft"].as_array().unwrap() {
        for (dtype, tolerance) in TYPES {
            let [z, q, y, up] =
                ["input", "probabilities", "output", "up"].map(|name| tensor(&case[name], dtype));
            for f in SOFT {
                let inputs = [z.clone(), q.clone()];
                let (got, grads) = differentiate(|t| f(&t[0], &t[1]), &inputs, Some(&up)).unwrap();
                assert_close("loss", &got, &y, tolerance);
                for (i, grad) in grads.iter().enumerate() {
                    assert_close(
                        "gradient",
                        grad,
                        &tensor(&case["grads"][i], dtype),
                        tolerance,
                    );
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn fast_cross_entropy_equals_reference(
        n in 1..=20usize, k in 1..=30usize, seed: u64, kind in 0..4usize, smoothing in prop_oneof![Just(0.), 0. ..=1.],
        scale in prop_oneof![Just(1.), Just(50.)],
    ) {
        let z = (noise(&[n, k], seed, 64.) * scale).unwrap();
        let q = noise(&[n, k], seed ^ 1, 64.).abs().unwrap();
        let targets = labels((0..n as u64).map(|i| ((seed >> (i % 60)) % k as u64) as u32).collect());
        let config = CrossEntropyConfig { label_smoothing: smoothing };
        let truth = |t: &[Tensor]| reference::cross_entropy(&t[0], &targets, &config);
        let (loss, grads) = differentiate(truth, std::slice::from_ref(&z), None).unwrap();
        let inputs = [z, q];
        let truth = |t: &[Tensor]| reference::cross_entropy_soft(&t[0], &t[1]);
        let (soft, soft_grads) = differentiate(truth, &inputs, None).unwrap();
        for (dtype, tolerance) in [(DType::F32, 1e-5), (DType::F64, 1e-12)] {
            let inputs = inputs.each_ref().map(|t| t.to_dtype(dtype).unwrap());
            let f = |t: &[Tensor]| cross_entropy(&view(&t[0], kind)?, &view(&targets, kind)?, &config);
            let (got, got_grads) = differentiate(f, &inputs[..1], None).unwrap();
            assert_close("loss", &got, &loss, tolerance);
            assert_close("gradient", &got_grads[0], &grads[0], tolerance);
            let f = |t: &[Tensor]| cross_entropy_soft(&view(&t[0], kind)?, &view(&t[1], kind)?);
            let (got, got_grads) = differentiate(f, &inputs, None).unwrap();
            assert_close("soft loss", &got, &soft, tolerance);
            assert_close("soft gradient", &got_grads[0], &soft_grads[0], tolerance);
            assert_close("soft gradient of the targets", &got_grads[1], &soft_grads[1], tolerance);
        }
    }

    #[test]
    fn fast_relu_and_layouts_equal_reference(
        shape in prop::array::uniform4(1..=20usize), seed: u64, kind in 0..4usize, last: bool, to_last: bool,
    ) {
        let layout = |last| if last { Layout::Nhwc } else { Layout::Nchw };
        let (from, to) = (layout(last), layout(to_last));
        let x = noise(&shape, seed, 2.);
        for (dtype, _) in TYPES {
            let x = x.to_dtype(dtype).unwrap();
            type Operator<'a> = &'a dyn Fn(&Tensor) -> Result<Tensor>;
            let pairs: [[Operator; 2]; 3] = [
                [&relu, &reference::relu],
                [&|x| to_layout(x, from, to), &|x| reference::to_layout(x, from, to)],
                [&|x| flatten(x, from), &|x| reference::flatten(x, from)],
            ];
            for [fast, plain] in pairs {
                let up = noise(plain(&x).unwrap().dims(), seed ^ 1, 64.).to_dtype(dtype).unwrap();
                let f = |t: &[Tensor]| fast(&view(&t[0], kind)?);
                let (y, grads) = differentiate(f, std::slice::from_ref(&x), Some(&up)).unwrap();
                let (expected, expected_grads) =
                    differentiate(|t| plain(&t[0]), std::slice::from_ref(&x), Some(&up)).unwrap();
                prop_assert!(y.is_contiguous());
                assert_close("values", &y, &expected, 0.);
                assert_close("gradients", &grads[0], &expected_grads[0], 0.);
            }
        }
    }
}

#[test]
fn relu_equals_pytorch() {
    let case = fixture("relu");
    for (dtype, _) in TYPES {
        let [x, up, y] = ["input", "up", "output"].map(|name| tensor(&case[name], dtype));
        for f in [relu, reference::relu] {
            let (got, grads) =
                differentiate(|t| f(&t[0]), std::slice::from_ref(&x), Some(&up)).unwrap();
            assert_close("values", &got, &y, 0.);
            assert_close(
                "gradients",
                &grads[0],
                &tensor(&case["grads"][0], dtype),
                0.,
            );
        }
    }
}

/// candle's own passes the gradient on at 0, where PyTorch's stops it.
#[test]
fn the_gradient_of_relu_at_zero_is_zero() {
    let x = Tensor::new(&[-1f32, 0., 2.], &Device::Cpu).unwrap();
    let (_, grads) = differentiate(|t| relu(&t[0]), std::slice::from_ref(&x), None).unwrap();
    assert_eq!(crate::torch::values(&grads[0]), [0., 0., 1.]);
}

#[test]
fn gradients_equal_finite_differences() {
    let (z, q) = (
        noise(&[4, 5], 1, 64.),
        noise(&[4, 5], 2, 64.).abs().unwrap(),
    );
    let targets = labels(vec![0, 4, 2, 2]);
    let config = CrossEntropyConfig {
        label_smoothing: 0.2,
    };
    let hard = |t: &[Tensor]| cross_entropy(&t[0], &targets, &config);
    let error = gradcheck::max_relative_error(hard, std::slice::from_ref(&z)).unwrap();
    assert!(error < 1e-8, "{error}");
    let soft = |t: &[Tensor]| cross_entropy_soft(&t[0], &t[1]);
    let error = gradcheck::max_relative_error(soft, &[z, q]).unwrap();
    assert!(error < 1e-8, "{error}");
    // Away from the kink.
    let x = (noise(&[3, 2, 4, 2], 3, 1.) + 0.3).unwrap();
    let f = |t: &[Tensor]| flatten(&relu(&t[0])?, Layout::Nhwc);
    let error = gradcheck::max_relative_error(f, std::slice::from_ref(&x)).unwrap();
    assert!(error < 1e-8, "{error}");
}

#[test]
fn huge_and_infinite_logits_do_not_spoil_the_loss() {
    for f in HARD {
        let z = Tensor::new(
            &[[1e30f32, -1e30, 0.], [f32::NEG_INFINITY, 3., 3.]],
            &Device::Cpu,
        )
        .unwrap();
        let targets = labels(vec![0, 1]);
        let f = |t: &[Tensor]| f(&t[0], &targets, &CrossEntropyConfig::default());
        let (loss, grads) = differentiate(f, std::slice::from_ref(&z), None).unwrap();
        assert!((crate::torch::values(&loss)[0] - std::f64::consts::LN_2 / 2.).abs() < 1e-7);
        assert_eq!(
            crate::torch::values(&grads[0]),
            [0., 0., 0., 0., -0.25, 0.25]
        );
    }
}

#[test]
fn flatten_has_pytorchs_order_in_both_layouts() {
    let x = Tensor::arange(0f32, 24., &Device::Cpu)
        .unwrap()
        .reshape((1, 2, 3, 4))
        .unwrap();
    for layout in LAYOUTS {
        let y = flatten(&arrange(&x, layout), layout).unwrap();
        assert_eq!(y.dims(), [1, 24]);
        assert_eq!(
            crate::torch::values(&y),
            (0..24).map(f64::from).collect::<Vec<_>>()
        );
    }
}

#[test]
fn the_same_call_gives_the_same_bits_on_any_number_of_threads() {
    let (z, q) = (noise(&[300, 500], 1, 64.), noise(&[300, 500], 2, 64.));
    let inputs = [z, q].map(|t| t.to_dtype(DType::F32).unwrap());
    let targets = labels((0..300).collect());
    let config = CrossEntropyConfig {
        label_smoothing: 0.1,
    };
    let run = |threads| {
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        threads.install(|| {
            let f = |t: &[Tensor]| {
                let x = relu(&to_layout(
                    &t[0].reshape((3, 100, 50, 10))?,
                    Layout::Nhwc,
                    Layout::Nchw,
                )?)?;
                let z = flatten(&x, Layout::Nchw)?.reshape((300, 500))?;
                Ok((cross_entropy(&z, &targets, &config)? + cross_entropy_soft(&z, &t[1])?)?)
            };
            let (y, grads) = differentiate(f, &inputs, None).unwrap();
            [bits(&y), bits(&grads[0]), bits(&grads[1])]
        })
    };
    let first = run(1);
    assert!(first == run(1) && first == run(3));
}

#[test]
fn half_types_go_through_the_reference() {
    let z = noise(&[4, 5], 1, 64.);
    let targets = labels(vec![0, 4, 2, 2]);
    let config = CrossEntropyConfig::default();
    let loss = cross_entropy(&z.to_dtype(DType::BF16).unwrap(), &targets, &config).unwrap();
    assert_eq!(loss.dtype(), DType::BF16);
    assert_close(
        "bf16",
        &loss,
        &cross_entropy(&z, &targets, &config).unwrap(),
        1e-2,
    );
}

#[test]
fn bad_arguments_are_refused() {
    let zeros = |shape: &[usize], dtype| Tensor::zeros(shape, dtype, &Device::Cpu).unwrap();
    let z = zeros(&[2, 3], DType::F32);
    let default = CrossEntropyConfig::default();
    for f in HARD {
        let message = f(&z, &labels(vec![0, 3]), &default)
            .unwrap_err()
            .to_string();
        assert_eq!(
            message,
            "cross_entropy: label 3 of row 1 is not below the number of classes, 3"
        );
        let shape = |z: &Tensor, l: &Tensor| matches!(f(z, l, &default), Err(Error::Shape { .. }));
        assert!(shape(&z, &labels(vec![0, 1, 2])));
        assert!(shape(&zeros(&[3], DType::F32), &labels(vec![0, 1, 2])));
        assert!(shape(&zeros(&[0, 3], DType::F32), &labels(vec![])));
        assert!(shape(&zeros(&[2, 0], DType::F32), &labels(vec![0, 0])));
        assert!(matches!(
            f(&z, &zeros(&[2], DType::I64), &default),
            Err(Error::Config { .. })
        ));
        for label_smoothing in [-0.1, 1.1, f64::NAN] {
            let config = CrossEntropyConfig { label_smoothing };
            assert!(matches!(
                f(&z, &labels(vec![0, 1]), &config),
                Err(Error::Config { .. })
            ));
        }
    }
    for f in SOFT {
        assert!(matches!(
            f(&z, &zeros(&[2, 2], DType::F32)),
            Err(Error::Shape {
                argument: "probabilities",
                ..
            })
        ));
        assert!(matches!(
            f(&z, &zeros(&[2, 3], DType::F64)),
            Err(Error::Config { .. })
        ));
    }
    for f in [to_layout, reference::to_layout] {
        assert!(matches!(
            f(&z, Layout::Nchw, Layout::Nhwc),
            Err(Error::Shape { .. })
        ));
    }
    assert!(matches!(
        to_layout(&z, Layout::Nhwc, Layout::Nhwc),
        Err(Error::Shape { .. })
    ));
}
