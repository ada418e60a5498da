//! Layers of torchvision's later networks: stochastic depth, layer norm, squeeze-and-excite, layer scale, and identity convolutions.
use candle_core::{DType, Device, Tensor, Var};
use tallow_models::nn::{
    Activation, ActivationKind, Conv2d, ConvOptions, LayerNorm, LayerScale, Linear, Sequential,
    SqueezeExcite, StochasticDepth, WeightInit,
};
use tallow_models::{Context, Model, Module, find};
use tallow_ops::{Layout, ParamStore, to_layout};

use crate::common::{difference, floats, images, small, wave};

fn store() -> ParamStore {
    ParamStore::new(DType::F64, &Device::Cpu, 3)
}

#[test]
fn stochastic_depth_drops_whole_images_and_keeps_the_mean() {
    let store = store();
    let layer = StochasticDepth::new(store.root().pp("sd"), 0.25).unwrap();
    let n = 4000;
    let x = Tensor::ones((n, 2, 1, 3), DType::F64, &Device::Cpu).unwrap();
    let forward = |train| {
        let mut cx = Context::new(train, Layout::Nchw);
        layer.forward(&x, &mut cx).unwrap()
    };
    assert_eq!(floats(&forward(false)), floats(&x));
    let before = store.generator().state();
    let y = forward(true);
    let rows = floats(&y);
    let mut kept = 0;
    for row in rows.chunks(6) {
        assert!(row.iter().all(|value| *value == row[0]));
        assert!(
            row[0] == 0. || (row[0] - 1. / 0.75).abs() < 1e-15,
            "{}",
            row[0]
        );
        kept += usize::from(row[0] != 0.);
    }
    // Four standard deviations of a binomial of 4,000 draws at 0.75.
    assert!(
        (kept as f64 - 3000.).abs() < 4. * (n as f64 * 0.75 * 0.25).sqrt(),
        "{kept}"
    );
    assert_ne!(floats(&forward(true)), rows);
    // A checkpoint restores the generator, and with it the draws.
    store.generator().set_state(&before);
    assert_eq!(floats(&forward(true)), rows);
}

#[test]
fn stochastic_depth_at_its_ends() {
    let store = store();
    let x = Tensor::ones((3, 2), DType::F64, &Device::Cpu).unwrap();
    let run = |probability| {
        let layer = StochasticDepth::new(store.root().pp("sd"), probability).unwrap();
        floats(
            &layer
                .forward(&x, &mut Context::new(true, Layout::Nchw))
                .unwrap(),
        )
    };
    let before = store.generator().state();
    assert_eq!(run(0.), [1.; 6]);
    assert_eq!(store.generator().state(), before);
    assert_eq!(run(1.), [0.; 6]);
    for wrong in [-0.1, 1.1, f64::NAN] {
        let error = StochasticDepth::new(store.root().pp("sd"), wrong).unwrap_err();
        assert!(error.to_string().contains("[0, 1]"), "{error}");
    }
}

#[test]
fn stochastic_depth_is_part_of_training_alone() {
    let entry = find("efficientnet-b0").unwrap();
    let build = |probability| {
        let config = tallow_models::ModelConfig {
            stochastic_depth: probability,
            dropout: Some(0.),
            ..small(entry)
        };
        entry.build(&config)
    };
    let model = build(Some(1.)).unwrap();
    let none = build(Some(0.)).unwrap();
    let x = images(&model, 2, 0, DType::F32);
    let logits = |model: &Model, train| floats(&model.forward(&x, train).unwrap());
    assert_eq!(logits(&model, false), logits(&none, false));
    assert_ne!(logits(&model, true), logits(&none, true));
    for wrong in [-0.5, 1.5] {
        let error = build(Some(wrong)).err().unwrap().to_string();
        assert!(
            error.contains("stochastic_depth must be in [0, 1]"),
            "{error}"
        );
    }
    let cnn = find("cnn").unwrap();
    let config = tallow_models::ModelConfig {
        stochastic_depth: Some(0.1),
        ..cnn.config().unwrap()
    };
    let error = cnn.build(&config).err().unwrap().to_string();
    assert!(error.contains("no stochastic_depth"), "{error}");
}

/// Output and gradient of the input of a layer, in `(N, C, H, W)` whatever the layout.
fn both(layer: &dyn Module, layout: Layout) -> [Vec<f64>; 2] {
    let x = Var::from_tensor(&wave((2, 4, 3, 5), 0., 0.013, 0.37)).unwrap();
    let inner = to_layout(&x, Layout::Nchw, layout).unwrap();
    let y = layer
        .forward(&inner, &mut Context::new(true, layout))
        .unwrap();
    let y = to_layout(&y, layout, Layout::Nchw).unwrap();
    let weights = wave(y.shape(), 1., 0.007, 0.2);
    let gradients = (&y * weights)
        .unwrap()
        .sum_all()
        .unwrap()
        .backward()
        .unwrap();
    [floats(&y), floats(gradients.get(&x).unwrap())]
}

#[test]
fn layouts_agree() {
    let store = store();
    let p = store.root();
    let squeeze = ActivationKind::HardSigmoid;
    let layers: Vec<Box<dyn Module>> = vec![
        Box::new(SqueezeExcite::new(&p.pp("se"), 4, 3, ActivationKind::Relu, squeeze).unwrap()),
        Box::new(LayerNorm::new(p.pp("norm"), 4, 1e-6).unwrap()),
        Box::new(LayerScale::new(&p.pp("scale"), "layer_scale", 4, 0.3).unwrap()),
        Box::new(Linear::new(p.pp("linear"), 4, 6).unwrap()),
        Box::new(Activation::new(p.pp("act"), ActivationKind::Gelu)),
    ];
    for (name, parameter) in store.parameters() {
        let values = wave(parameter.shape(), name.len() as f64, 0.03, 0.5);
        parameter.set(&values).unwrap();
    }
    for (index, layer) in layers.iter().enumerate() {
        let [y, dx] = both(layer, Layout::Nchw);
        let [other_y, other_dx] = both(layer, Layout::Nhwc);
        assert!(difference(&other_y, &y) < 1e-14, "layer {index}");
        assert!(difference(&other_dx, &dx) < 1e-13, "layer {index}");
    }
}

/// A linear layer over a map is the linear layer of every pixel.
#[test]
fn linear_layers_of_pixels() {
    let store = store();
    let linear = Linear::new(store.root().pp("fc"), 4, 3).unwrap();
    let x = wave((2, 5, 3, 4), 0., 0.013, 0.37);
    let maps = linear
        .forward(&x, &mut Context::new(false, Layout::Nhwc))
        .unwrap();
    assert_eq!(maps.dims(), [2, 5, 3, 3]);
    let rows = linear
        .forward(
            &x.reshape((30, 4)).unwrap(),
            &mut Context::new(false, Layout::Nhwc),
        )
        .unwrap();
    assert!(difference(&floats(&maps), &floats(&rows)) < 1e-14);
}

#[test]
fn dirac_convolutions_repeat_their_input() {
    let store = store();
    let options = ConvOptions {
        padding: 1,
        bias: false,
        init: WeightInit::Dirac,
        ..Default::default()
    };
    let x = wave((1, 3, 4, 5), 0., 0.013, 0.37);
    for (index, outputs) in [2, 3, 5].into_iter().enumerate() {
        let p = store.root().pp(index);
        let conv = Conv2d::with(p, 3, outputs, 3, options).unwrap();
        let y = conv
            .forward(&x, &mut Context::new(false, Layout::Nchw))
            .unwrap();
        let same = outputs.min(3);
        let repeated = y.narrow(1, 0, same).unwrap();
        assert_eq!(floats(&repeated), floats(&x.narrow(1, 0, same).unwrap()));
        if outputs > same {
            let rest = &store.parameters()[index]
                .1
                .narrow(0, same, outputs - same)
                .unwrap();
            let bound = 1. / 27f64.sqrt();
            let rest = floats(rest);
            assert!(
                rest.iter()
                    .all(|value| value.abs() <= bound && *value != 0.)
            );
        }
    }
}

#[test]
fn residual_connections_of_the_builder() {
    let store = store();
    let p = store.root();
    let build = |name: &str, connected, outputs| {
        Sequential::build(&p.pp(name), (4, 3, 5))
            .residual("block", connected, |net| net.conv2d("conv", outputs, 1))
            .finish()
    };
    let x = wave((2, 4, 3, 5), 0., 0.013, 0.37);
    let run = |net: &Sequential| {
        let y = net
            .forward(&x, &mut Context::new(false, Layout::Nchw))
            .unwrap();
        floats(&y)
    };
    let net = build("a", true, 4).unwrap();
    let conv = store.parameters();
    assert_eq!(conv[0].0, "a.block.conv.weight");
    for (_, parameter) in &conv {
        parameter.set(&parameter.zeros_like().unwrap()).unwrap();
    }
    assert_eq!(run(&net), floats(&x));
    assert_eq!(
        build("b", false, 6).map(|net| run(&net).len()).unwrap(),
        2 * 6 * 15
    );
    let error = build("c", true, 6).err().unwrap().to_string();
    assert!(
        error.contains("expected an output of the input's shape"),
        "{error}"
    );
}
