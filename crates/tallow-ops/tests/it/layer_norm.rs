//! Layer norm against PyTorch, the reference and finite differences.

use candle_core::{DType, Device, Tensor};
use proptest::prelude::*;
use tallow_ops::{Error, Layout, Result, gradcheck, layer_norm, layer_norm_2d, reference};

use crate::torch::{
    LAYOUTS, TYPES, activation_norm, arrange, assert_close, bits, differentiate, noise, restore,
    tensor, view,
};

type Norm = fn(&Tensor, Option<&Tensor>, Option<&Tensor>, f64) -> Result<Tensor>;
type Norm2d = fn(&Tensor, Option<&Tensor>, Option<&Tensor>, f64, Layout) -> Result<Tensor>;

const NORMS: [Norm; 2] = [layer_norm, reference::layer_norm];
const NORMS_2D: [Norm2d; 2] = [layer_norm_2d, reference::layer_norm_2d];

#[test]
fn values_and_gradients_equal_pytorch() {
    let cases = activation_norm("layer_norm");
    let cases = cases.as_array().unwrap();
    assert_eq!(cases.len(), 12);
    for case in cases {
        let eps = case["eps"].as_f64().unwrap();
        check(case, |f, t| NORMS[f](&t[0], t.get(1), t.get(2), eps));
    }
}

#[test]
fn values_and_gradients_over_channels_equal_pytorch() {
    let cases = activation_norm("layer_norm_2d");
    let cases = cases.as_array().unwrap();
    assert_eq!(cases.len(), 2);
    for case in cases {
        let eps = case["eps"].as_f64().unwrap();
        for layout in LAYOUTS {
            check(case, |f, t| {
                let x = arrange(&t[0], layout);
                let y = NORMS_2D[f](&x, Some(&t[1]), Some(&t[2]), eps, layout)?;
                Ok(restore(&y, layout))
            });
        }
    }
}

/// Compares the operator (0) and the reference (1) with a case of the fixture.
fn check(case: &serde_json::Value, f: impl Fn(usize, &[Tensor]) -> Result<Tensor>) {
    for (dtype, tolerance) in TYPES {
        let list = |key: &str| -> Vec<Tensor> {
            let list = case[key].as_array().unwrap();
            list.iter().map(|v| tensor(v, dtype)).collect()
        };
        let [up, y] = ["up", "output"].map(|key| tensor(&case[key], dtype));
        for which in 0..2 {
            let (got, grads) = differentiate(|t| f(which, t), &list("inputs"), Some(&up)).unwrap();
            assert_close("output", &got, &y, tolerance);
            for (grad, expected) in grads.iter().zip(list("grads")) {
                assert_close("gradient", grad, &expected, 4. * tolerance);
            }
        }
    }
}

proptest! {
    #[test]
    fn fast_paths_equal_the_reference(
        (n, c, h, w) in (1..=5usize, 1..=70usize, 1..=9usize, 1..=9usize), seed: u64, kind in 0..4usize, nhwc: bool, parameters in 0..3usize,
    ) {
        let layout = if nhwc { Layout::Nhwc } else { Layout::Nchw };
        let eps = 1e-2;
        let shape = if nhwc { [n, h, w, c] } else { [n, c, h, w] };
        let mut inputs = vec![noise(&shape, seed, 64.), noise(&[c], seed ^ 1, 64.), noise(&[c], seed ^ 2, 64.)];
        inputs.truncate(1 + parameters);
        let up = noise(&shape, seed ^ 3, 64.);
        let f = |t: &[Tensor]| reference::layer_norm_2d(&t[0], t.get(1), t.get(2), eps, layout);
        let truth = differentiate(f, &inputs, Some(&up)).unwrap();
        for (dtype, tolerance) in [(DType::F32, 2e-5), (DType::F64, 1e-12)] {
            let inputs: Vec<Tensor> = inputs.iter().map(|t| t.to_dtype(dtype).unwrap()).collect();
            let up = up.to_dtype(dtype).unwrap();
            let f = |t: &[Tensor]| layer_norm_2d(&view(&t[0], kind)?, t.get(1), t.get(2), eps, layout);
            let (y, grads) = differentiate(f, &inputs, Some(&up)).unwrap();
            prop_assert!(y.is_contiguous());
            assert_close("output", &y, &truth.0, tolerance);
            for (grad, expected) in grads.iter().zip(&truth.1) {
                assert_close("gradient", grad, expected, tolerance);
            }
        }
    }
}

#[test]
fn gradients_equal_finite_differences() {
    let x = noise(&[2, 5, 2, 3], 1, 64.);
    for layout in LAYOUTS {
        let c = if layout == Layout::Nchw { 5 } else { 3 };
        let inputs = [x.clone(), noise(&[c], 2, 64.), noise(&[c], 3, 64.)];
        for f in NORMS_2D {
            let f = |t: &[Tensor]| f(&t[0], t.get(1), t.get(2), 0.1, layout);
            for count in 1..=3 {
                let error = gradcheck::max_relative_error(f, &inputs[..count]).unwrap();
                assert!(error < 1e-8, "{error:e}");
            }
        }
    }
}

/// The mean is taken out before squares are summed: a large mean costs no digits of the variance. What remains is the rounding of the
/// mean: half a unit, 2^-12 at 4096, over the deviation, which is above 1.
#[test]
fn a_large_mean_does_not_spoil_the_variance() {
    let x = (noise(&[4, 48], 1, 64.) + 4096.).unwrap();
    let truth = layer_norm(&x, None, None, 1e-5).unwrap();
    let y = layer_norm(&x.to_dtype(DType::F32).unwrap(), None, None, 1e-5).unwrap();
    assert_close("output", &y, &truth, 1. / 4096. + 1e-6);
}

#[test]
fn the_same_call_gives_the_same_bits_on_any_number_of_threads() {
    let x = noise(&[40, 24, 15, 10], 1, 64.)
        .to_dtype(DType::F32)
        .unwrap();
    for layout in LAYOUTS {
        let c = if layout == Layout::Nchw { 24 } else { 10 };
        let p = [1, 2].map(|seed| noise(&[c], seed, 64.).to_dtype(DType::F32).unwrap());
        let inputs = [x.clone(), p[0].clone(), p[1].clone()];
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| {
                let f = |t: &[Tensor]| layer_norm_2d(&t[0], t.get(1), t.get(2), 1e-6, layout);
                let (y, grads) = differentiate(f, &inputs, None).unwrap();
                [bits(&y), bits(&grads[0]), bits(&grads[1]), bits(&grads[2])]
            })
        };
        assert!(run(1) == run(3), "{layout}");
    }
}

#[test]
fn half_types_go_through_the_reference() {
    let x = noise(&[3, 8], 1, 64.);
    let y = layer_norm(&x.to_dtype(DType::BF16).unwrap(), None, None, 1e-5).unwrap();
    assert_eq!(y.dtype(), DType::BF16);
    assert_close("bf16", &y, &layer_norm(&x, None, None, 1e-5).unwrap(), 1e-2);
}

#[test]
fn bad_arguments_are_typed_errors() {
    let t = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    for f in NORMS {
        let shape = |x: &[usize], w: &[usize], b: &[usize]| match f(
            &t(x),
            Some(&t(w)),
            Some(&t(b)),
            1e-5,
        ) {
            Err(Error::Shape {
                op: "layer_norm",
                argument,
                ..
            }) => argument,
            other => panic!("{x:?} {w:?} {b:?} gave {other:?}"),
        };
        assert_eq!(shape(&[], &[1], &[1]), "input");
        assert_eq!(shape(&[2, 0], &[0], &[0]), "input");
        assert_eq!(shape(&[2, 3], &[2], &[3]), "weight");
        assert_eq!(shape(&[2, 3], &[3], &[1, 3]), "bias");
        for eps in [-1e-5, f64::NAN, f64::INFINITY] {
            assert!(matches!(
                f(&t(&[2, 3]), None, None, eps),
                Err(Error::Config { .. })
            ));
        }
        let wide = t(&[3]).to_dtype(DType::F64).unwrap();
        assert!(f(&t(&[2, 3]), Some(&wide), None, 1e-5).is_err());
    }
    for f in NORMS_2D {
        let result = f(&t(&[2, 3]), None, None, 1e-5, Layout::Nchw);
        assert!(matches!(
            result,
            Err(Error::Shape {
                argument: "input",
                ..
            })
        ));
    }
}

#[test]
fn an_empty_batch_is_allowed() {
    let x = Tensor::zeros((0, 4), DType::F32, &Device::Cpu).unwrap();
    let w = Tensor::ones(4, DType::F32, &Device::Cpu).unwrap();
    let (y, grads) = differentiate(
        |t| layer_norm(&t[0], Some(&t[1]), None, 1e-5),
        &[x, w],
        None,
    )
    .unwrap();
    assert_eq!(y.dims(), [0, 4]);
    assert_eq!(crate::torch::values(&grads[1]), [0.; 4]);
}
