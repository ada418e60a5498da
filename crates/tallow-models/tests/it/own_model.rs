//! Custom models in a registry. The first is the worked example "Add a model" of `docs/architecture.md`.

use candle_core::DType;
use tallow_models::nn::Sequential;
use tallow_models::{Error, ModelConfig, Registry, Result};
use tallow_ops::{Layout, ParamPath};

use crate::common::images;

/// The convolutions of `cnn`, a 1x1 convolution to the classes, and global average pooling: `conv1`, `conv2`, `classifier`.
fn cnn_gap(p: &ParamPath, config: &ModelConfig) -> Result<Sequential> {
    Sequential::build(p, config.input_shape)
        .conv2d("conv1", 6, 5)
        .relu()
        .max_pool2d(2)
        .conv2d("conv2", 6, 5)
        .relu()
        .max_pool2d(2)
        .conv2d("classifier", config.classes, 1)
        .adaptive_avg_pool2d(1, 1)
        .flatten()
        .finish()
}

#[test]
fn a_registered_model_is_built_by_its_name() -> Result<()> {
    let mut registry = Registry::default();
    let built_in = registry.len();
    registry.register("cnn-gap", cnn_gap)?;
    let model = registry
        .build("cnn-gap", &ModelConfig::new(10, (1, 28, 28)))
        .unwrap();
    assert_eq!((model.name(), model.classes()), ("cnn-gap", 10));
    assert_eq!(model.layout(), Layout::Nchw);
    let names: Vec<String> = model
        .store()
        .parameters()
        .into_iter()
        .map(|p| p.0)
        .collect();
    assert_eq!(
        names.join(" "),
        "conv1.weight conv1.bias conv2.weight conv2.bias classifier.weight classifier.bias"
    );
    // The figures of the worked example.
    let summary = model.summary().unwrap();
    assert_eq!(
        (summary.parameters, summary.multiply_adds),
        (1_132, 144_960)
    );
    let logits = model
        .forward(&images(&model, 2, 0, DType::F32), true)
        .unwrap();
    assert_eq!(logits.dims(), [2, 10]);

    let entry = registry.iter().last().unwrap();
    assert_eq!((registry.len(), entry.name()), (built_in + 1, "cnn-gap"));
    assert_eq!(
        (entry.description.as_str(), entry.default_input),
        ("", None)
    );
    let small = registry.build("cnn-gap", &ModelConfig::new(10, (1, 8, 8)));
    assert_eq!(
        small.err().unwrap().to_string(),
        "cnn-gap: images of 8 x 8 are too small: Conv2d `conv2` has no output for a map of 2 x 2; the network needs 16 x 16"
    );
    Ok(())
}

#[test]
fn a_registry_knows_its_names() {
    let mut registry = Registry::default();
    for (name, says) in [
        (
            "cnn",
            "cannot register a model as `cnn`: there is a model of this name already",
        ),
        ("", "cannot register a model as ``: the name is empty"),
    ] {
        let error = registry.register(name, cnn_gap).err().unwrap();
        assert!(matches!(error, Error::Register { .. }));
        assert_eq!(error.to_string(), says);
    }
    let error = registry.find("cnn-gap").unwrap_err().to_string();
    assert!(
        error.contains("no model `cnn-gap` (did you mean `"),
        "{error}"
    );
    registry.register("cnn-gap", cnn_gap).unwrap();
    let error = registry.find("cnn_gap").unwrap_err().to_string();
    assert!(error.contains("did you mean `cnn-gap`?"), "{error}");
    // The built-in registry is another value.
    assert!(tallow_models::find("cnn-gap").is_err());

    let mut empty = Registry::empty();
    assert!(empty.is_empty());
    empty.register("only", cnn_gap).unwrap();
    let error = empty.find("other").unwrap_err().to_string();
    assert_eq!(error, "there is no model `other`; the models are only");
    assert_eq!(empty.into_iter().count(), 1);
}

/// A closure with settings of its own, boxed networks, and an entry with defaults.
#[test]
fn an_entry_has_a_description_and_defaults() {
    let mut registry = Registry::empty();
    let width = 12;
    let entry = registry
        .register("wide", move |p, config| {
            let net = Sequential::build(p, config.input_shape)
                .flatten()
                .linear("fc1", config.narrowed(width)?)
                .relu()
                .linear("fc2", config.classes)
                .finish()?;
            Ok(Box::new(net))
        })
        .unwrap();
    assert_eq!(
        entry.config().unwrap_err().to_string(),
        "wide: has no default input shape and classes; state both"
    );
    entry.description = "one hidden layer".into();
    entry.default_input = Some((1, 4, 4));
    entry.default_classes = Some(3);
    entry.takes_dropout = false;
    let entry = registry.find("wide").unwrap();
    let config = entry.config().unwrap();
    let model = registry.build("wide", &config).unwrap();
    assert_eq!(model.store().num_parameters(), 16 * 12 + 12 + 12 * 3 + 3);
    let narrow = ModelConfig {
        width_divisor: 5,
        ..config.clone()
    };
    let error = registry.build("wide", &narrow).err().unwrap();
    assert!(matches!(&error, Error::Model { model, .. } if model == "wide"));
    assert_eq!(
        error.to_string(),
        "wide: width_divisor 5 does not divide 12 channels"
    );
    let dropout = ModelConfig {
        dropout: Some(0.5),
        ..config
    };
    let error = registry.build("wide", &dropout).err().unwrap();
    assert_eq!(error.to_string(), "wide: has no dropout to set");
}
