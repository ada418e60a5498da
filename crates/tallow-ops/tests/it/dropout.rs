//! Dropout against PyTorch's scale, its mask's statistics, its determinism and its errors.

use crate::torch::{
    TYPES, assert_close, bits, differentiate, fixture, noise, tensor, values, view,
};
use candle_core::{DType, Device, Tensor};
use tallow_ops::{Error, Generator, dropout};

#[test]
fn kept_elements_equal_pytorchs() {
    for case in fixture("dropout").as_array().unwrap() {
        let p = case["p"].as_f64().unwrap();
        for (dtype, tolerance) in TYPES {
            let (x, kept) = (tensor(&case["input"], dtype), tensor(&case["kept"], dtype));
            let generator = Generator::new(1);
            let f = |t: &[Tensor]| dropout(&t[0], p, &generator);
            let (y, grads) = differentiate(f, std::slice::from_ref(&x), None).unwrap();
            let mask = y
                .ne(&y.zeros_like().unwrap())
                .unwrap()
                .to_dtype(dtype)
                .unwrap();
            assert_close("values", &y, &(&kept * &mask).unwrap(), tolerance);
            assert_close(
                "gradients",
                &grads[0],
                &(&mask / (1. - p)).unwrap(),
                tolerance,
            );
            let count = values(&mask).iter().sum::<f64>();
            assert!(count > 0. && count < values(&mask).len() as f64);
        }
    }
}

#[test]
fn the_rate_is_right_and_the_expectation_stays() {
    let x = Tensor::ones((100, 1000), DType::F32, &Device::Cpu).unwrap();
    for p in [0.1, 0.3, 0.9] {
        let y = values(&dropout(&x, p, &Generator::new(5)).unwrap());
        let n = y.len() as f64;
        let dropped = y.iter().filter(|&&y| y == 0.).count() as f64 / n;
        // Four standard deviations.
        let off = 4. * (p * (1. - p) / n).sqrt();
        assert!((dropped - p).abs() < off, "{dropped} of {p}");
        assert!((y.iter().sum::<f64>() / n - 1.).abs() < off / (1. - p));
    }
}

#[test]
fn the_mask_depends_on_the_generator_alone() {
    let x = noise(&[64, 32, 8, 8], 1, 64.).to_dtype(DType::F32).unwrap();
    let generator = Generator::new(9);
    let start = generator.state();
    let first = dropout(&x, 0.5, &generator).unwrap();
    let second = dropout(&x, 0.5, &generator).unwrap();
    assert_ne!(bits(&first), bits(&second));
    generator.set_state(&start);
    assert_eq!(bits(&first), bits(&dropout(&x, 0.5, &generator).unwrap()));
    generator.set_state(&start);
    assert_eq!(
        bits(&first),
        bits(&dropout(&view(&x, 1).unwrap(), 0.5, &generator).unwrap())
    );
}

#[test]
fn rate_zero_changes_nothing_and_draws_nothing() {
    let x = noise(&[3, 4], 1, 64.);
    let generator = Generator::new(2);
    let start = generator.state();
    assert_eq!(bits(&dropout(&x, 0., &generator).unwrap()), bits(&x));
    assert_eq!(generator.state(), start);
}

#[test]
fn half_types_go_through_the_reference() {
    let x = Tensor::ones((10, 10), DType::BF16, &Device::Cpu).unwrap();
    let y = dropout(&x, 0.5, &Generator::new(3)).unwrap();
    assert_eq!(y.dtype(), DType::BF16);
    assert!(values(&y).iter().all(|&y| y == 0. || y == 2.));
}

#[test]
fn a_rate_outside_the_range_is_refused() {
    let x = Tensor::ones(3, DType::F32, &Device::Cpu).unwrap();
    for p in [-0.1, 1., f64::NAN] {
        assert!(matches!(
            dropout(&x, p, &Generator::new(0)),
            Err(Error::Config { .. })
        ));
    }
}
