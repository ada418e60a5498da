//! The fused convolution, ReLU and pooling give what the operators give one by one, in f64.

use candle_core::{DType, Device, Tensor, Var};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use tallow_ops::{Conv2dConfig, Generator, Pool2dConfig, conv_relu, conv2d, max_pool2d, relu};

#[derive(Clone, Copy, Debug)]
struct Case {
    x: (usize, usize, usize, usize),
    out: usize,
    kernel: (usize, usize),
    padding: (usize, usize),
    bias: bool,
    pool: bool,
}

/// Output and the gradients of input, filters and bias, fused in `f32` or one by one in `f64`.
fn run(case: Case, fused: bool) -> Vec<Tensor> {
    let generator = Generator::new(3);
    let dtype = if fused { DType::F32 } else { DType::F64 };
    let normal = |mean: f64, std: f64, shape: &[usize]| {
        let values = generator
            .normal(mean, std, shape, DType::F32, &Device::Cpu)
            .unwrap();
        Var::from_tensor(&values.to_dtype(dtype).unwrap()).unwrap()
    };
    let (n, c, h, w) = case.x;
    let x = normal(0.2, 1.0, &[n, c, h, w]);
    let fan_in = c * case.kernel.0 * case.kernel.1;
    let weight = normal(
        0.0,
        1.0 / (fan_in as f64).sqrt(),
        &[case.out, c, case.kernel.0, case.kernel.1],
    );
    let bias = normal(0.0, 0.5, &[case.out]);
    let with_bias = case.bias.then_some(bias.as_tensor());
    let config = Conv2dConfig {
        padding: case.padding,
        ..Default::default()
    };
    let out = if fused {
        conv_relu(&x, &weight, with_bias, &config, case.pool).unwrap()
    } else {
        let y = relu(&conv2d(&x, &weight, with_bias, &config).unwrap()).unwrap();
        match case.pool {
            true => max_pool2d(&y, &Pool2dConfig::new(2)).unwrap(),
            false => y,
        }
    };
    let factor = normal(0.0, 1.0, out.dims());
    let loss = (&out * factor.as_tensor()).unwrap().sum_all().unwrap();
    let gradients = loss.backward().unwrap();
    let variables = [&x, &weight].into_iter().chain(case.bias.then_some(&bias));
    let gradients = variables.map(|v| gradients.get(v).unwrap().clone());
    [out.clone()].into_iter().chain(gradients).collect()
}

/// The largest difference, as a fraction of the largest value.
fn error(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.dims(), b.dims());
    let values = |t: &Tensor| {
        let t = t.to_dtype(DType::F64).unwrap();
        t.flatten_all().unwrap().to_vec1::<f64>().unwrap()
    };
    let (a, b) = (values(a), values(b));
    let scale = b.iter().fold(1e-3f64, |m, v| m.max(v.abs()));
    a.iter()
        .zip(&b)
        .map(|(a, b)| (a - b).abs() / scale)
        .fold(0.0, f64::max)
}

fn assert_same(case: Case) {
    for (i, (a, b)) in run(case, true).iter().zip(run(case, false)).enumerate() {
        let error = error(a, &b);
        assert!(error < 5e-5, "{case:?}: {i} is off by {error:e}");
    }
}

proptest! {
    // One seed for good: in fresh cases every time, a value would now and then be too close to a corner of the ReLU or a tie.
    #![proptest_config(ProptestConfig { cases: 64, rng_seed: RngSeed::Fixed(1), ..Default::default() })]

    #[test]
    fn fused_equals_composed(
        (n, c, h, w) in (1usize..19, 1usize..8, 2usize..13, 2usize..13),
        out in 1usize..14,
        kernel in (1usize..6, 1usize..6),
        padding in (0usize..3, 0usize..3),
        bias: bool,
        pool: bool,
    ) {
        let least = if pool { 2 } else { 1 };
        prop_assume!((h + 2 * padding.0 + 1).saturating_sub(kernel.0) >= least);
        prop_assume!((w + 2 * padding.1 + 1).saturating_sub(kernel.1) >= least);
        assert_same(Case { x: (n, c, h, w), out, kernel, padding, bias, pool });
    }

    #[test]
    fn five_by_five(
        (n, c, h, w) in (1usize..34, 1usize..10, 5usize..20, 5usize..20),
        out in 2usize..20,
        padding in (0usize..3, 0usize..3),
        bias: bool,
        pool: bool,
    ) {
        prop_assume!(!pool || (h + 2 * padding.0 > 5 && w + 2 * padding.1 > 5));
        assert_same(Case { x: (n, c, h, w), out, kernel: (5, 5), padding, bias, pool });
    }
}

#[test]
fn the_layers_of_the_small_networks() {
    for (x, out) in [
        ((33, 1, 28, 28), 6),
        ((33, 6, 12, 12), 6),
        ((17, 3, 32, 32), 16),
        ((17, 16, 14, 14), 32),
    ] {
        assert_same(Case {
            x,
            out,
            kernel: (5, 5),
            padding: (0, 0),
            bias: true,
            pool: true,
        });
    }
}

/// Winograd's filtering loses a little; this is how much at the most channels it is used for.
#[test]
fn error_at_64_channels() {
    let case = Case {
        x: (4, 64, 9, 9),
        out: 64,
        kernel: (5, 5),
        padding: (2, 2),
        bias: true,
        pool: false,
    };
    for (a, b) in run(case, true).iter().zip(run(case, false)) {
        assert!(error(a, &b) < 2e-5, "{:e}", error(a, &b));
    }
}

#[test]
fn a_nan_stays_one_and_wins() {
    let mut values = vec![1f32; 2 * 16];
    values[5] = f32::NAN;
    let x = Tensor::from_vec(values, (2, 1, 4, 4), &Device::Cpu).unwrap();
    let weight = Tensor::ones((1, 1, 1, 1), DType::F32, &Device::Cpu).unwrap();
    let y = conv_relu(&x, &weight, None, &Conv2dConfig::default(), true).unwrap();
    let y: Vec<f32> = y.flatten_all().unwrap().to_vec1().unwrap();
    assert!(y[0].is_nan() && y[1..].iter().all(|v| *v == 1.0), "{y:?}");
}

#[test]
fn of_equal_values_the_first_wins() {
    let x =
        Var::from_tensor(&Tensor::ones((1, 1, 2, 2), DType::F32, &Device::Cpu).unwrap()).unwrap();
    let weight = Tensor::ones((1, 1, 1, 1), DType::F32, &Device::Cpu).unwrap();
    let y = conv_relu(&x, &weight, None, &Conv2dConfig::default(), true).unwrap();
    let gradients = y.sum_all().unwrap().backward().unwrap();
    let dx: Vec<f32> = gradients
        .get(&x)
        .unwrap()
        .flatten_all()
        .unwrap()
        .to_vec1()
        .unwrap();
    assert_eq!(dx, [1.0, 0.0, 0.0, 0.0]);
}

#[test]
fn the_bits_do_not_depend_on_the_number_of_threads() {
    let case = Case {
        x: (50, 3, 20, 20),
        out: 16,
        kernel: (5, 5),
        padding: (0, 0),
        bias: true,
        pool: true,
    };
    let bits = |threads| -> Vec<Vec<u32>> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let results = pool.install(|| run(case, true));
        let bits = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        results
            .iter()
            .map(|t| bits(t).iter().map(|v| v.to_bits()).collect())
            .collect()
    };
    assert_eq!(bits(1), bits(3));
}
