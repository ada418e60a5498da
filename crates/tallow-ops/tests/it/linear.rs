//! The fully connected layer against its reference, PyTorch and finite differences.

use candle_core::{DType, Device, Tensor, Var};
use proptest::prelude::*;
use tallow_ops::{Error, Result, gradcheck, linear, reference};

type Layer = fn(&Tensor, &Tensor, Option<&Tensor>) -> Result<Tensor>;

/// Numbers in (-1, 1) that look random and are `f32`s.
fn values(shape: &[usize], seed: u64) -> Tensor {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let next = |_| {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        ((state >> 40) as f32 / (1u32 << 23) as f32 - 1.0) as f64
    };
    let values: Vec<f64> = (0..shape.iter().product()).map(next).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn flat(t: &Tensor) -> Vec<f64> {
    t.to_dtype(DType::F64)
        .unwrap()
        .flatten_all()
        .unwrap()
        .to_vec1()
        .unwrap()
}

/// The output and the gradients of `sum(y * dy)`. With `view` the arguments are transposes.
fn run(f: Layer, arguments: &[Tensor], dy: &Tensor, dtype: DType, view: bool) -> Vec<Tensor> {
    let variables: Vec<Var> = arguments
        .iter()
        .map(|t| Var::from_tensor(&t.to_dtype(dtype).unwrap()).unwrap())
        .collect();
    let viewed = |v: &Var| match v.rank() {
        2 if view => v.t().unwrap().contiguous().unwrap().t().unwrap(),
        _ => v.as_tensor().clone(),
    };
    let tensors: Vec<Tensor> = variables.iter().map(viewed).collect();
    let y = f(&tensors[0], &tensors[1], tensors.get(2)).unwrap();
    let gradients = (&y * dy.to_dtype(dtype).unwrap())
        .unwrap()
        .sum_all()
        .unwrap()
        .backward()
        .unwrap();
    std::iter::once(y)
        .chain(variables.iter().map(|v| gradients.get(v).unwrap().clone()))
        .collect()
}

fn assert_agrees(n: usize, i: usize, o: usize, bias: bool, view: bool) {
    let mut arguments = vec![values(&[n, i], 1), values(&[o, i], 2)];
    if bias {
        arguments.push(values(&[o], 3));
    }
    let dy = values(&[n, o], 4);
    let truth = run(reference::linear, &arguments, &dy, DType::F64, false);
    for (dtype, tolerance) in [(DType::F64, 1e-10), (DType::F32, 1e-5)] {
        for (ours, truth) in run(linear, &arguments, &dy, dtype, view).iter().zip(&truth) {
            assert_eq!(ours.dims(), truth.dims());
            let scale = flat(truth).iter().fold(1f64, |m, v| m.max(v.abs()));
            for (a, b) in flat(ours).iter().zip(flat(truth)) {
                assert!(
                    (a - b).abs() <= tolerance * scale,
                    "{a} is not {b} for {n} x {i} -> {o} in {dtype:?}"
                );
            }
        }
    }
}

proptest! {
    #[test]
    fn values_and_gradients_agree_with_the_reference(
        n in 1usize..70, i in 1usize..130, o in 1usize..40, bias: bool, view: bool,
    ) {
        assert_agrees(n, i, o, bias, view);
    }
}

/// Sizes around those from which the right operand is packed: whole panels of 16 columns, 16 or more of the rest.
#[test]
fn packed_sizes_agree() {
    for (n, i, o) in [
        (16, 16, 16),
        (17, 32, 48),
        (33, 100, 64),
        (64, 784, 16),
        (15, 64, 64),
        (130, 48, 33),
    ] {
        for bias in [false, true] {
            assert_agrees(n, i, o, bias, false);
        }
    }
}

#[test]
fn packed_products_have_the_same_bits_on_any_number_of_threads() {
    let arguments = [
        values(&[130, 320], 1),
        values(&[96, 320], 2),
        values(&[96], 3),
    ];
    let dy = values(&[130, 96], 4);
    let bits = |threads| -> Vec<Vec<f64>> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            run(linear, &arguments, &dy, DType::F32, false)
                .iter()
                .map(flat)
                .collect()
        })
    };
    let one = bits(1);
    assert!(one == bits(2) && one == bits(5));
}

#[test]
fn large_layers_agree_for_any_number_of_threads() {
    for threads in [1, 2, 5] {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| assert_agrees(130, 310, 97, true, false));
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    let arguments = [values(&[3, 4], 1), values(&[2, 4], 2), values(&[2], 3)];
    for f in [linear as Layer, reference::linear] {
        let error =
            gradcheck::max_relative_error(|t| f(&t[0], &t[1], Some(&t[2])), &arguments).unwrap();
        assert!(error < 1e-8, "{error:e}");
    }
}

#[test]
fn pytorch_agrees_to_the_bit() {
    let cases: Vec<serde_json::Value> =
        serde_json::from_str(include_str!("../fixtures/linear.json")).unwrap();
    assert_eq!(cases.len(), 4);
    for case in &cases {
        let list = |v: &serde_json::Value| {
            Some(
                v.as_array()?
                    .iter()
                    .map(|v| v.as_f64().unwrap())
                    .collect::<Vec<_>>(),
            )
        };
        let read = |name: &str| -> Option<Tensor> {
            let shape = list(&case[format!("{}_shape", name.trim_start_matches('d'))])?;
            let shape: Vec<usize> = shape.into_iter().map(|v| v as usize).collect();
            Some(Tensor::from_vec(list(&case[name])?, shape, &Device::Cpu).unwrap())
        };
        let arguments: Vec<Tensor> = ["x", "w", "b"].into_iter().filter_map(read).collect();
        let truth: Vec<Tensor> = ["y", "dx", "dw", "db"]
            .into_iter()
            .filter_map(read)
            .collect();
        assert_eq!(truth.len(), arguments.len() + 1);
        for (f, dtype) in [
            (linear as Layer, DType::F32),
            (linear, DType::F64),
            (reference::linear, DType::F32),
        ] {
            let ours = run(f, &arguments, &read("dy").unwrap(), dtype, false);
            for (ours, truth) in ours.iter().zip(&truth) {
                assert_eq!(flat(ours), flat(truth), "{} in {dtype:?}", case["name"]);
            }
        }
    }
}

#[test]
fn an_empty_batch_has_zero_gradients() {
    let (w, b) = (
        Var::from_tensor(&values(&[2, 3], 1)).unwrap(),
        Var::from_tensor(&values(&[2], 2)).unwrap(),
    );
    let x = Tensor::zeros((0, 3), DType::F64, &Device::Cpu).unwrap();
    let y = linear(&x, &w, Some(&b)).unwrap();
    assert_eq!(y.dims(), [0, 2]);
    let gradients = y.sum_all().unwrap().backward().unwrap();
    assert!(
        flat(gradients.get(&w).unwrap())
            .iter()
            .chain(&flat(gradients.get(&b).unwrap()))
            .all(|&v| v == 0.0)
    );
}

#[test]
fn bad_shapes_are_typed_errors() {
    let t = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    type Dims = &'static [usize];
    let cases: [(Dims, Dims, Option<Dims>, &str); 6] = [
        (&[3], &[2, 3], None, "x"),
        (&[1, 2, 3], &[2, 3], None, "x"),
        (&[1, 3], &[3], None, "weight"),
        (&[1, 3], &[2, 4], None, "weight"),
        (&[1, 0], &[2, 0], None, "weight"),
        (&[1, 3], &[2, 3], Some(&[3]), "bias"),
    ];
    for (x, w, b, name) in cases {
        for f in [linear as Layer, reference::linear] {
            match f(&t(x), &t(w), b.map(t).as_ref()) {
                Err(Error::Shape {
                    op: "linear",
                    argument,
                    ..
                }) => assert_eq!(argument, name),
                other => panic!("{x:?} {w:?} {b:?} gave {other:?}"),
            }
        }
    }
}
