//! PyTorch's results on small integers, which no order of summation changes.

use candle_core::{DType, Device, Tensor, Var};
use tallow_ops::{Conv2dConfig, Layout, conv2d, reference};

use super::case::Convolution;

#[test]
fn pytorch_agrees_to_the_bit() {
    let cases: Vec<serde_json::Value> =
        serde_json::from_str(include_str!("../../fixtures/conv.json")).unwrap();
    assert_eq!(cases.len(), 15);
    let read = |case: &serde_json::Value, name: &str, shape: &str| -> Option<Tensor> {
        let list = |v: &serde_json::Value| {
            Some(
                v.as_array()?
                    .iter()
                    .map(|v| v.as_f64().unwrap())
                    .collect::<Vec<_>>(),
            )
        };
        let shape: Vec<usize> = list(&case[shape])?
            .into_iter()
            .map(|v| v as usize)
            .collect();
        let values = list(&case[name])?.into_iter().map(|v| v as f32).collect();
        Some(Tensor::from_vec(values, shape, &Device::Cpu).unwrap())
    };
    for case in &cases {
        let pair = |name: &str| {
            (
                case[name][0].as_u64().unwrap() as usize,
                case[name][1].as_u64().unwrap() as usize,
            )
        };
        let groups = case["groups"].as_u64().unwrap() as usize;
        let expect = |name, shape| read(case, name, shape).unwrap();
        for layout in [Layout::Nchw, Layout::Nhwc] {
            let to_layout = |t: Tensor| {
                if layout == Layout::Nhwc {
                    t.permute((0, 2, 3, 1)).unwrap()
                } else {
                    t
                }
            };
            let config = Conv2dConfig {
                stride: pair("stride"),
                padding: pair("padding"),
                dilation: pair("dilation"),
                groups,
                layout,
            };
            for (f, dtype) in [
                (conv2d as Convolution, DType::F32),
                (conv2d, DType::F64),
                (reference::conv2d, DType::F32),
            ] {
                let variable = |t: &Tensor| Var::from_tensor(&t.to_dtype(dtype).unwrap()).unwrap();
                let x = variable(&to_layout(expect("x", "x_shape")));
                let w = variable(&expect("w", "w_shape"));
                let b = read(case, "b", "b_shape").map(|b| variable(&b));
                let y = f(&x, &w, b.as_ref().map(|b| b.as_tensor()), &config).unwrap();
                let dy = to_layout(expect("dy", "y_shape")).to_dtype(dtype).unwrap();
                let gradients = (&y * dy).unwrap().sum_all().unwrap().backward().unwrap();
                let same = |what: &str, ours: &Tensor, theirs: Tensor| {
                    let flat = |t: &Tensor| {
                        t.to_dtype(DType::F64)
                            .unwrap()
                            .flatten_all()
                            .unwrap()
                            .to_vec1::<f64>()
                            .unwrap()
                    };
                    assert_eq!(ours.dims(), theirs.dims());
                    assert_eq!(
                        flat(ours),
                        flat(&theirs),
                        "{what} of {} in {layout:?}, {dtype:?}",
                        case["name"]
                    );
                };
                same("output", &y, to_layout(expect("y", "y_shape")));
                same(
                    "input gradient",
                    gradients.get(&x).unwrap(),
                    to_layout(expect("dx", "x_shape")),
                );
                same(
                    "weight gradient",
                    gradients.get(&w).unwrap(),
                    expect("dw", "w_shape"),
                );
                if let Some(b) = b {
                    same(
                        "bias gradient",
                        gradients.get(&b).unwrap(),
                        expect("db", "b_shape"),
                    );
                }
            }
        }
    }
}
