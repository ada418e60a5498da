//! Squeeze-and-excitation against PyTorch, the reference and finite differences.

use candle_core::{DType, Device, Tensor};
use proptest::prelude::*;
use tallow_ops::{
    Activation, Error, Layout, Result, SqueezeExciteConfig, Tape, gradcheck, reference,
    squeeze_excite,
};

use crate::torch::{
    LAYOUTS, TYPES, activation_norm, arrange, assert_close, bits, differentiate, noise, restore,
    tensor, view,
};

type Block =
    fn(&Tensor, (&Tensor, &Tensor), (&Tensor, &Tensor), &SqueezeExciteConfig) -> Result<Tensor>;

const BLOCKS: [Block; 2] = [squeeze_excite, reference::squeeze_excite];

/// Input and parameters.
fn inputs(shape: [usize; 4], squeezed: usize, layout: Layout, seed: u64) -> Vec<Tensor> {
    let [n, c, h, w] = shape;
    let x = match layout {
        Layout::Nchw => [n, c, h, w],
        Layout::Nhwc => [n, h, w, c],
    };
    let shapes: [&[usize]; 5] = [&x, &[squeezed, c], &[squeezed], &[c, squeezed, 1, 1], &[c]];
    let seeds = seed..;
    shapes
        .into_iter()
        .zip(seeds)
        .map(|(shape, seed)| noise(shape, seed, 64.))
        .collect()
}

fn run(f: Block, t: &[Tensor], config: &SqueezeExciteConfig) -> Result<Tensor> {
    f(&t[0], (&t[1], &t[2]), (&t[3], &t[4]), config)
}

#[test]
fn values_and_gradients_equal_pytorch() {
    let cases = activation_norm("squeeze_excite");
    let cases = cases.as_array().unwrap();
    assert_eq!(cases.len(), 2);
    for case in cases {
        let (activation, scale_activation) = match case["name"].as_str().unwrap() {
            "mobilenet" => (Activation::Relu, Activation::HardSigmoid),
            "efficientnet" => (Activation::Silu, Activation::Sigmoid),
            other => panic!("{other}"),
        };
        for (layout, (dtype, tolerance)) in LAYOUTS.into_iter().flat_map(|l| TYPES.map(|t| (l, t)))
        {
            let config = SqueezeExciteConfig {
                activation,
                scale_activation,
                layout,
            };
            let list = |key: &str| -> Vec<Tensor> {
                let list = case[key].as_array().unwrap();
                list.iter().map(|v| tensor(v, dtype)).collect()
            };
            let [up, y] = ["up", "output"].map(|key| tensor(&case[key], dtype));
            // In f64 too, PyTorch's gradient of the hard sigmoid has the f32 next to 1/6 in it: a relative 3e-8 of gradients up to 30.
            let hard = scale_activation == Activation::HardSigmoid;
            let grad_tolerance = if hard { tolerance.max(1e-6) } else { tolerance };
            for f in BLOCKS {
                let f = |t: &[Tensor]| {
                    let mut t = t.to_vec();
                    t[0] = arrange(&t[0], layout);
                    Ok(restore(&run(f, &t, &config)?, layout))
                };
                let (got, grads) = differentiate(f, &list("inputs"), Some(&up)).unwrap();
                assert_close("output", &got, &y, tolerance);
                for (grad, expected) in grads.iter().zip(list("grads")) {
                    assert_close("gradient", grad, &expected, 4. * grad_tolerance);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn the_operator_equals_the_reference(
        shape in (1..=4usize, 1..=40usize, 1..=13usize, 1..=13usize), squeezed in 1..=9usize, seed in 0..1u64 << 60, kind in 0..4usize, nhwc: bool, smooth: bool,
    ) {
        let layout = if nhwc { Layout::Nhwc } else { Layout::Nchw };
        let (activation, scale_activation) = if smooth {
            (Activation::Gelu, Activation::Sigmoid)
        } else {
            (Activation::Silu, Activation::Sigmoid)
        };
        let config = SqueezeExciteConfig { activation, scale_activation, layout };
        let inputs = inputs(shape.into(), squeezed, layout, seed);
        let up = noise(inputs[0].dims(), seed ^ 9, 64.);
        let f = |t: &[Tensor]| run(reference::squeeze_excite, t, &config);
        let truth = differentiate(f, &inputs, Some(&up)).unwrap();
        for (dtype, tolerance) in [(DType::F32, 3e-5), (DType::F64, 1e-11)] {
            let inputs: Vec<Tensor> = inputs.iter().map(|t| t.to_dtype(dtype).unwrap()).collect();
            let up = up.to_dtype(dtype).unwrap();
            let f = |t: &[Tensor]| {
                let mut t = t.to_vec();
                t[0] = view(&t[0], kind)?;
                run(squeeze_excite, &t, &config)
            };
            let (y, grads) = differentiate(f, &inputs, Some(&up)).unwrap();
            assert_close("output", &y, &truth.0, tolerance);
            for (grad, expected) in grads.iter().zip(&truth.1) {
                // Gradients of the parameters are sums over pixels and images.
                let scale = crate::torch::values(expected).iter().fold(1f64, |m, v| m.max(v.abs()));
                let scaled = |t: &Tensor| (t.to_dtype(DType::F64).unwrap() / scale).unwrap();
                assert_close("gradient", &scaled(grad), &scaled(expected), tolerance);
            }
        }
    }
}

#[test]
fn gradients_equal_finite_differences() {
    for layout in LAYOUTS {
        let inputs = inputs([2, 4, 3, 2], 3, layout, 5);
        let config = SqueezeExciteConfig {
            activation: Activation::Silu,
            layout,
            ..Default::default()
        };
        for f in BLOCKS {
            let error = gradcheck::max_relative_error(|t| run(f, t, &config), &inputs).unwrap();
            assert!(error < 1e-8, "{error:e}");
        }
    }
}

#[test]
fn a_tape_gives_the_gradients_of_candle() {
    let inputs = inputs([2, 4, 3, 2], 3, Layout::Nchw, 5);
    let variables: Vec<candle_core::Var> = inputs
        .iter()
        .map(|t| candle_core::Var::from_tensor(t).unwrap())
        .collect();
    let tensors: Vec<Tensor> = variables.iter().map(|v| v.as_tensor().clone()).collect();
    let tape = Tape::record();
    let y = run(squeeze_excite, &tensors, &SqueezeExciteConfig::default()).unwrap();
    let plain = y.backward().unwrap();
    let taped = tape.backward(&y).unwrap();
    for t in &tensors {
        assert_close("gradient", taped.get(t).unwrap(), plain.get(t).unwrap(), 0.);
    }
}

#[test]
fn the_same_call_gives_the_same_bits_on_any_number_of_threads() {
    for layout in LAYOUTS {
        let inputs: Vec<Tensor> = inputs([40, 24, 15, 10], 6, layout, 5)
            .iter()
            .map(|t| t.to_dtype(DType::F32).unwrap())
            .collect();
        let config = SqueezeExciteConfig {
            layout,
            ..Default::default()
        };
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| {
                let f = |t: &[Tensor]| run(squeeze_excite, t, &config);
                let (y, grads) = differentiate(f, &inputs, None).unwrap();
                (bits(&y), grads.iter().map(bits).collect::<Vec<_>>())
            })
        };
        assert!(run(1) == run(3), "{layout}");
    }
}

#[test]
fn bad_arguments_are_typed_errors() {
    let t = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    type Dims = &'static [usize];
    let cases: [(Dims, [Dims; 4], &str); 8] = [
        (&[2, 3], [&[2, 3], &[2], &[3, 2], &[3]], "input"),
        (&[2, 3, 0, 1], [&[2, 3], &[2], &[3, 2], &[3]], "input"),
        (&[2, 3, 1, 1], [&[2, 4], &[2], &[3, 2], &[3]], "fc1 weight"),
        (&[2, 3, 1, 1], [&[0, 3], &[0], &[3, 0], &[3]], "fc1 weight"),
        (&[2, 3, 1, 1], [&[2], &[2], &[3, 2], &[3]], "fc1 weight"),
        (&[2, 3, 1, 1], [&[2, 3], &[3], &[3, 2], &[3]], "fc1 bias"),
        (&[2, 3, 1, 1], [&[2, 3], &[2], &[2, 3], &[3]], "fc2 weight"),
        (&[2, 3, 1, 1], [&[2, 3], &[2], &[3, 2], &[2]], "fc2 bias"),
    ];
    for (x, [w1, b1, w2, b2], name) in cases {
        let arguments = [t(x), t(w1), t(b1), t(w2), t(b2)];
        for f in BLOCKS {
            match run(f, &arguments, &SqueezeExciteConfig::default()) {
                Err(Error::Shape {
                    op: "squeeze_excite",
                    argument,
                    ..
                }) => assert_eq!(argument, name),
                other => panic!("{arguments:?} gave {other:?}"),
            }
        }
    }
}
