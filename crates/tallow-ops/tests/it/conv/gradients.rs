//! Gradients are the slopes of the values.

use candle_core::DType;
use tallow_ops::{Conv2dConfig, Layout, conv2d, gradcheck, reference};

use super::case::{Convolution, case};

#[test]
fn gradients_agree_with_finite_differences() {
    let plain = Conv2dConfig::default();
    for layout in [Layout::Nchw, Layout::Nhwc] {
        for case in [
            case(
                [2, 2, 5, 6],
                3,
                (3, 2),
                Conv2dConfig {
                    layout,
                    padding: (1, 2),
                    ..plain
                },
            ),
            case(
                [2, 4, 5, 4],
                3,
                (2, 2),
                Conv2dConfig {
                    layout,
                    stride: (2, 1),
                    dilation: (1, 2),
                    groups: 2,
                    ..plain
                },
            ),
            case(
                [2, 3, 4, 5],
                2,
                (3, 3),
                Conv2dConfig {
                    layout,
                    stride: (1, 2),
                    padding: (1, 1),
                    groups: 3,
                    ..plain
                },
            ),
            case([2, 3, 3, 3], 2, (1, 1), Conv2dConfig { layout, ..plain }),
        ] {
            for f in [conv2d as Convolution, reference::conv2d] {
                let error = gradcheck::max_relative_error(
                    |t| f(&t[0], &t[1], t.get(2), &case.config),
                    &case.arguments(DType::F64),
                );
                let error = error.unwrap();
                assert!(error < 1e-8, "{error:e}: {case:?}");
            }
        }
    }
}
