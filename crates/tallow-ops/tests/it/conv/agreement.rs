//! Kernels and reference agree over random shapes, strides, paddings, dilations, groups, layouts and views.

use proptest::prelude::*;
use tallow_ops::{Conv2dConfig, Layout};

use super::case::{Case, assert_agrees};

fn pair(range: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = (usize, usize)> {
    (range.clone(), range)
}

/// Convolutions of few channels.
fn narrow() -> impl Strategy<Value = (Case, bool)> {
    let channels = (
        1usize..6,
        prop_oneof![3 => Just(1), 2 => 2usize..5],
        1usize..6,
        1usize..10,
    );
    let depthwise = (1usize..4, 2usize..9, Just(1), 1usize..4);
    cases(prop_oneof![3 => channels, 1 => depthwise], 13)
}

/// Convolutions of channels enough for whole vectors, Winograd's filtering and several panels.
fn wide() -> impl Strategy<Value = (Case, bool)> {
    let groups = prop_oneof![3 => Just(1), 1 => 2usize..4];
    cases((1usize..5, groups, 8usize..50, 8usize..50), 10)
}

/// Cases of (images, groups, input and output channels of a group) on maps up to `largest`, and whether on views.
fn cases(
    channels: impl Strategy<Value = (usize, usize, usize, usize)>,
    largest: usize,
) -> impl Strategy<Value = (Case, bool)> {
    let stride = prop_oneof![2 => Just((1, 1)), 1 => pair(1..=3)];
    let dilation = prop_oneof![2 => Just((1, 1)), 1 => pair(1..=3)];
    let kernel = prop_oneof![1 => Just((1, 1)), 1 => Just((3, 3)), 3 => pair(1..=6)];
    let settings = (stride, pair(0..=3), dilation, any::<bool>());
    let case = (
        channels,
        pair(1..=largest),
        kernel,
        settings,
        any::<bool>(),
        any::<bool>(),
    );
    let case = case.prop_map(
        |((batch, groups, group_in, group_out), size, kernel, settings, bias, view)| {
            let (stride, padding, dilation, nhwc) = settings;
            let layout = if nhwc { Layout::Nhwc } else { Layout::Nchw };
            let config = Conv2dConfig {
                stride,
                padding,
                dilation,
                groups,
                layout,
            };
            (
                Case {
                    batch,
                    group_in,
                    group_out,
                    size,
                    kernel,
                    bias,
                    config,
                },
                view,
            )
        },
    );
    case.prop_filter("the kernel must fit", |(case, _)| case.valid())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn few_channels((case, view) in narrow()) {
        assert_agrees(&case, view);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn many_channels((case, view) in wide()) {
        assert_agrees(&case, view);
    }
}
