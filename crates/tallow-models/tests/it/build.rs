//! The registry, configurations, and errors.
use crate::common;
use std::collections::HashSet;

use crate::common::{difference, fill, floats, pass};
use candle_core::{DType, Device, ModuleT, Tensor};
use tallow_models::nn::Shortcut;
use tallow_models::{
    Block, Error, Model, ModelConfig, ResNet, conv_head_to_linear, find, linear_head_to_conv,
    registry,
};
use tallow_ops::Layout;

const MNIST: (usize, usize, usize) = (1, 28, 28);
const CIFAR: (usize, usize, usize) = (3, 32, 32);

fn message(result: Result<Model, Error>) -> String {
    match result {
        Ok(model) => panic!("{} was built", model.name()),
        Err(error) => error.to_string(),
    }
}

#[test]
fn names_are_told_apart_and_described() {
    let names: HashSet<_> = registry().iter().map(|e| e.name()).collect();
    assert_eq!(names.len(), registry().len());
    for entry in registry() {
        assert_eq!(find(entry.name()).unwrap().name(), entry.name());
        assert!(!entry.description.is_empty());
    }
}

#[test]
fn unknown_names_suggest_the_nearest() {
    let config = ModelConfig::new(10, MNIST);
    for (asked, nearest) in [
        ("cifar_cnn", "cifar-cnn"),
        ("LeNet", "lenet"),
        ("vgg16_slim", "vgg16-slim"),
        ("ResNet-20", "resnet20"),
        ("vgg16_bn", "vgg16-bn"),
        ("wide_resnet50_2", "wide-resnet50-2"),
        ("mpl", "mlp"),
        ("cnn2", "cnn"),
    ] {
        let message = message(Model::build(asked, &config));
        assert!(
            message.contains(&format!("no model `{asked}` (did you mean `{nearest}`?)")),
            "{message}"
        );
        assert!(
            message.contains("the models are mlp, cnn, cifar-cnn, lenet, cifar-cnn-bn, "),
            "{message}"
        );
    }
    let message = message(Model::build("zzzz", &config));
    assert!(!message.contains("did you mean"), "{message}");
    assert!(matches!(
        find("zzzz"),
        Err(Error::UnknownModel { nearest: None, .. })
    ));
    assert_eq!(find("cnn").unwrap().name(), "cnn");
}

#[test]
fn settings_without_meaning_are_refused() {
    for (name, config, says) in [
        (
            "cnn",
            ModelConfig {
                hidden: Some(vec![3]),
                ..ModelConfig::new(10, MNIST)
            },
            "no hidden widths",
        ),
        (
            "mlp",
            ModelConfig {
                width_divisor: 2,
                ..ModelConfig::new(10, MNIST)
            },
            "no width_divisor",
        ),
        (
            "mlp",
            ModelConfig {
                hidden: Some(vec![3, 0]),
                ..ModelConfig::new(10, MNIST)
            },
            "width 0",
        ),
        ("mlp", ModelConfig::new(0, MNIST), "found 0 classes"),
        (
            "mlp",
            ModelConfig::new(10, (1, usize::MAX, 2)),
            "are too large",
        ),
        ("mlp", ModelConfig::new(10, (1, 0, 28)), "1 x 0 x 28"),
        (
            "mlp",
            ModelConfig {
                dtype: DType::U32,
                ..ModelConfig::new(10, MNIST)
            },
            "U32",
        ),
        (
            "cnn",
            ModelConfig::new(10, (1, 15, 28)),
            "images of 15 x 28 are too small: MaxPool2d `pool2` has no output for a map of 1 x 8; the network needs 16 x 16",
        ),
        (
            "lenet",
            ModelConfig::new(10, (3, 32, 3)),
            "images of 32 x 3 are too small: Conv2d `conv1` has no output for a map of 32 x 3; the network needs 16 x 16",
        ),
        (
            "vgg16-slim",
            ModelConfig::new(10, (3, 28, 28)),
            "images of 28 x 28 are too small: MaxPool2d `features.28` has no output for a map of 1 x 1; the network needs 32 x 32",
        ),
        (
            "vgg16-slim",
            ModelConfig {
                width_divisor: 3,
                ..ModelConfig::new(10, CIFAR)
            },
            "3 does not divide 64",
        ),
        (
            "resnet20",
            ModelConfig {
                dropout: Some(0.1),
                ..ModelConfig::new(10, CIFAR)
            },
            "no dropout",
        ),
        (
            "nin",
            ModelConfig {
                dropout: Some(1.),
                ..ModelConfig::new(10, CIFAR)
            },
            "dropout must be in [0, 1), not 1",
        ),
        (
            "resnet20",
            ModelConfig {
                width_divisor: 32,
                ..ModelConfig::new(10, CIFAR)
            },
            "32 does not divide 16",
        ),
        (
            "resnext50-32x4d",
            ModelConfig {
                width_divisor: 8,
                ..ModelConfig::new(10, CIFAR)
            },
            "a stage of 8 channels with width_per_group 4 has no whole number",
        ),
        (
            "resnet20-t",
            ModelConfig::new(10, (3, 36, 32)),
            "multiples of 8, not 36 x 32",
        ),
        (
            "lenet5-1998-rbf",
            ModelConfig::new(26, (1, 32, 32)),
            "codes for the ten digits, not for 26 classes",
        ),
        (
            "lenet5-1998",
            ModelConfig::new(10, MNIST),
            "images of 28 x 28 are too small: Conv2d `C5` has no output for a map of 4 x 4; the network needs 32 x 32",
        ),
        (
            "lenet5",
            ModelConfig::new(10, (1, 11, 28)),
            "images of 11 x 28 are too small: MaxPool2d `pool2` has no output for a map of 1 x 10; the network needs 12 x 12",
        ),
        (
            "vgg16-slim",
            ModelConfig {
                width_divisor: 0,
                ..ModelConfig::new(10, CIFAR)
            },
            "0 does not divide",
        ),
    ] {
        let message = message(Model::build(name, &config));
        assert!(
            message.starts_with(name) && message.contains(says),
            "`{says}` is not in `{message}`"
        );
    }
}

#[test]
fn other_inputs_and_classes() {
    for (name, shape, classes) in [
        ("mlp", (3, 7, 5), 2),
        ("cnn", (3, 32, 40), 100),
        ("cnn", (1, 16, 16), 1),
        ("cifar-cnn", (1, 28, 28), 47),
        ("lenet", (4, 64, 16), 3),
        ("lenet-1989", (2, 28, 15), 4),
        ("lenet5", (3, 12, 40), 10),
        ("lenet5-1998", (3, 40, 32), 12),
        ("lenet5-1998-rbf", (1, 33, 32), 7),
        ("nin", (1, 28, 28), 5),
        ("resnet20", (1, 28, 28), 3),
        ("resnet20-d", (3, 27, 30), 3),
        ("resnet20-t", (3, 40, 24), 3),
        ("preact-resnet20", (2, 9, 40), 3),
    ] {
        let model = Model::build(name, &ModelConfig::new(classes, shape)).unwrap();
        let (c, h, w) = shape;
        let logits = model.forward(
            &Tensor::zeros((2, c, h, w), DType::F32, &Device::Cpu).unwrap(),
            true,
        );
        assert_eq!(logits.unwrap().dims(), [2, classes], "{name}");
    }
    let config = ModelConfig {
        width_divisor: 16,
        ..ModelConfig::new(7, (2, 64, 96))
    };
    let model = Model::build("vgg16-slim", &config).unwrap();
    let images = Tensor::zeros((1, 2, 64, 96), DType::F32, &Device::Cpu).unwrap();
    assert_eq!(model.forward(&images, false).unwrap().dims(), [1, 7]);
    let none = ModelConfig {
        hidden: Some(vec![]),
        ..ModelConfig::new(10, MNIST)
    };
    assert_eq!(
        Model::build("mlp", &none).unwrap().store().num_parameters(),
        7850
    );
}

/// torchvision's heads average over fields of the map, 7 x 7 for VGG, or stretch a smaller map to them.
#[test]
fn large_heads_take_other_sizes() {
    for (name, shape) in [
        ("vgg11", (3, 32, 50)),
        ("vgg11", (1, 260, 230)),
        ("resnet18", (3, 33, 20)),
    ] {
        let config = ModelConfig {
            width_divisor: 16,
            ..ModelConfig::new(5, shape)
        };
        let model = Model::build(name, &config).unwrap();
        let images = common::images(&model, 2, 0, DType::F32);
        assert_eq!(model.forward(&images, true).unwrap().dims(), [2, 5]);
    }
}

#[test]
fn dropout_can_be_set() {
    let logits = |dropout, train| {
        let config = ModelConfig {
            width_divisor: 8,
            dropout,
            ..ModelConfig::new(10, CIFAR)
        };
        let model = Model::build("nin", &config).unwrap();
        let images = common::images(&model, 2, 0, DType::F32);
        floats(&model.forward(&images, train).unwrap())
    };
    assert_eq!(logits(Some(0.), true), logits(None, false));
    assert_eq!(logits(Some(0.5), true), logits(None, true));
    assert_ne!(logits(Some(0.25), true), logits(None, true));
    assert_ne!(logits(None, true), logits(None, false));
}

/// The two heads of network in network, each made of the other's state.
#[test]
fn heads_turn_into_each_other() {
    let build = |name, seed| {
        let config = ModelConfig {
            width_divisor: 8,
            seed,
            dtype: DType::F64,
            ..ModelConfig::new(10, CIFAR)
        };
        Model::build(name, &config).unwrap()
    };
    let (conv, linear) = (build("nin", 1), build("nin-fc", 2));
    let images = common::images(&conv, 4, 0, DType::F64);
    let run = |model: &Model| floats(&model.forward(&images, false).unwrap());
    let expected = run(&conv);
    assert!(difference(&run(&linear), &expected) > 0.1);
    let state = conv.store().state_dict().unwrap();
    let turned = conv_head_to_linear(&state, "classifier").unwrap();
    linear.store().load_state_dict(&turned, true).unwrap();
    assert!(difference(&run(&linear), &expected) < 1e-13);

    let back = linear_head_to_conv(&linear.store().state_dict().unwrap(), "classifier").unwrap();
    let again = build("nin", 3);
    again.store().load_state_dict(&back, true).unwrap();
    assert_eq!(run(&again), expected);

    for (result, says) in [
        (
            conv_head_to_linear(&turned, "classifier"),
            "expected the weight of a 1x1 convolution",
        ),
        (
            linear_head_to_conv(&state, "classifier"),
            "expected the weight of a linear layer",
        ),
        (
            conv_head_to_linear(&state, "features.0"),
            "found [24, 3, 5, 5]",
        ),
        (
            conv_head_to_linear(&state, "head"),
            "no head.weight in the state",
        ),
    ] {
        let message = result.unwrap_err().to_string();
        assert!(message.contains(says), "`{says}` is not in `{message}`");
    }
}

/// Codes are saved but not trained, and no two are alike.
#[test]
fn codes_of_digits_are_pictures_far_from_each_other() {
    let model = Model::build(
        "lenet5-1998-rbf",
        &find("lenet5-1998-rbf").unwrap().config().unwrap(),
    )
    .unwrap();
    let (name, codes) = model.store().buffers().remove(0);
    assert_eq!(
        (name.as_str(), codes.dims()),
        ("output.codes", &[10, 84][..])
    );
    let codes: Vec<Vec<f32>> = codes.to_vec2().unwrap();
    for (i, a) in codes.iter().enumerate() {
        assert!(a.iter().all(|v| v.abs() == 1.));
        for b in &codes[..i] {
            let differing = a.iter().zip(b).filter(|(a, b)| a != b).count();
            assert!(differing >= 8, "{i}: {differing} pixels");
        }
    }
}

/// A custom network has all that a model by name has.
#[test]
fn networks_of_ones_own_are_models() {
    let resnext = ResNet {
        groups: 2,
        width_per_group: 32,
        shortcut: Shortcut::ProjectionEverywhere,
        ..ResNet::torchvision_cifar(Block::Bottleneck, &[1, 2])
    };
    let config = ModelConfig {
        layout: Some(Layout::Nhwc),
        ..ModelConfig::new(4, (3, 16, 16))
    };
    let model =
        Model::from_network("mine", &config, |p, config| resnext.network(p, config)).unwrap();
    assert_eq!((model.name(), model.layout()), ("mine", Layout::Nhwc));
    let summary = model.summary().unwrap();
    let layer = |name: &str| summary.layers.iter().find(|l| l.name == name).unwrap();
    // 64 maps inside in two groups of 32.
    assert_eq!(layer("layer1.0.conv2").parameters, 64 * 32 * 9);
    assert_eq!(layer("layer2.1.downsample.0").parameters, 512 * 512);
    assert_eq!(layer("layer2.1.relu_2").output_shape, [512, 8, 8]);
    assert_eq!(summary.parameters, model.store().num_parameters());
    let wrong = model.forward(
        &Tensor::zeros((1, 1, 16, 16), DType::F32, &Device::Cpu).unwrap(),
        false,
    );
    assert!(
        wrong
            .unwrap_err()
            .to_string()
            .starts_with("mine: takes a batch")
    );
}

#[test]
fn wrong_inputs_are_refused_in_words() {
    let model = Model::build("cnn", &ModelConfig::new(10, MNIST)).unwrap();
    let takes = "cnn: takes a batch of one or more images, (N, 1, 28, 28), F32 on Cpu, got ";
    for (dims, dtype, found) in [
        (vec![2, 3, 32, 32], DType::F32, "[2, 3, 32, 32], F32 on Cpu"),
        (vec![2, 28, 28, 1], DType::F32, "[2, 28, 28, 1], F32 on Cpu"),
        (vec![1, 28, 28], DType::F32, "[1, 28, 28], F32 on Cpu"),
        (vec![784], DType::F32, "[784], F32 on Cpu"),
        (vec![], DType::F32, "[], F32 on Cpu"),
        (vec![0, 1, 28, 28], DType::F32, "[0, 1, 28, 28], F32 on Cpu"),
        (vec![2, 1, 28, 28], DType::U8, "[2, 1, 28, 28], U8 on Cpu"),
        (vec![2, 1, 28, 28], DType::F64, "[2, 1, 28, 28], F64 on Cpu"),
    ] {
        let images = Tensor::zeros(dims, dtype, &Device::Cpu).unwrap();
        let error = model.forward(&images, true).unwrap_err();
        assert!(matches!(error, Error::Input { .. }));
        assert_eq!(error.to_string(), format!("{takes}{found}"));
        let through_candle = model.forward_t(&images, true).unwrap_err();
        assert!(
            through_candle.to_string().contains(found),
            "{through_candle}"
        );
    }
}

#[test]
fn both_layouts_give_the_same_logits_and_gradients() {
    // Of the others `pytorch.rs` compares each layout with the same figures.
    for name in ["mlp", "cnn", "cifar-cnn", "lenet", "vgg16-slim"] {
        let entry = find(name).unwrap();
        for (dtype, tolerance) in [(DType::F64, 1e-10), (DType::F32, 2e-5)] {
            for train in [false, true] {
                let run = |layout| {
                    let config = ModelConfig {
                        layout: Some(layout),
                        dtype,
                        ..common::small(entry)
                    };
                    let model = Model::build(entry.name(), &config).unwrap();
                    assert_eq!(model.layout(), layout);
                    fill(&model, 0.);
                    let (logits, _, gradients) = pass(&model, 8, 0, dtype, train);
                    let mut all = vec![("logits".to_string(), floats(&logits))];
                    for (name, var) in model.store().parameters() {
                        all.push((name, floats(gradients.get(&var).unwrap())));
                    }
                    all
                };
                let (first, last) = (run(Layout::Nchw), run(Layout::Nhwc));
                for ((name, a), (_, b)) in first.iter().zip(&last) {
                    // Batch norm takes the bias before it away again: its gradient is zero but for rounding.
                    if common::norm(a) < 1e-5 * common::norm(&first[1].1) {
                        continue;
                    }
                    let error = difference(b, a);
                    assert!(
                        error < tolerance,
                        "{} {name} {dtype:?} train {train}: {error}",
                        entry.name()
                    );
                }
            }
        }
    }
}

#[test]
fn weights_go_through_a_file_into_either_layout() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let config = ModelConfig {
        width_divisor: 16,
        ..ModelConfig::new(10, CIFAR)
    };
    let source = Model::build("vgg16-slim", &config).unwrap();
    let images = common::images(&source, 4, 0, DType::F32);
    source.forward(&images, true).unwrap();
    source.store().save(&path).unwrap();
    let target = Model::build(
        "vgg16-slim",
        &ModelConfig {
            seed: 1,
            layout: Some(Layout::Nhwc),
            ..config
        },
    )
    .unwrap();
    let run = |model: &Model| floats(&model.forward(&images, false).unwrap());
    assert!(difference(&run(&target), &run(&source)) > 0.1);
    target.store().load(&path, true).unwrap();
    assert!(difference(&run(&target), &run(&source)) < 1e-5);
}
