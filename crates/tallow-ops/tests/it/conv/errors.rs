//! Bad shapes and settings.

use candle_core::{DType, Device, Tensor};
use tallow_ops::{Conv2dConfig, Error, Layout, conv2d, reference};

use super::case::Convolution;

#[test]
fn bad_shapes_and_settings_are_typed_errors() {
    let t = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    let plain = Conv2dConfig::default();
    let shape =
        |x: &[usize], w: &[usize], b: Option<&[usize]>, config: Conv2dConfig, name: &str| {
            for f in [conv2d as Convolution, reference::conv2d] {
                match f(&t(x), &t(w), b.map(t).as_ref(), &config) {
                    Err(Error::Shape {
                        op: "conv2d",
                        argument,
                        ..
                    }) => assert_eq!(argument, name),
                    other => panic!("{x:?} {w:?} {config:?} gave {other:?}"),
                }
            }
        };
    let setting = |x: &[usize], w: &[usize], config: Conv2dConfig| {
        for f in [conv2d as Convolution, reference::conv2d] {
            assert!(
                matches!(
                    f(&t(x), &t(w), None, &config),
                    Err(Error::Config { op: "conv2d", .. })
                ),
                "{x:?} {w:?} {config:?}"
            );
        }
    };
    shape(&[3, 8, 8], &[4, 3, 3, 3], None, plain, "x");
    shape(&[1, 3, 8, 8], &[4, 3, 3], None, plain, "weight");
    shape(&[1, 4, 8, 8], &[4, 3, 3, 3], None, plain, "weight");
    shape(
        &[1, 8, 8, 4],
        &[4, 8, 3, 3],
        None,
        Conv2dConfig {
            layout: Layout::Nhwc,
            ..plain
        },
        "weight",
    );
    shape(
        &[1, 4, 8, 8],
        &[4, 4, 3, 3],
        None,
        Conv2dConfig { groups: 2, ..plain },
        "weight",
    );
    shape(&[1, 3, 8, 8], &[4, 3, 3, 3], Some(&[3]), plain, "bias");
    shape(&[1, 3, 8, 8], &[4, 3, 3, 3], Some(&[1, 4]), plain, "bias");
    shape(&[1, 3, 2, 8], &[4, 3, 3, 3], None, plain, "x");
    shape(&[1, 3, 8, 2], &[4, 3, 3, 3], None, plain, "x");
    shape(
        &[1, 3, 5, 5],
        &[4, 3, 3, 3],
        None,
        Conv2dConfig {
            dilation: (1, 3),
            ..plain
        },
        "x",
    );
    shape(
        &[1, 3, 0, 5],
        &[4, 3, 3, 3],
        None,
        Conv2dConfig {
            padding: (2, 2),
            ..plain
        },
        "x",
    );
    shape(&[1, 0, 5, 5], &[4, 0, 3, 3], None, plain, "x");
    shape(&[1, 3, 5, 5], &[4, 3, 0, 3], None, plain, "weight");
    shape(&[1, 3, 5, 5], &[0, 3, 3, 3], None, plain, "weight");
    setting(
        &[1, 3, 8, 8],
        &[4, 1, 3, 3],
        Conv2dConfig { groups: 2, ..plain },
    );
    setting(
        &[1, 4, 8, 8],
        &[3, 2, 3, 3],
        Conv2dConfig { groups: 2, ..plain },
    );
    setting(
        &[1, 3, 8, 8],
        &[4, 3, 3, 3],
        Conv2dConfig { groups: 0, ..plain },
    );
    setting(
        &[1, 3, 8, 8],
        &[4, 3, 3, 3],
        Conv2dConfig {
            stride: (0, 1),
            ..plain
        },
    );
    setting(
        &[1, 3, 8, 8],
        &[4, 3, 3, 3],
        Conv2dConfig {
            stride: (1, 0),
            ..plain
        },
    );
    setting(
        &[1, 3, 8, 8],
        &[4, 3, 3, 3],
        Conv2dConfig {
            dilation: (1, 0),
            ..plain
        },
    );
    setting(
        &[1, 3, 8, 8],
        &[4, 3, 3, 3],
        Conv2dConfig {
            padding: (usize::MAX / 2, 0),
            ..plain
        },
    );
    setting(
        &[1, 3, 8, 8],
        &[4, 3, 3, 3],
        Conv2dConfig {
            padding: (1 << 31, 1 << 31),
            ..plain
        },
    );
    setting(
        &[1, 3, 8, 8],
        &[4, 3, 3, 3],
        Conv2dConfig {
            dilation: (usize::MAX, 1),
            ..plain
        },
    );

    let mixed = conv2d(
        &t(&[1, 3, 8, 8]),
        &t(&[4, 3, 3, 3]).to_dtype(DType::F64).unwrap(),
        None,
        &plain,
    );
    assert!(
        matches!(
            mixed,
            Err(Error::Candle(
                candle_core::Error::DTypeMismatchBinaryOp { .. }
            ))
        ),
        "{mixed:?}"
    );
}
