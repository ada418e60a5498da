//! Activation functions against PyTorch, the reference and finite differences.

use candle_core::{DType, Device, Tensor};
use proptest::prelude::*;
use tallow_ops::{
    Result, gelu, gelu_tanh, gradcheck, hard_sigmoid, hard_swish, reference, sigmoid, silu,
};

use crate::torch::{activation_norm, assert_close, bits, differentiate, noise, tensor, view};

type Function = fn(&Tensor) -> Result<Tensor>;

/// Name, operator, reference.
const FUNCTIONS: [(&str, Function, Function); 6] = [
    ("sigmoid", sigmoid, reference::sigmoid),
    ("silu", silu, reference::silu),
    ("hard_sigmoid", hard_sigmoid, reference::hard_sigmoid),
    ("hard_swish", hard_swish, reference::hard_swish),
    ("gelu", gelu, reference::gelu),
    ("gelu_tanh", gelu_tanh, reference::gelu_tanh),
];

#[test]
fn values_and_gradients_equal_pytorch() {
    let cases = activation_norm("activations");
    let cases = cases.as_array().unwrap();
    assert_eq!(cases.len(), FUNCTIONS.len());
    for (case, (name, fast, plain)) in cases.iter().zip(FUNCTIONS) {
        assert_eq!(case["name"], name);
        for (dtype, tolerance) in crate::torch::TYPES {
            let [x, up, y] = ["input", "up", "output"].map(|key| tensor(&case[key], dtype));
            // In f64 too, PyTorch's gradient of the hard sigmoid has the f32 next to 1/6 in it.
            let grad_tolerance = match name {
                "hard_sigmoid" => tolerance.max(1e-7),
                _ => tolerance,
            };
            for f in [fast, plain] {
                let (y_got, grads) =
                    differentiate(|t| f(&t[0]), std::slice::from_ref(&x), Some(&up)).unwrap();
                assert_close(name, &y_got, &y, tolerance);
                let expected = tensor(&case["grads"][0], dtype);
                // At NaN the gradient means nothing.
                let number = x.eq(&x).unwrap();
                let [got, expected] = [&grads[0], &expected]
                    .map(|t| number.where_cond(t, &t.zeros_like().unwrap()).unwrap());
                assert_close(
                    &format!("gradient of {name}"),
                    &got,
                    &expected,
                    grad_tolerance,
                );
            }
        }
    }
}

proptest! {
    #[test]
    fn fast_paths_equal_the_reference(
        shape in prop::array::uniform3(1..=30usize), seed: u64, kind in 0..4usize, scale in prop_oneof![Just(1.), Just(5.), Just(60.)],
    ) {
        let x = (noise(&shape, seed, 64.) * scale).unwrap();
        let up = noise(&shape, seed ^ 1, 64.);
        for (name, fast, plain) in FUNCTIONS {
            let truth = differentiate(|t| plain(&t[0]), std::slice::from_ref(&x), Some(&up)).unwrap();
            for (dtype, tolerance) in [(DType::F32, 2e-6), (DType::F64, 1e-13)] {
                let [x, up] = [&x, &up].map(|t| t.to_dtype(dtype).unwrap());
                let f = |t: &[Tensor]| fast(&view(&t[0], kind)?);
                let (y, grads) = differentiate(f, std::slice::from_ref(&x), Some(&up)).unwrap();
                prop_assert!(y.is_contiguous());
                assert_close(name, &y, &truth.0, tolerance);
                assert_close(&format!("gradient of {name}"), &grads[0], &truth.1[0], tolerance);
            }
        }
    }
}

#[test]
fn gradients_equal_finite_differences() {
    // Away from the kinks at -3 and 3.
    let x = (noise(&[3, 4, 5], 3, 32.) * 2.5).unwrap();
    let x = (x + 0.003).unwrap();
    for (name, fast, plain) in FUNCTIONS {
        for f in [fast, plain] {
            let error =
                gradcheck::max_relative_error(|t| f(&t[0]), std::slice::from_ref(&x)).unwrap();
            assert!(error < 1e-8, "{name}: {error:e}");
        }
    }
}

#[test]
fn half_types_go_through_the_reference() {
    let x = noise(&[50], 1, 64.);
    for (name, fast, _) in FUNCTIONS {
        for (dtype, tolerance) in [(DType::F16, 2e-3), (DType::BF16, 2e-2)] {
            let y = fast(&x.to_dtype(dtype).unwrap()).unwrap();
            assert_eq!(y.dtype(), dtype);
            assert_close(name, &y, &fast(&x).unwrap(), tolerance);
        }
    }
}

#[test]
fn empty_tensors_and_scalars_are_mapped() {
    for (name, fast, _) in FUNCTIONS {
        for dtype in [DType::F32, DType::F64] {
            let empty = Tensor::zeros((0, 3), dtype, &Device::Cpu).unwrap();
            assert_eq!(fast(&empty).unwrap().dims(), [0, 3], "{name}");
            let scalar = Tensor::zeros((), dtype, &Device::Cpu).unwrap();
            assert_eq!(fast(&scalar).unwrap().rank(), 0, "{name}");
        }
    }
}

#[test]
fn the_same_call_gives_the_same_bits_on_any_number_of_threads() {
    let x = noise(&[300, 500], 1, 64.).to_dtype(DType::F32).unwrap();
    for (name, fast, _) in FUNCTIONS {
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| {
                let (y, grads) =
                    differentiate(|t| fast(&t[0]), std::slice::from_ref(&x), None).unwrap();
                [bits(&y), bits(&grads[0])]
            })
        };
        assert!(run(1) == run(3), "{name}");
    }
}
