//! `Sequential` and its builder: fusion in a custom network, names, shapes and errors.

use candle_core::{DType, Device, Tensor};
use tallow_models::nn::{
    BatchNorm2d, Conv2d, ConvOptions, MaxPool2d, Relu, ResidualOptions, Sequential,
    SequentialBuilder,
};
use tallow_models::{Context, Error, Module};
use tallow_ops::{
    Conv2dConfig, Layout, Norm, ParamStore, Pool2dConfig, conv_bn_relu_eval, conv_bn_relu_train,
    conv_relu, to_layout,
};

use crate::common::{floats, wave};

fn store() -> ParamStore {
    ParamStore::new(DType::F32, &Device::Cpu, 1)
}

fn input(layout: Layout) -> Tensor {
    let x = wave((5, 3, 12, 12), 0., 0.01, 0.3).to_dtype(DType::F32);
    to_layout(&x.unwrap(), Layout::Nchw, layout).unwrap()
}

fn operators(net: &Sequential, train: bool, layout: Layout) -> (Tensor, Vec<String>) {
    let mut operators = Vec::new();
    let cx = &mut Context::recording(train, layout, &mut operators);
    let y = net.forward(&input(layout), cx).unwrap();
    (y, operators.iter().map(ToString::to_string).collect())
}

/// A custom network has the bits of the joint operator, called directly.
#[test]
fn convolution_norm_relu_and_pooling_are_one_operator() {
    for train in [true, false] {
        let (ours, direct) = (store(), store());
        let p = ours.root();
        let net = Sequential::new()
            .add(Conv2d::new(p.pp("conv"), 3, 8, 3).unwrap())
            .add(BatchNorm2d::new(p.pp("bn"), 8).unwrap())
            .add(Relu::new(p.pp("relu")))
            .add(MaxPool2d::new(p.pp("pool"), 2));
        let (y, found) = operators(&net, train, Layout::Nhwc);
        assert_eq!(
            found,
            ["Conv2d + BatchNorm2d + ReLU + MaxPool2d: conv, bn, relu, pool"]
        );

        Conv2d::new(direct.root().pp("conv"), 3, 8, 3).unwrap();
        BatchNorm2d::new(direct.root().pp("bn"), 8).unwrap();
        let (parameters, buffers) = (direct.parameters(), direct.buffers());
        let norm = Norm {
            weight: &parameters[2].1,
            bias: &parameters[3].1,
            running_mean: &buffers[0].1,
            running_var: &buffers[1].1,
            config: tallow_ops::BatchNormConfig {
                layout: Layout::Nhwc,
                ..Default::default()
            },
        };
        let block = if train {
            conv_bn_relu_train
        } else {
            conv_bn_relu_eval
        };
        let config = Conv2dConfig {
            layout: Layout::Nhwc,
            ..Default::default()
        };
        let (weight, bias) = (&parameters[0].1, &parameters[1].1);
        let expected = block(
            &input(Layout::Nhwc),
            weight,
            Some(bias),
            norm,
            &config,
            true,
        );
        assert_eq!(floats(&y), floats(&expected.unwrap()));
        for ((name, a), (_, b)) in ours.buffers().iter().zip(&buffers) {
            let counted = name.ends_with("num_batches_tracked");
            assert!(counted || floats(a) == floats(b), "{name}");
        }
        assert_eq!(floats(&ours.buffers()[2].1), [f64::from(u8::from(train))]);
    }
}

#[test]
fn convolution_relu_and_pooling_are_one_operator_with_channels_first() {
    let store = store();
    let net = Sequential::build(&store.root(), (3, 12, 12))
        .conv2d("conv", 8, 3)
        .relu()
        .max_pool2d(2)
        .finish()
        .unwrap();
    let (y, found) = operators(&net, true, Layout::Nchw);
    assert_eq!(found, ["Conv2d + ReLU + MaxPool2d: conv, relu1, pool1"]);
    let parameters = store.parameters();
    let (weight, bias) = (&parameters[0].1, &parameters[1].1);
    let config = Conv2dConfig::default();
    let expected = conv_relu(&input(Layout::Nchw), weight, Some(bias), &config, true);
    assert_eq!(floats(&y), floats(&expected.unwrap()));

    let (_, found) = operators(&net, true, Layout::Nhwc);
    assert_eq!(found, ["Conv2d: conv", "ReLU: relu1", "MaxPool2d: pool1"]);
}

/// Layers that only look like a pattern are left alone, and a `Sequential` inside another, boxed or not, is no border.
#[test]
fn only_layers_with_a_joint_operator_are_fused() {
    let overlapping = Pool2dConfig {
        stride: (2, 2),
        ..Pool2dConfig::new(3)
    };
    let store = store();
    let p = store.root();
    let conv = |name, inputs| {
        let padded = ConvOptions {
            padding: 1,
            ..Default::default()
        };
        Conv2d::with(p.pp(name), inputs, 4, 3, padded).unwrap()
    };
    let norm = |name| BatchNorm2d::new(p.pp(name), 4).unwrap();
    let relu = |name| Relu::new(p.pp(name));
    let nested: Box<dyn Module> = Box::new(Sequential::new().add(conv("c", 4)).add(norm("n")));
    let net = Sequential::new()
        .add(relu("r0"))
        .add(conv("a", 3))
        .add(conv("b", 4))
        .add(relu("r1"))
        .add(MaxPool2d::with(p.pp("p1"), overlapping))
        .add(nested)
        .add(Sequential::new().add(relu("r2")))
        .add(relu("r3"))
        .add(MaxPool2d::new(p.pp("p2"), 2))
        .add(conv("d", 4))
        .add(norm("m"))
        .add(MaxPool2d::new(p.pp("p3"), 2));
    let common = [
        "ReLU: r0",
        "Conv2d: a",
        "Conv2d + ReLU: b, r1",
        "MaxPool2d: p1",
        "Conv2d + BatchNorm2d + ReLU: c, n, r2",
        "ReLU: r3",
        "MaxPool2d: p2",
    ];
    let (_, found) = operators(&net, true, Layout::Nchw);
    assert_eq!(found[..7], common);
    assert_eq!(found[7..], ["Conv2d: d", "BatchNorm2d: m", "MaxPool2d: p3"]);
    let (fused, found) = operators(&net, false, Layout::Nchw);
    assert_eq!(found[..7], common);
    assert_eq!(found[7..], ["Conv2d + BatchNorm2d: d, m", "MaxPool2d: p3"]);

    let mut names = Vec::new();
    let mut observer = |l: &tallow_models::LayerOutput| names.push(l.name.to_string());
    let cx = &mut Context::observed(false, Layout::Nchw, &mut observer);
    let one_by_one = net.forward(&input(Layout::Nchw), cx).unwrap();
    assert_eq!(
        names,
        [
            "r0", "a", "b", "r1", "p1", "c", "n", "r2", "r3", "p2", "d", "m", "p3"
        ]
    );
    assert!(crate::common::difference(&floats(&fused), &floats(&one_by_one)) < 1e-5);
}

#[test]
fn an_empty_sequence_returns_its_input() {
    let net = Sequential::new();
    assert!(net.is_empty());
    let (y, found) = operators(&net, true, Layout::Nchw);
    assert_eq!(floats(&y), floats(&input(Layout::Nchw)));
    assert!(found.is_empty());
}

fn names(net: impl FnOnce(SequentialBuilder) -> SequentialBuilder) -> Vec<String> {
    let store = store();
    let built = net(Sequential::build(&store.root(), (3, 12, 12)));
    let shape = built.shape().to_vec();
    let net = built.finish().unwrap();
    let mut names = Vec::new();
    let mut last = Vec::new();
    let mut observer = |l: &tallow_models::LayerOutput| {
        names.push(l.name.to_string());
        last = l.output_shape();
    };
    let cx = &mut Context::observed(true, Layout::Nchw, &mut observer);
    net.forward(&input(Layout::Nchw), cx).unwrap();
    // The shape inferred is the shape computed.
    assert_eq!(shape, last);
    names
}

#[test]
fn names_and_shapes_follow_from_the_place() {
    let found = names(|net| {
        net.conv2d(None, 4, 3)
            .batch_norm2d(None)
            .relu()
            .avg_pool2d(2)
            .conv2d("second", 4, 3)
            .tanh()
            .named("other")
            .relu()
            .max_pool2d(2)
            .dropout(0.5)
            .flatten()
            .linear(None, 7)
            .relu()
            .linear("last".to_string(), 2)
    });
    assert_eq!(
        found.join(" "),
        "conv1 bn1 relu1 pool1 second tanh1 other pool2 dropout1 flatten fc1 relu2 last"
    );
    let found = names(|net| {
        net.sequential("features", |net| {
            net.conv2d(None, 4, 3).relu().sequential(None, |net| {
                net.conv2d(None, 4, 3).batch_norm2d("norm").relu()
            })
        })
        .sequential("more", |net| {
            net.max_pool2d_with(Pool2dConfig::new(3)).tanh()
        })
        .constant_pad2d(1, 0.5)
        .basic_block(
            "block",
            6,
            &ResidualOptions {
                stride: 2,
                ..Default::default()
            },
        )
        .adaptive_avg_pool2d(1, 2)
        .layer("own", |p, shape| Ok((Relu::new(p), shape.to_vec())))
        .flatten()
        .linear(None, 3)
    });
    assert_eq!(
        found.join(" "),
        "features.0 features.1 features.2.0 features.2.norm features.2.2 more.0 more.1 pad1 block.conv1 block.bn1 block.relu \
         block.downsample.0 block.downsample.1 block.conv2 block.bn2 block.add block.relu_1 avgpool own flatten fc1"
    );
}

#[test]
fn the_first_error_names_the_layer() {
    type Build = fn(SequentialBuilder) -> SequentialBuilder;
    let cases: [(Build, &str); 7] = [
        (
            |net| net.linear("fc", 10),
            "Linear `fc`: expected features (F), found (C, H, W) of [3, 12, 12]; flatten first",
        ),
        (
            |net| net.flatten().conv2d("conv", 4, 3).linear("fc", 10),
            "Conv2d `conv`: expected feature maps (C, H, W), found features [432]",
        ),
        (
            |net| net.conv2d("conv", 4, 0),
            "Conv2d `conv`: expected a kernel, stride and dilation of at least 1, found 0",
        ),
        (
            |net| {
                net.conv2d("a", 4, 9)
                    .relu()
                    .max_pool2d(5)
                    .conv2d("b", 4, 3)
                    .max_pool2d(2)
            },
            "images of 12 x 12 are too small: MaxPool2d `pool1` has no output for a map of 4 x 4; the network needs 28 x 28",
        ),
        (
            |net| {
                net.conv2d("a", 4, 13)
                    .adaptive_avg_pool2d(3, 3)
                    .conv2d("b", 4, 3)
            },
            "Conv2d `a` has no output for a map of 12 x 12; the network needs 13 x 13",
        ),
        (
            // Nothing is known about a custom layer that comes later.
            |net| {
                net.conv2d("a", 4, 13)
                    .layer("own", |p, shape| Ok((Relu::new(p), shape.to_vec())))
            },
            "Conv2d `a` has no output for a map of 12 x 12",
        ),
        (
            |net| {
                net.layer("own", |_, _| -> tallow_models::Result<(Relu, _)> {
                    Err(Error::Config {
                        message: "own words".into(),
                    })
                })
                .conv2d("a", 4, 13)
            },
            "own words",
        ),
    ];
    let message = |build: Build| {
        let store = store();
        let net = build(Sequential::build(&store.root(), (3, 12, 12)));
        net.finish().err().unwrap().to_string()
    };
    for (build, says) in cases {
        let message = message(build);
        assert!(message.ends_with(says), "{message}");
    }
    let taken = message(|net| net.conv2d("a", 4, 3).conv2d("a", 4, 3));
    assert!(taken.contains("a.weight"), "{taken}");
}
