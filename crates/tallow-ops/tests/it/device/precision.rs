//! Products in TF32 and bf16.

use std::io::Write;

use candle_core::{DType, Device, Tensor, Var};
use tallow_ops::{
    BatchNormConfig, Conv2dConfig, Generator, Layout, Norm, Precision, Result, adaptive_avg_pool2d,
    add, batch_norm_add_relu_train, cast, conv_bn_relu_train, conv_relu, conv2d, dropout, flatten,
    linear, with_precision,
};

use super::{Operator, accelerator, arguments, flat, outcome};

/// Relative distance: the norm of the difference, divided by the norm expected.
fn distance(found: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(found.dims(), expected.dims());
    let (found, expected) = (flat(found), flat(expected));
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let difference = norm(&mut found.iter().zip(&expected).map(|(a, b)| a - b));
    difference / norm(&mut expected.iter().copied()).max(1e-12)
}

/// A device that computes in TF32 and bf16.
fn of_all_precisions() -> Option<Device> {
    let device = accelerator()?;
    if let Err(error) = Precision::Bf16.check(&device) {
        let word = format!("SKIPPED: {error}\n");
        std::io::stderr().write_all(word.as_bytes()).unwrap();
        return None;
    }
    Some(device)
}

/// Products have the precision asked for: no less, and no more, which would be the time of another one.
#[test]
fn products_in_each_precision() {
    let Some(device) = of_all_precisions() else {
        return;
    };
    let config = Conv2dConfig {
        padding: (1, 1),
        layout: Layout::Nhwc,
        ..Default::default()
    };
    let convolution = |t: &[Tensor]| {
        let y = conv2d(&t[0], &t[1], Some(&t[2]), &config)?;
        // The sum of bf16 and f32 is in f32.
        let wide = cast(&y, t[0].dtype())?;
        add(&y, &wide.zeros_like()?)
    };
    let product = |t: &[Tensor]| linear(&t[0], &t[1], Some(&t[2]));
    let shapes: [[&[usize]; 3]; 2] = [
        [&[8, 10, 10, 32], &[64, 32, 3, 3], &[64]],
        [&[64, 96], &[80, 96], &[80]],
    ];
    let operators: [(&str, Operator); 2] = [("conv2d", &convolution), ("linear", &product)];
    for ((name, f), shapes) in operators.into_iter().zip(shapes) {
        let arguments = arguments(&shapes);
        let expected = outcome(f, &arguments, &Device::Cpu, DType::F64);
        let in_precision = |precision| {
            let f = |t: &[Tensor]| with_precision(precision, || f(t));
            outcome(&f, &arguments, &device, DType::F32)
        };
        // A library may compute TF32 in f32, so that its error has no lower bound.
        let bounds = [
            (Precision::F32, 0., 1e-5),
            (Precision::Tf32, 0., 2e-3),
            (Precision::Bf16, 2e-4, 1e-2),
        ];
        for (precision, least, most) in bounds {
            let (found, again) = (in_precision(precision), in_precision(precision));
            // The gradient of the bias is a sum, without a product.
            for i in 0..3 {
                assert_eq!(flat(&found[i]), flat(&again[i]), "{name} {precision} {i}");
                let apart = distance(&found[i], &expected[i]);
                println!("{name} {precision} {i}: {apart:.1e}");
                assert!(
                    (least..most).contains(&apart),
                    "{name} in {precision}, result {i}: {apart}"
                );
            }
        }
    }
}

/// Blocks in bf16, from images to logits: the statistics and what follows them are computed in f32.
#[test]
fn networks_in_each_precision() {
    let Some(device) = of_all_precisions() else {
        return;
    };
    let conv = Conv2dConfig {
        padding: (1, 1),
        layout: Layout::Nhwc,
        ..Default::default()
    };
    let norm_config = BatchNormConfig {
        layout: Layout::Nhwc,
        ..Default::default()
    };
    let network = |t: &[Tensor]| -> Result<Tensor> {
        let var = |value: f64| -> Result<Var> {
            let ones = Tensor::ones(16, t[0].dtype(), t[0].device())?;
            Ok(Var::from_tensor(&(ones * value)?)?)
        };
        let (mean, variance) = (var(0.)?, var(1.)?);
        let norm = || Norm {
            weight: &t[2],
            bias: &t[3],
            running_mean: &mean,
            running_var: &variance,
            config: norm_config,
        };
        let x = conv_bn_relu_train(&t[0], &t[1], None, norm(), &conv, true)?;
        let y = conv2d(&x, &t[4], None, &conv)?;
        let y = batch_norm_add_relu_train(&y, &x, norm())?;
        let y = dropout(&y, 0.2, &Generator::new(3))?;
        let y = conv_relu(&y, &t[5], Some(&t[3]), &conv, true)?;
        let y = adaptive_avg_pool2d(&y, (1, 1), Layout::Nhwc)?;
        linear(&flatten(&y, Layout::Nhwc)?, &t[6], Some(&t[7]))
    };
    let shapes: [&[usize]; 8] = [
        &[16, 12, 12, 3],
        &[16, 3, 3, 3],
        &[16],
        &[16],
        &[16, 16, 3, 3],
        &[16, 16, 3, 3],
        &[10, 16],
        &[10],
    ];
    let arguments = arguments(&shapes);
    let expected = outcome(&network, &arguments, &Device::Cpu, DType::F64);
    for (precision, most) in [
        (Precision::F32, 1e-3),
        (Precision::Tf32, 2e-2),
        (Precision::Bf16, 0.1),
    ] {
        let f = |t: &[Tensor]| with_precision(precision, || network(t));
        let found = outcome(&f, &arguments, &device, DType::F32);
        for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert_eq!(found.dtype(), DType::F32, "{precision}, result {i}");
            let apart = distance(found, expected);
            println!("{precision} {i}: {apart:.1e}");
            assert!(apart < most, "{precision}, result {i}: {apart}");
        }
    }
}
