//! Accuracy of Winograd's algorithm: the largest difference from `f64` on normal data, as a fraction of the largest value,
//! of output, input gradient and weight gradient. It is held to 1e-4; measured with AVX-512 (AVX2 and the portable path differ by
//! two fifths at most):
//!
//! | channels | F(4x4, 3x3) | F(2x2, 3x3) | 4x4 outputs, 3x3, stride 2 | F(4x4, 5x5) |
//! | --- | --- | --- | --- | --- |
//! | 4 | | | | 2.8e-6, 2.4e-6, 3.3e-6 |
//! | 16 | | | | 4.9e-6, 3.0e-6, 3.5e-6 |
//! | 32 | | | | 5.4e-6, 3.5e-6, 4.1e-6 |
//! | 64 | 6.5e-6, 6.9e-6, 4.1e-6 | 3.8e-7, 4.1e-7, 2.0e-7 | 2.6e-6, 3.5e-6, 9.3e-7 | 6.1e-6, 5.3e-6, 4.3e-6 |
//! | 128 | 6.9e-6, 8.3e-6, 3.9e-6 | 5.9e-7, 4.7e-7, 2.1e-7 | 3.5e-6, 6.2e-6, 1.6e-6 | |
//! | 256 | 1.2e-5, 1.3e-5, 5.1e-6 | 8.6e-7, 8.6e-7, 2.3e-7 | 5.2e-6, 5.6e-6, 1.6e-6 | |
//! | 512 | 1.6e-5, 1.8e-5, 4.4e-6 | 1.1e-6, 1.1e-6, 2.5e-7 | 7.4e-6, 9.8e-6, 1.0e-6 | |
//!
//! `cargo test --release -p tallow-ops --test it winograd -- --nocapture` prints them.

use candle_core::{DType, Device, Tensor, Var};
use tallow_ops::{Conv2dConfig, Generator, Layout, Result, conv_relu, conv2d, reference};

/// Promised for normal data.
const MOST: f64 = 1e-4;

/// Output, input gradient and weight gradient.
const PASSES: [&str; 3] = ["output", "input gradient", "weight gradient"];

/// Input and filters from the standard normal distribution, with as many channels on both sides, so that every pass sums over
/// that many.
fn normal(
    batch: usize,
    channels: usize,
    size: usize,
    kernel: usize,
    layout: Layout,
) -> [Tensor; 2] {
    let generator = Generator::new(channels as u64);
    let draw = |shape: [usize; 4]| {
        let values = generator.normal(0.0, 1.0, &shape[..], DType::F32, &Device::Cpu);
        values.unwrap()
    };
    let x = match layout {
        Layout::Nchw => [batch, channels, size, size],
        Layout::Nhwc => [batch, size, size, channels],
    };
    [draw(x), draw([channels, channels, kernel, kernel])]
}

/// The output of `f` and the gradients of `sum(y * dy * mask)` with a standard normal `dy`; the mask is what `f` gives beside the
/// output.
fn passes(
    arguments: &[Tensor; 2],
    f: impl Fn(&Tensor, &Tensor) -> Result<(Tensor, Option<Tensor>)>,
) -> [Tensor; 3] {
    let [x, w] = arguments.each_ref().map(|t| Var::from_tensor(t).unwrap());
    let (y, mask) = f(&x, &w).unwrap();
    let mut dy = Generator::new(99)
        .normal(0.0, 1.0, y.dims(), DType::F32, &Device::Cpu)
        .unwrap()
        .to_dtype(y.dtype())
        .unwrap();
    if let Some(mask) = mask {
        dy = (dy * mask).unwrap();
    }
    let gradients = (&y * dy).unwrap().sum_all().unwrap().backward().unwrap();
    [
        y,
        gradients.get(&x).unwrap().clone(),
        gradients.get(&w).unwrap().clone(),
    ]
}

fn doubled(t: &Tensor) -> Tensor {
    t.to_dtype(DType::F64).unwrap()
}

/// The largest difference of each pass as a fraction of its largest value.
fn errors(ours: &[Tensor; 3], exact: &[Tensor; 3]) -> [f64; 3] {
    std::array::from_fn(|i| {
        assert_eq!(ours[i].dims(), exact[i].dims());
        let flat = |t: &Tensor| doubled(t).flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let (ours, exact) = (flat(&ours[i]), flat(&exact[i]));
        let scale = exact.iter().fold(0f64, |m, v| m.max(v.abs()));
        let differences = ours.iter().zip(&exact).map(|(a, b)| (a - b).abs());
        assert!(ours.iter().all(|v| v.is_finite()));
        differences.fold(0f64, f64::max) / scale
    })
}

fn assert_small(what: &str, channels: usize, errors: [f64; 3]) {
    let digits = errors.map(|error| format!("{error:.1e}"));
    println!("{what}, {channels} channels: {}", digits.join(", "));
    for (pass, error) in PASSES.iter().zip(errors) {
        assert!(
            error > 0.0 && error <= MOST,
            "{what}, {channels} channels: {pass} is off by {error:e}"
        );
    }
}

fn three_by_three(what: &str, batch: usize, size: usize, channels: usize, stride: usize) {
    let config = Conv2dConfig {
        padding: (1, 1),
        stride: (stride, stride),
        layout: Layout::Nhwc,
        ..Default::default()
    };
    let arguments = normal(batch, channels, size, 3, Layout::Nhwc);
    let ours = passes(&arguments, |x, w| Ok((conv2d(x, w, None, &config)?, None)));
    let exact = passes(&arguments.each_ref().map(doubled), |x, w| {
        Ok((reference::conv2d(x, w, None, &config)?, None))
    });
    assert_small(what, channels, errors(&ours, &exact));
}

/// F(4x4, 3x3).
#[test]
fn f4x4_3x3() {
    for (size, channels) in [(12, 64), (8, 128), (8, 256), (4, 512)] {
        three_by_three("F(4x4, 3x3)", 8, size, channels, 1);
    }
}

/// F(2x2, 3x3), which maps of two rows and columns take.
#[test]
fn f2x2_3x3() {
    for channels in [64, 128, 256, 512] {
        three_by_three("F(2x2, 3x3)", 32, 2, channels, 1);
    }
}

/// 4x4 outputs with stride 2.
#[test]
fn f4x4_3x3_stride_2() {
    for (size, channels) in [(24, 64), (16, 128), (16, 256), (8, 512)] {
        three_by_three("stride 2", 8, size, channels, 2);
    }
}

/// F(4x4, 5x5) of `conv_relu`, up to the most channels it is used for. The exact gradients are those of the outputs that passed our
/// ReLU: one within rounding of 0 may pass in one precision and not in the other, which says nothing about the filtering.
#[test]
fn f4x4_5x5() {
    let config = Conv2dConfig::default();
    for channels in [4, 16, 32, 64] {
        let arguments = normal(19, channels, 12, 5, Layout::Nchw);
        let ours = passes(&arguments, |x, w| {
            Ok((conv_relu(x, w, None, &config, false)?, None))
        });
        let passed = ours[0].gt(0f32).unwrap().to_dtype(DType::F64).unwrap();
        let mut exact = passes(&arguments.each_ref().map(doubled), |x, w| {
            Ok((
                reference::conv2d(x, w, None, &config)?,
                Some(passed.clone()),
            ))
        });
        exact[0] = exact[0].relu().unwrap();
        assert_small("F(4x4, 5x5)", channels, errors(&ours, &exact));
    }
}
