//! Heat maps against PyTorch's, by `fixtures/make_grad_cam.py`.
use crate::common::{calm, fill, floats, images};
use candle_core::{DType, Device, Tensor};
use serde_json::Value;
use tallow_models::{Model, ModelConfig, find, grad_cam, last_feature_map};
use tallow_ops::{Layout, no_grad};

fn model(case: &Value, dtype: DType, layout: Layout) -> Model {
    let name = case["model"].as_str().unwrap();
    let config = ModelConfig {
        width_divisor: case["width_divisor"].as_u64().unwrap() as usize,
        layout: Some(layout),
        dtype,
        ..find(name).unwrap().config().unwrap()
    };
    let model = Model::build(name, &config).unwrap();
    fill(&model, calm(case));
    model
}

#[test]
fn heat_maps_are_pytorch_s() {
    let cases: Vec<Value> =
        serde_json::from_str(include_str!("../fixtures/grad-cam.json")).unwrap();
    assert_eq!(cases.len(), 7);
    for case in cases {
        for (dtype, tolerance) in [(DType::F32, 1e-5), (DType::F64, 1e-7)] {
            for layout in [Layout::Nchw, Layout::Nhwc] {
                let model = model(&case, dtype, layout);
                let classes: Vec<u32> = case["classes"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|c| c.as_u64().unwrap() as u32)
                    .collect();
                let x = images(&model, classes.len(), 0, dtype);
                let heat = grad_cam(&model, &x, &classes, case["layer"].as_str()).unwrap();
                let (_, h, w) = model.input_shape();
                assert_eq!(heat.dims(), [classes.len(), h, w]);
                assert_eq!(heat.dtype(), dtype);
                let expected = case["heat"].as_array().unwrap();
                assert_eq!(expected.len(), classes.len() * h * w);
                let mut worst = 0f64;
                for (ours, theirs) in floats(&heat).into_iter().zip(expected) {
                    assert!((0. ..=1.).contains(&ours), "{ours}");
                    worst = worst.max((ours - theirs.as_f64().unwrap()).abs());
                }
                let what = format!("{} {} {dtype:?} {layout:?}", case["model"], case["module"]);
                println!("{what}: {worst:.2e}");
                assert!(worst <= tolerance, "{what}: {worst}");
            }
        }
    }
}

#[test]
fn it_takes_the_last_map_and_leaves_the_model_as_it_was() {
    for (name, expected) in [
        ("cnn", "relu2"),
        ("lenet5-1998", "tanh3"),
        ("nin", "classifier"),
        ("vgg16-slim", "features.27"),
        ("resnet20", "layer3.2.relu_1"),
        ("preact-resnet20", "relu"),
    ] {
        let model = Model::skip_init(name, &find(name).unwrap().config().unwrap()).unwrap();
        assert_eq!(last_feature_map(&model).unwrap(), expected, "{name}");
    }
    let model = Model::build("cnn", &find("cnn").unwrap().config().unwrap()).unwrap();
    let x = images(&model, 2, 0, DType::F32);
    let before = floats(&model.forward(&x, false).unwrap());
    let both = floats(&grad_cam(&model, &x, &[1, 2], None).unwrap());
    assert_eq!(floats(&model.forward(&x, false).unwrap()), before);
    // Each image's map is its own.
    let second = grad_cam(&model, &x.narrow(0, 1, 1).unwrap(), &[2], Some("relu2")).unwrap();
    let difference = both[784..].iter().zip(floats(&second));
    assert!(difference.into_iter().all(|(a, b)| (a - b).abs() < 1e-6));
    assert!(both.iter().any(|&heat| heat > 0.5));
}

#[test]
fn what_has_no_map_is_refused() {
    let cnn = Model::build("cnn", &ModelConfig::new(10, (1, 28, 28))).unwrap();
    let x = Tensor::ones((1, 1, 28, 28), DType::F32, &Device::Cpu).unwrap();
    let message = |model: &Model, classes: &[u32], layer| {
        let error = grad_cam(model, &x, classes, layer).unwrap_err();
        error.to_string()
    };
    let unknown = message(&cnn, &[0], Some("relv2"));
    assert_eq!(
        unknown,
        "cnn: there is no layer `relv2` (did you mean `relu2`?); the layers with a feature map are conv1, relu1, pool1, conv2, relu2, pool2"
    );
    let flat = message(&cnn, &[0], Some("fc1"));
    assert!(flat.contains("`fc1` (Linear) has no feature map"), "{flat}");
    let mlp = Model::build("mlp", &ModelConfig::new(10, (1, 28, 28))).unwrap();
    let none = message(&mlp, &[0], None);
    assert!(
        none.contains("no convolution") && none.ends_with("are none"),
        "{none}"
    );
    for classes in [&[10][..], &[], &[0, 1]] {
        let wrong = message(&cnn, classes, None);
        assert!(
            wrong.contains("a class below 10 for each of 1 images"),
            "{wrong}"
        );
    }
    let without = no_grad(|| message(&cnn, &[0], None));
    assert!(without.contains("no_grad"), "{without}");
}
