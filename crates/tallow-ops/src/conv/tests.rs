//! Every algorithm that suits a convolution gives what the matrix products give.

use proptest::prelude::*;

use candle_core::{DType, Device, Tensor, Var};

use super::algorithm::{Algorithm, choose};
use super::config::{Conv2dConfig, geometry};
use super::op::Conv2d;
use crate::layout::Layout;
use crate::weighted::apply_weighted;

/// Error that is promised of Winograd's filtering, relative to the largest value. The random cases below came to 7e-5.
const WINOGRAD: f64 = 1e-4;

fn values(shape: (usize, usize, usize, usize), dtype: DType) -> Tensor {
    let count = shape.0 * shape.1 * shape.2 * shape.3;
    let values: Vec<f64> = (0..count)
        .map(|i| ((i * 37 + 11) % 101) as f64 / 50.0 - 1.0)
        .collect();
    Tensor::from_vec(values, shape, &Device::Cpu)
        .unwrap()
        .to_dtype(dtype)
        .unwrap()
}

/// Output, gradient of the input and gradient of the weight.
fn run(x: &Tensor, w: &Tensor, config: &Conv2dConfig, algorithm: Algorithm) -> Vec<Vec<f64>> {
    run_with(x, w, Clone::clone, config, algorithm)
}

/// [`run`] with `map` of the gradient of the output.
fn run_with(
    x: &Tensor,
    w: &Tensor,
    map: impl Fn(&Tensor) -> Tensor,
    config: &Conv2dConfig,
    algorithm: Algorithm,
) -> Vec<Vec<f64>> {
    let geometry = geometry(x, w, None, config).unwrap();
    let (x, w) = (Var::from_tensor(x).unwrap(), Var::from_tensor(w).unwrap());
    let op = Conv2d {
        geometry,
        layout: config.layout,
        algorithm,
    };
    let y = apply_weighted(&x, &w, None, op).unwrap();
    let dy = map(&values(y.dims4().unwrap(), y.dtype()));
    let gradients = (&y * dy).unwrap().sum_all().unwrap().backward().unwrap();
    let tensors = [
        y,
        gradients.get(&x).unwrap().clone(),
        gradients.get(&w).unwrap().clone(),
    ];
    tensors
        .iter()
        .map(|t| {
            t.to_dtype(DType::F64)
                .unwrap()
                .flatten_all()
                .unwrap()
                .to_vec1()
                .unwrap()
        })
        .collect()
}

/// Compares an algorithm with the matrix products. Each result is a sum of `n` products, and a sum in any order is off by
/// `n * u * (sum of the products' absolute values)` at most, with `u` half the type's epsilon (Higham 2002, section 3.1). Two of them
/// differ by twice as much.
fn assert_same_sums(x: &Tensor, w: &Tensor, config: &Conv2dConfig, algorithm: Algorithm) {
    let g = geometry(x, w, None, config).unwrap();
    let lengths = [g.depth(), g.group_out() * g.taps(), g.batch * g.out_plane()];
    let abs = |t: &Tensor| t.to_dtype(DType::F64).unwrap().abs().unwrap();
    let sums = run_with(&abs(x), &abs(w), abs, config, Algorithm::Matmul);
    let epsilon = match x.dtype() {
        DType::F64 => f64::EPSILON,
        _ => f64::from(f32::EPSILON),
    };
    let (a, b) = (
        run(x, w, config, algorithm),
        run(x, w, config, Algorithm::Matmul),
    );
    for (((a, b), sums), length) in a.iter().zip(&b).zip(&sums).zip(lengths) {
        assert!(a.len() == b.len() && a.len() == sums.len());
        for ((a, b), sum) in a.iter().zip(b).zip(sums) {
            let bound = length as f64 * epsilon * sum;
            assert!(
                (a - b).abs() <= bound,
                "{a} and {b} differ by more than {bound:e}"
            );
        }
    }
}

fn assert_agree(a: &[Vec<f64>], b: &[Vec<f64>], tolerance: f64) {
    for (a, b) in a.iter().zip(b) {
        let scale = b.iter().fold(1f64, |m, v| m.max(v.abs()));
        assert_eq!(a.len(), b.len());
        let error = a
            .iter()
            .zip(b)
            .map(|(a, b)| (a - b).abs() / scale)
            .fold(0.0, f64::max);
        assert!(error <= tolerance, "{error:e} > {tolerance:e}");
    }
}

proptest! {
    #[test]
    fn direct(
        (n, c, h, w) in (1usize..6, 1usize..33, 1usize..30, 1usize..30),
        (o, kh, kw) in (1usize..65, 1usize..8, 1usize..8),
        padding in (0usize..4, 0usize..4),
        dilation in (1usize..3, 1usize..3),
    ) {
        prop_assume!(dilation.0 * (kh - 1) < h + 2 * padding.0 && dilation.1 * (kw - 1) < w + 2 * padding.1);
        let config = Conv2dConfig { padding, dilation, ..Default::default() };
        for dtype in [DType::F32, DType::F64] {
            let (x, w) = (values((n, c, h, w), dtype), values((o, c, kh, kw), dtype));
            assert_same_sums(&x, &w, &config, Algorithm::Direct);
        }
    }

    #[test]
    fn depthwise(
        (n, c, h, w) in (1usize..4, 2usize..40, 1usize..20, 1usize..40),
        (m, kh, kw) in (prop_oneof![3 => Just(1), 1 => 2usize..4], 1usize..8, 1usize..8),
        padding in (0usize..4, 0usize..4),
        stride in (1usize..4, 1usize..4),
        dilation in (1usize..3, 1usize..3),
        nhwc: bool,
    ) {
        prop_assume!(dilation.0 * (kh - 1) < h + 2 * padding.0 && dilation.1 * (kw - 1) < w + 2 * padding.1);
        let layout = if nhwc { Layout::Nhwc } else { Layout::Nchw };
        let config = Conv2dConfig { padding, stride, dilation, groups: c, layout };
        for dtype in [DType::F32, DType::F64] {
            let shape = if nhwc { (n, h, w, c) } else { (n, c, h, w) };
            let (x, w) = (values(shape, dtype), values((c * m, 1, kh, kw), dtype));
            assert_same_sums(&x, &w, &config, Algorithm::Depthwise);
        }
    }
}

proptest! {
    #[test]
    fn channels_last(
        (n, c, h, w) in (1usize..4, 1usize..40, 1usize..14, 1usize..14),
        (o, kh, kw) in (1usize..40, 1usize..6, 1usize..6),
        padding in (0usize..4, 0usize..4),
        stride in (1usize..3, 1usize..3),
        dilation in (1usize..3, 1usize..3),
    ) {
        prop_assume!(dilation.0 * (kh - 1) < h + 2 * padding.0 && dilation.1 * (kw - 1) < w + 2 * padding.1);
        let config = Conv2dConfig { padding, stride, dilation, layout: Layout::Nhwc, ..Default::default() };
        let (x, w) = (values((n, h, w, c), DType::F32), values((o, c, kh, kw), DType::F32));
        // Winograd's filtering may take 3x3 convolutions without dilation: its bound is that of `winograd` below.
        if (kh, kw) == (3, 3) && dilation == (1, 1) {
            let matmul = run(&x, &w, &config, Algorithm::Matmul);
            assert_agree(&run(&x, &w, &config, Algorithm::ChannelsLast), &matmul, WINOGRAD);
        } else {
            assert_same_sums(&x, &w, &config, Algorithm::ChannelsLast);
        }
    }

    /// 3x3 and stride 1, which Winograd's filtering takes when there are channels enough; it costs a digit, see
    /// `winograds_error_on_normal_data`.
    #[test]
    fn winograd(
        (n, c, h, w) in (1usize..5, 8usize..70, 1usize..19, 1usize..19),
        o in 8usize..70,
        padding in 0usize..3,
    ) {
        prop_assume!(h + 2 * padding >= 3 && w + 2 * padding >= 3);
        let config = Conv2dConfig { padding: (padding, padding), layout: Layout::Nhwc, ..Default::default() };
        let (x, w) = (values((n, h, w, c), DType::F32), values((o, c, 3, 3), DType::F32));
        let matmul = run(&x, &w, &config, Algorithm::Matmul);
        assert_agree(&run(&x, &w, &config, Algorithm::ChannelsLast), &matmul, WINOGRAD);
    }

    /// The same with stride 2, where maps are large enough.
    #[test]
    fn winograd_with_stride_2(
        (n, c, h, w) in (1usize..5, 32usize..70, 7usize..27, 7usize..27),
        o in 32usize..70,
    ) {
        let config = Conv2dConfig { padding: (1, 1), stride: (2, 2), layout: Layout::Nhwc, ..Default::default() };
        let (x, w) = (values((n, h, w, c), DType::F32), values((o, c, 3, 3), DType::F32));
        let matmul = run(&x, &w, &config, Algorithm::Matmul);
        assert_agree(&run(&x, &w, &config, Algorithm::ChannelsLast), &matmul, WINOGRAD);
    }
}

#[test]
fn the_course_s_networks_run_directly_and_deep_layers_as_products() {
    let algorithm = |x: (usize, usize, usize, usize), o: usize, k: usize, config: &Conv2dConfig| {
        let w = values((o, x.1 / config.groups, k, k), DType::F32);
        let g = geometry(&values(x, DType::F32), &w, None, config).unwrap();
        choose(&g, config.layout, DType::F32)
    };
    let (plain, same) = (
        Conv2dConfig::default(),
        Conv2dConfig {
            padding: (1, 1),
            ..Default::default()
        },
    );
    for (x, o) in [
        ((1, 1, 28, 28), 6),
        ((1, 6, 12, 12), 6),
        ((1, 3, 32, 32), 6),
        ((1, 6, 14, 14), 16),
        ((1, 3, 32, 32), 16),
    ] {
        assert_eq!(algorithm(x, o, 5, &plain), Algorithm::Direct);
    }
    assert_eq!(algorithm((1, 64, 16, 16), 128, 3, &same), Algorithm::Matmul);
    assert_eq!(
        algorithm((1, 8, 16, 16), 8, 3, &Conv2dConfig { groups: 8, ..same }),
        Algorithm::Depthwise
    );
}

/// The error that is promised: at most 1e-4 of the largest value, against f64, on normal data.
#[test]
fn winograds_error_on_normal_data() {
    let generator = crate::Generator::new(0);
    let normal = |shape: (usize, usize, usize, usize)| {
        generator
            .normal(0.0, 1.0, shape, DType::F32, &Device::Cpu)
            .unwrap()
    };
    for (n, size, channels) in [
        (2, 12, 64),
        (2, 8, 128),
        (2, 8, 256),
        (2, 4, 512),
        (4, 2, 512),
    ] {
        let config = Conv2dConfig {
            padding: (1, 1),
            layout: Layout::Nhwc,
            ..Default::default()
        };
        let (x, w) = (
            normal((n, size, size, channels)),
            normal((32, channels, 3, 3)),
        );
        let exact = [&x, &w].map(|t| t.to_dtype(DType::F64).unwrap());
        let fast = run(&x, &w, &config, Algorithm::ChannelsLast);
        assert_agree(
            &fast,
            &run(&exact[0], &exact[1], &config, Algorithm::Matmul),
            WINOGRAD,
        );
    }
}
