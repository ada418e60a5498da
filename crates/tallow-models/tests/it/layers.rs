//! The layers by themselves, and what they tell the observer.
use crate::common;
use crate::common::{difference, floats};
use candle_core::{DType, Device, Tensor};
use tallow_models::nn::{
    AdaptiveAvgPool2d, Add, AvgPool2d, BasicBlock, BatchNorm2d, Conv2d, ConvOptions,
    ConvTranspose2d, Dropout, Flatten, Linear, MaxPool2d, PartialConv2d, Relu, Residual,
    ResidualOptions, Sequential, Shortcut, Tanh, WeightInit,
};
use tallow_models::{Context, Error, Model, ModelConfig, Module, Result};
use tallow_ops::{Layout, ParamStore, Pool2dConfig, to_layout};

fn store() -> ParamStore {
    ParamStore::new(DType::F64, &Device::Cpu, 0)
}

fn input() -> Tensor {
    common::wave((2, 4, 9, 8), 0., 0.01, 0.3)
}

/// One of each layer, one after another.
fn everything(store: &ParamStore) -> Result<Sequential> {
    let p = store.root();
    let strided = ConvOptions {
        stride: 2,
        padding: 1,
        groups: 2,
        bias: false,
        ..Default::default()
    };
    let overlapping = Pool2dConfig {
        stride: (1, 1),
        padding: (1, 1),
        ..Pool2dConfig::new(3)
    };
    Ok(Sequential::new()
        .add(Conv2d::with(p.pp("conv1"), 4, 6, 3, strided)?)
        .add(BatchNorm2d::new(p.pp("bn1"), 6)?)
        .add(Relu::new(p.pp("relu1")))
        .add(MaxPool2d::with(p.pp("pool"), overlapping))
        .add(AvgPool2d::new(p.pp("avg"), 2))
        .add(Tanh::new(p.pp("tanh")))
        .add(Dropout::new(p.pp("drop"), 0.5))
        .add(AdaptiveAvgPool2d::new(p.pp("avgpool"), (1, 2)))
        .add(Flatten::new(p.pp("flatten")))
        .add(Linear::new(p.pp("fc"), 12, 3)?))
}

#[test]
fn the_observer_hears_of_every_leaf_in_order() {
    let expected: [(&str, &str, &[usize], usize, u64); 10] = [
        // 6 maps of 5 x 4, each from 2 maps by 3 x 3.
        ("conv1", "Conv2d", &[6, 5, 4], 6 * 2 * 9, 6 * 2 * 9 * 20),
        ("bn1", "BatchNorm2d", &[6, 5, 4], 12, 0),
        ("relu1", "ReLU", &[6, 5, 4], 0, 0),
        ("pool", "MaxPool2d", &[6, 5, 4], 0, 0),
        ("avg", "AvgPool2d", &[6, 2, 2], 0, 0),
        ("tanh", "Tanh", &[6, 2, 2], 0, 0),
        ("drop", "Dropout", &[6, 2, 2], 0, 0),
        ("avgpool", "AdaptiveAvgPool2d", &[6, 1, 2], 0, 0),
        ("flatten", "Flatten", &[12], 0, 0),
        ("fc", "Linear", &[3], 39, 36),
    ];
    for layout in [Layout::Nchw, Layout::Nhwc] {
        let net = everything(&store()).unwrap();
        let mut heard = Vec::new();
        let mut observer = |l: &tallow_models::LayerOutput| {
            heard.push((
                l.name.to_string(),
                l.kind,
                l.output_shape(),
                l.parameters,
                l.multiply_adds,
            ));
        };
        let x = to_layout(&input(), Layout::Nchw, layout).unwrap();
        let y = net
            .forward(&x, &mut Context::observed(true, layout, &mut observer))
            .unwrap();
        assert_eq!(y.dims(), [2, 3]);
        assert_eq!(heard.len(), expected.len());
        for (heard, (name, kind, shape, parameters, multiply_adds)) in
            heard.into_iter().zip(expected)
        {
            assert_eq!(
                heard,
                (
                    name.to_string(),
                    kind,
                    shape.to_vec(),
                    parameters,
                    multiply_adds
                )
            );
        }
    }
}

#[test]
fn both_layouts_agree() {
    for train in [false, true] {
        let run = |layout| {
            let x = to_layout(&input(), Layout::Nchw, layout).unwrap();
            // Dropout's mask follows the memory, so it is left out in training.
            let store = store();
            let p = store.root();
            let net = Sequential::new()
                .add(Conv2d::new(p.pp("conv"), 4, 6, 3).unwrap())
                .add(BatchNorm2d::new(p.pp("bn"), 6).unwrap())
                .add(MaxPool2d::new(p.pp("max"), 2))
                .add(AvgPool2d::new(p.pp("avg"), 2))
                .add(AdaptiveAvgPool2d::new(p.pp("to"), (3, 2)))
                .add(Flatten::new(p.pp("flatten")));
            floats(&net.forward(&x, &mut Context::new(train, layout)).unwrap())
        };
        assert!(difference(&run(Layout::Nhwc), &run(Layout::Nchw)) < 1e-12);
    }
}

#[test]
fn evaluation_changes_nothing_and_is_the_same_each_time() {
    let store = store();
    let net = everything(&store).unwrap();
    let values = || {
        let state = store.state_dict().unwrap();
        state
            .iter()
            .map(|(name, t)| (name.clone(), floats(t)))
            .collect::<Vec<_>>()
    };
    let (before, position) = (values(), store.generator().state());
    let run = |train| {
        floats(
            &net.forward(&input(), &mut Context::new(train, Layout::Nchw))
                .unwrap(),
        )
    };
    assert_eq!(run(false), run(false));
    assert_eq!(values(), before);
    assert_eq!(store.generator().state(), position);
    // Training draws a new mask and moves the statistics.
    assert_ne!(run(true), run(true));
    assert_ne!(values(), before);
    assert_ne!(store.generator().state(), position);
}

#[test]
fn dropout_draws_from_the_stores_stream() {
    let run = |seed| {
        let store = ParamStore::new(DType::F64, &Device::Cpu, seed);
        let drop = Dropout::new(store.root().pp("drop"), 0.25);
        let x = Tensor::ones((100, 100), DType::F64, &Device::Cpu).unwrap();
        floats(
            &drop
                .forward(&x, &mut Context::new(true, Layout::Nchw))
                .unwrap(),
        )
    };
    let first = run(1);
    assert_eq!(first, run(1));
    assert_ne!(first, run(2));
    assert!(
        first
            .iter()
            .all(|v| *v == 0. || (*v - 4. / 3.).abs() < 1e-15)
    );
    let kept = first.iter().filter(|v| **v != 0.).count();
    // Five standard deviations of a binomial.
    assert!((7284..7717).contains(&kept), "{kept}");
    let store = store();
    let drop = Dropout::new(store.root(), 1.);
    assert!(
        drop.forward(&input(), &mut Context::new(true, Layout::Nchw))
            .is_err()
    );
}

#[test]
fn impossible_layers_are_refused() {
    let s = store();
    let p = s.root();
    let grouped = |groups| ConvOptions {
        groups,
        ..Default::default()
    };
    for groups in [0, 3, 4] {
        let error = Conv2d::with(p.pp(groups), 4, 6, 3, grouped(groups)).unwrap_err();
        assert!(
            error
                .to_string()
                .contains(&format!("{groups} groups do not divide")),
            "{error}"
        );
    }
    for error in [
        Conv2d::new(p.pp("a"), 0, 6, 3).unwrap_err(),
        Linear::new(p.pp("a"), 0, 6).unwrap_err(),
    ] {
        assert!(matches!(&error, Error::Layer { layer, .. } if layer == "a"));
    }
    assert_eq!(s.state_dict().unwrap().len(), 0);
    Linear::new(p.pp("c"), 2, 2).unwrap();
    assert!(Conv2d::new(p.pp("d"), 4, 6, 0).is_err());
    let init = WeightInit::default();
    for table in [&[][..], &[&[0, 4][..]], &[&[0][..], &[]]] {
        let error = PartialConv2d::new(p.pp("e"), 4, table, 3, 1, true, init).unwrap_err();
        assert!(
            error.to_string().contains("has some of 4 input channels"),
            "{error}"
        );
    }
    let error = ConvTranspose2d::with(p.pp("f"), 4, 6, 3, grouped(2)).unwrap_err();
    assert!(error.to_string().contains("one group"), "{error}");
    let taken = Linear::new(p.pp("c"), 2, 2).unwrap_err();
    assert!(taken.to_string().contains("c.weight"), "{taken}");
}

#[test]
fn features_can_be_taken_from_inside() {
    let model = Model::build("cnn", &ModelConfig::new(10, (1, 28, 28))).unwrap();
    let images = common::images(&model, 3, 0, DType::F32);
    let mut features = None;
    let mut observer = |layer: &tallow_models::LayerOutput| {
        if layer.name == "relu3" {
            features = Some(layer.output.clone());
        }
    };
    let logits = model
        .forward_observed(&images, false, &mut observer)
        .unwrap();
    let features = features.unwrap();
    assert_eq!(features.dims(), [3, 50]);
    let state = model.store().parameters();
    let find = |name: &str| {
        state
            .iter()
            .find(|(n, _)| n == name)
            .unwrap()
            .1
            .as_tensor()
            .clone()
    };
    let head = features.matmul(&find("fc2.weight").t().unwrap()).unwrap();
    let expected = head.broadcast_add(&find("fc2.bias")).unwrap();
    assert!(difference(&floats(&logits), &floats(&expected)) < 1e-6);
}

/// Gives a tensor of its own, whatever it gets.
struct Fixed(Tensor);

impl Module for Fixed {
    fn forward(&self, _: &Tensor, _: &mut Context) -> Result<Tensor> {
        Ok(self.0.clone())
    }
}

/// `relu(norm(conv(x)) + shortcut)`, observed or not, in both layouts and both modes, is that of its parts one by one.
#[test]
fn a_block_ends_by_adding_the_shortcut() {
    for layout in [Layout::Nchw, Layout::Nhwc] {
        for train in [false, true] {
            let parts = |store: &ParamStore| {
                let p = store.root();
                let conv = Conv2d::new(p.pp("conv"), 4, 6, 3).unwrap();
                let norm = BatchNorm2d::new(p.pp("bn"), 6).unwrap();
                (conv, norm, Add::new(p.pp("add")), Relu::new(p.pp("relu")))
            };
            let x = to_layout(&input(), Layout::Nchw, layout).unwrap();
            let shortcut = common::wave((2, 6, 7, 6), 1., 0.02, 0.2);
            let shortcut = to_layout(&shortcut, Layout::Nchw, layout).unwrap();
            let (apart, together, observed) = (store(), store(), store());

            let (conv, norm, _, _) = parts(&apart);
            let cx = &mut Context::new(train, layout);
            let y = norm.forward(&conv.forward(&x, cx).unwrap(), cx).unwrap();
            let expected = (y + &shortcut).unwrap().relu().unwrap();

            let block = |store: &ParamStore| {
                let (conv, norm, add, relu) = parts(store);
                let body = Sequential::new().add(conv).add(norm);
                let shortcut = Sequential::new().add(Fixed(shortcut.clone()));
                Residual::new(body, shortcut, add, Some(relu))
            };
            let mut operators = Vec::new();
            let cx = &mut Context::recording(train, layout, &mut operators);
            let y = block(&together).forward(&x, cx).unwrap();
            assert!(difference(&floats(&y), &floats(&expected)) < 1e-12);
            let operators: Vec<String> = operators.iter().map(ToString::to_string).collect();
            assert_eq!(
                operators.join("; "),
                if train {
                    "Conv2d: conv; BatchNorm2d + Add + ReLU: bn, add, relu"
                } else {
                    "Conv2d + BatchNorm2d + Add + ReLU: conv, bn, add, relu"
                }
            );

            let mut names = Vec::new();
            let mut observer = |l: &tallow_models::LayerOutput| names.push(l.name.to_string());
            let cx = &mut Context::observed(train, layout, &mut observer);
            let y = block(&observed).forward(&x, cx).unwrap();
            assert!(difference(&floats(&y), &floats(&expected)) < 1e-12);
            assert_eq!(names, ["conv", "bn", "add", "relu"]);
            for other in [together, observed] {
                for ((name, a), (_, b)) in apart.buffers().iter().zip(other.buffers()) {
                    assert!(difference(&floats(&b), &floats(a)) < 1e-12, "{name}");
                }
            }
        }
    }
}

#[test]
fn a_shortcut_without_parameters_takes_every_other_pixel_and_adds_empty_maps() {
    for layout in [Layout::Nchw, Layout::Nhwc] {
        let store = store();
        let options = ResidualOptions {
            stride: 2,
            shortcut: Shortcut::ZeroPad,
            shortcut_name: "shortcut",
            ..Default::default()
        };
        let block = BasicBlock::new(&store.root(), 4, 10, &options).unwrap();
        let mut seen = None;
        let mut observer = |l: &tallow_models::LayerOutput| {
            if l.name == "shortcut" {
                seen = Some(to_layout(l.output, l.layout, Layout::Nchw).unwrap());
            }
        };
        let x = to_layout(&input(), Layout::Nchw, layout).unwrap();
        let y = block
            .forward(&x, &mut Context::observed(false, layout, &mut observer))
            .unwrap();
        assert_eq!(
            to_layout(&y, layout, Layout::Nchw).unwrap().dims(),
            [2, 10, 5, 4]
        );
        let (seen, x) = (seen.unwrap(), input());
        assert_eq!(seen.dims(), [2, 10, 5, 4]);
        let seen: Vec<Vec<Vec<Vec<f64>>>> = (0..2)
            .map(|n| seen.get(n).unwrap().to_vec3().unwrap())
            .collect();
        let x: Vec<Vec<Vec<Vec<f64>>>> = (0..2)
            .map(|n| x.get(n).unwrap().to_vec3().unwrap())
            .collect();
        for n in 0..2 {
            for c in 0..10 {
                for h in 0..5 {
                    for w in 0..4 {
                        let expected = if (3..7).contains(&c) {
                            x[n][c - 3][2 * h][2 * w]
                        } else {
                            0.
                        };
                        assert_eq!(seen[n][c][h][w], expected, "{n} {c} {h} {w}");
                    }
                }
            }
        }
    }
}

/// Each map sees only those of its table, and weights lie map by map: against convolutions of the maps that are seen.
#[test]
fn partial_convolutions_see_what_their_table_says() {
    let table: [&[usize]; 3] = [&[1], &[0, 2, 3], &[3, 0]];
    for layout in [Layout::Nchw, Layout::Nhwc] {
        let store = store();
        let conv = PartialConv2d::new(
            store.root().pp("c"),
            4,
            &table,
            3,
            2,
            true,
            WeightInit::default(),
        )
        .unwrap();
        let parameters = store.parameters();
        assert_eq!(parameters[0].1.dims(), [6, 3, 3]);
        parameters[1].1.set(&common::wave(3, 0.5, 0., 1.)).unwrap();
        let x = to_layout(&input(), Layout::Nchw, layout).unwrap();
        let y = conv.forward(&x, &mut Context::new(true, layout)).unwrap();
        let y = to_layout(&y, layout, Layout::Nchw).unwrap();
        let mut at = 0;
        for (o, maps) in table.iter().enumerate() {
            let seen: Vec<Tensor> = maps
                .iter()
                .map(|m| input().narrow(1, *m, 1).unwrap())
                .collect();
            let weight = parameters[0]
                .1
                .narrow(0, at, maps.len())
                .unwrap()
                .unsqueeze(0)
                .unwrap();
            at += maps.len();
            let config = tallow_ops::Conv2dConfig {
                stride: (2, 2),
                ..Default::default()
            };
            let bias = parameters[1].1.narrow(0, o, 1).unwrap();
            let expected = tallow_ops::conv2d(
                &Tensor::cat(&seen, 1).unwrap(),
                &weight,
                Some(&bias),
                &config,
            )
            .unwrap();
            let ours = y.narrow(1, o, 1).unwrap();
            assert!(
                difference(&floats(&ours), &floats(&expected)) < 1e-12,
                "{layout:?} {o}"
            );
        }
    }
}
