//! Numbers for the tests, and their comparison.

use candle_core::{DType, Device, Tensor, Var};
use half::bf16;
use tallow_cuda::Numbers;

/// Numbers in (-1, 1) that look random and are `f32`s.
pub fn values(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let next = |_| {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    };
    (0..len).map(next).collect()
}

/// The values as a type has them.
pub fn rounded(numbers: Numbers, values: &[f32]) -> Vec<f32> {
    match numbers {
        Numbers::F32 => values.to_vec(),
        Numbers::Bf16 => values.iter().map(|&v| bf16::from_f32(v).to_f32()).collect(),
    }
}

/// Variable of `f64` with these values.
pub fn variable(values: &[f32], shape: &[usize]) -> Var {
    let tensor = Tensor::from_slice(values, shape, &Device::Cpu).unwrap();
    Var::from_tensor(&tensor.to_dtype(DType::F64).unwrap()).unwrap()
}

/// Values of a tensor.
pub fn flat(tensor: &Tensor) -> Vec<f64> {
    let tensor = tensor.to_dtype(DType::F64).unwrap();
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// Bits of floats, so that NaN equals itself and 0 differs from -0.
pub fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

/// Floats of these bits.
pub fn floats(bits: Vec<u32>) -> Vec<f32> {
    bits.into_iter().map(f32::from_bits).collect()
}

/// Result of `f`, which must be the same for threads and blocks in both orders.
pub fn in_both_orders<T: PartialEq + std::fmt::Debug>(f: impl Fn(bool) -> T) -> T {
    let forwards = f(false);
    assert!(
        forwards == f(true),
        "the result depends on the order of the threads"
    );
    forwards
}

/// Asserts that each value differs from the expected one by `tolerance` of the largest at most.
pub fn assert_close(name: &str, found: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{name}");
    let scale = expected.iter().fold(1e-3f64, |most, v| most.max(v.abs()));
    for (i, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(found) - expected).abs() / scale;
        // A NaN is no small difference.
        assert!(
            error <= tolerance,
            "{name}, value {i}: {found}, expected {expected}"
        );
    }
}
