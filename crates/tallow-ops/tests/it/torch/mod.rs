//! PyTorch fixture of pooling, batch norm and losses, and helpers to compare with it.

use candle_core::{DType, Device, Tensor, Var};
use serde_json::Value;
use tallow_ops::{Layout, Result, reference};

pub const LAYOUTS: [Layout; 2] = [Layout::Nchw, Layout::Nhwc];

/// Both element types, with what their results may be off by against `f64` kept to 12 digits.
pub const TYPES: [(DType, f64); 2] = [(DType::F32, 2e-6), (DType::F64, 1e-11)];

/// The fixture, or a part of it.
pub fn fixture(part: &str) -> Value {
    let all: Value =
        serde_json::from_str(include_str!("../../fixtures/pool_norm_loss.json")).unwrap();
    all[part].clone()
}

/// A part of the fixture of activation functions, layer norm and squeeze-and-excitation.
pub fn activation_norm(part: &str) -> Value {
    let all: Value =
        serde_json::from_str(include_str!("../../fixtures/activation_norm.json")).unwrap();
    all[part].clone()
}

/// `{"shape": .., "values": ..}`; JSON has no NaN, so what is not finite comes as a string.
pub fn tensor(value: &Value, dtype: DType) -> Tensor {
    let number = |v: &Value| {
        v.as_f64()
            .unwrap_or_else(|| v.as_str().unwrap().parse().unwrap())
    };
    let values: Vec<f64> = value["values"]
        .as_array()
        .unwrap()
        .iter()
        .map(number)
        .collect();
    Tensor::from_vec(values, sizes(&value["shape"]), &Device::Cpu)
        .unwrap()
        .to_dtype(dtype)
        .unwrap()
}

pub fn sizes(value: &Value) -> Vec<usize> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_u64().unwrap() as usize)
        .collect()
}

pub fn pair(value: &Value) -> (usize, usize) {
    let sizes = sizes(value);
    (sizes[0], sizes[1])
}

/// The elements in `f64`, row-major.
pub fn values(x: &Tensor) -> Vec<f64> {
    x.to_dtype(DType::F64)
        .unwrap()
        .flatten_all()
        .unwrap()
        .to_vec1()
        .unwrap()
}

/// The elements' bits, for "the same to the last".
pub fn bits(x: &Tensor) -> Vec<u64> {
    values(x).into_iter().map(f64::to_bits).collect()
}

/// Shapes equal and every element within `tolerance`, relative above one and absolute below; NaN equals NaN.
#[track_caller]
pub fn assert_close(what: &str, got: &Tensor, expected: &Tensor, tolerance: f64) {
    assert_eq!(got.dims(), expected.dims(), "{what}: shape");
    for (i, (g, e)) in values(got).into_iter().zip(values(expected)).enumerate() {
        let same = g == e || (g.is_nan() && e.is_nan());
        assert!(
            same || (g - e).abs() <= tolerance * e.abs().max(1.),
            "{what}: element {i} is {g}, expected {e}"
        );
    }
}

/// The output of `f` and the gradients of `sum(output * up)`; `up` of the output's size, or none for ones.
pub fn differentiate(
    f: impl Fn(&[Tensor]) -> Result<Tensor>,
    inputs: &[Tensor],
    up: Option<&Tensor>,
) -> Result<(Tensor, Vec<Tensor>)> {
    let variables: Vec<Var> = inputs
        .iter()
        .map(Var::from_tensor)
        .collect::<candle_core::Result<_>>()?;
    let inputs: Vec<Tensor> = variables.iter().map(|v| v.as_tensor().clone()).collect();
    let y = f(&inputs)?;
    let loss = match up {
        Some(up) => (&y * up)?.sum_all()?,
        None => y.sum_all()?,
    };
    let grads = loss.backward()?;
    let grads = inputs
        .iter()
        .map(|x| grads.get(x).expect("a gradient").clone())
        .collect();
    Ok((y.detach(), grads))
}

/// From PyTorch's order to `layout`, within the graph.
pub fn arrange(x: &Tensor, layout: Layout) -> Tensor {
    reference::to_layout(x, Layout::Nchw, layout).unwrap()
}

/// And back.
pub fn restore(x: &Tensor, layout: Layout) -> Tensor {
    reference::to_layout(x, layout, Layout::Nchw).unwrap()
}

/// The same values behind strides and offsets of four kinds, within the graph.
pub fn view(x: &Tensor, kind: usize) -> candle_core::Result<Tensor> {
    let last = x.rank() - 1;
    match kind {
        0 => Ok(x.clone()),
        1 => x.transpose(0, last)?.contiguous()?.transpose(0, last),
        2 => Tensor::cat(&[x, x], last)?.narrow(last, x.dim(last)?, x.dim(last)?),
        _ => Tensor::cat(&[x, x], 0)?.narrow(0, x.dim(0)?, x.dim(0)?),
    }
}

/// A tensor of values that depend on the seed alone: multiples of 1/`grain` in -2..2, so a small `grain` makes ties.
pub fn noise(shape: &[usize], seed: u64, grain: f64) -> Tensor {
    let generator = tallow_ops::Generator::new(seed);
    let x = generator
        .uniform(-2. * grain, 2. * grain, shape, DType::F64, &Device::Cpu)
        .unwrap();
    (x.round().unwrap() / grain).unwrap()
}
