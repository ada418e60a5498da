//! Models whose random initial values are left out: once their weights are loaded, they are those that were drawn first.
use candle_core::{DType, Tensor, Var};
use tallow_models::nn::Sequential;
use tallow_models::{
    Context, LoadWeights, Model, ModelConfig, Module, OnnxOptions, Registry, Result, find,
    grad_cam, registry,
};
use tallow_ops::{Init, ParamPath, linear};

use crate::common::{floats, images, small};

/// Parameters, buffers, and the place in the generator's stream.
fn state(model: &Model) -> (Vec<(String, Vec<f64>)>, u64) {
    let state = model.store().state_dict().unwrap();
    let values = state
        .iter()
        .map(|(name, tensor)| (name.clone(), floats(tensor)));
    let words = model.store().generator().state().word_position;
    (values.collect(), words)
}

/// Message of a result that must not be.
fn refused<T>(result: Result<T>) -> String {
    result.err().unwrap().to_string()
}

#[test]
fn every_model_can_be_drawn_later_with_the_same_bits() {
    for entry in registry() {
        let name = entry.name();
        let config = ModelConfig {
            seed: 5,
            ..small(entry)
        };
        let built = entry.build(&config).unwrap();
        let skipped = entry.skip_init(&config).unwrap();
        assert!(skipped.store().check_initialized().is_err(), "{name}");
        assert_eq!(skipped.store().shapes(), built.store().shapes(), "{name}");
        assert_eq!(
            skipped.store().num_parameters(),
            built.store().num_parameters()
        );
        assert_eq!(skipped.head(), built.head(), "{name}");
        assert_eq!(skipped.layout(), built.layout(), "{name}");
        assert_eq!(skipped.depths(), built.depths(), "{name}");
        assert_eq!(
            skipped.summary().unwrap(),
            built.summary().unwrap(),
            "{name}"
        );
        skipped.store().init_missing().unwrap();
        assert!(state(&skipped) == state(&built), "{name}");
    }
}

/// At full size, with tensors of more than a million values.
#[test]
fn a_large_model_can_be_drawn_later_with_the_same_bits() {
    let config = find("resnet50").unwrap().config().unwrap();
    let built = Model::build("resnet50", &config).unwrap();
    let skipped = Model::skip_init("resnet50", &config).unwrap();
    skipped.store().init_missing().unwrap();
    let (ours, theirs) = (skipped.store().state_dict(), built.store().state_dict());
    for ((name, a), (_, b)) in ours.unwrap().iter().zip(&theirs.unwrap()) {
        assert!(floats(a) == floats(b), "{name}");
    }
}

#[test]
fn nothing_is_computed_or_written_before_there_are_weights() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let entry = find("resnet20").unwrap();
    let model = Model::skip_init("resnet20", &small(entry)).unwrap();
    let x = images(&model, 1, 0, DType::F32);
    let messages = [
        refused(model.forward(&x, false)),
        refused(model.forward_observed(&x, true, &mut |_| ())),
        refused(model.to_onnx(&OnnxOptions::default())),
        refused(model.to_safetensors(&[])),
        refused(model.to_torch()),
        refused(model.save_weights(&path)),
        refused(grad_cam(&model, &x, &[0], None)),
    ];
    for message in &messages {
        let part = "parameters without values: conv1.weight, layer1.0.conv1.weight,";
        assert!(message.contains(part), "{message}");
    }
    assert!(messages[0].starts_with("resnet20: "), "{}", messages[0]);
    assert!(!path.exists());

    // A file that lacks a tensor is refused, and the model is as it was.
    let built = entry.build(&small(entry)).unwrap();
    let state = built.store().state_dict().unwrap();
    let part: Vec<(String, Tensor)> = state[1..].to_vec();
    candle_core::safetensors::save(&part.into_iter().collect(), &path).unwrap();
    let message = refused(model.load_weights(&path, &LoadWeights::default()));
    assert!(message.contains("conv1.weight"), "{message}");
    refused(model.forward(&x, false));

    built.save_weights(&path).unwrap();
    model.load_weights(&path, &LoadWeights::default()).unwrap();
    let (ours, theirs) = (model.forward(&x, false), built.forward(&x, false));
    assert_eq!(floats(&ours.unwrap()), floats(&theirs.unwrap()));
}

/// A new last layer, and dropout after it was drawn, as in a model that was drawn as a whole.
#[test]
fn what_a_file_does_not_have_is_drawn_as_in_a_model_that_was_built() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    for name in [
        "mlp",
        "lenet-1989",
        "vgg16-bn",
        "resnet20-t",
        "efficientnet-b0",
        "cifar-speedrun",
    ] {
        let entry = find(name).unwrap();
        let trained = ModelConfig {
            seed: 1,
            ..small(entry)
        };
        entry.build(&trained).unwrap().save_weights(&path).unwrap();
        let config = ModelConfig {
            classes: 7,
            seed: 2,
            dropout: entry.takes_dropout.then_some(0.5),
            ..small(entry)
        };
        let built = entry.build(&config).unwrap();
        let skipped = entry.skip_init(&config).unwrap();
        let head = built.head();
        let of_head = |model: &Model| {
            let mut values = state(model).0;
            values.retain(|(name, _)| name.starts_with(&head));
            values
        };
        let drawn = of_head(&built);
        let load = LoadWeights {
            skip: vec![head.clone()],
            ..LoadWeights::default()
        };
        for model in [&built, &skipped] {
            assert!(model.load_weights(&path, &load).unwrap().is_clean());
        }
        assert!(!drawn.is_empty() && of_head(&skipped) == drawn, "{name}");
        assert!(state(&skipped) == state(&built), "{name}");
        let x = images(&built, 4, 0, DType::F32);
        let (ours, theirs) = (skipped.forward(&x, true), built.forward(&x, true));
        assert_eq!(floats(&ours.unwrap()), floats(&theirs.unwrap()), "{name}");

        // The head of the file has another shape, and is left out.
        let lenient = LoadWeights {
            strict: false,
            ..LoadWeights::default()
        };
        let skipped = entry.skip_init(&config).unwrap();
        let report = skipped.load_weights(&path, &lenient).unwrap().report;
        assert!(!report.mis_shaped.is_empty(), "{name}");
        assert!(of_head(&skipped) == drawn, "{name}");
    }
}

#[test]
fn whitening_filters_are_not_drawn_over() {
    let entry = find("cifar-speedrun").unwrap();
    let built = entry.build(&small(entry)).unwrap();
    let skipped = entry.skip_init(&small(entry)).unwrap();
    for model in [&built, &skipped] {
        model.whiten(&images(model, 8, 0, DType::F32)).unwrap();
        model.store().init_missing().unwrap();
    }
    assert!(state(&skipped) == state(&built));
}

/// Linear layer without bias that changes its weight after it was drawn.
struct Doubled(Var);

impl Doubled {
    fn new(p: &ParamPath, inputs: usize, outputs: usize) -> Result<Self> {
        let uniform = Init::Uniform { lo: 1., up: 2. };
        let weight = p.param("weight", (outputs, inputs), uniform)?;
        weight.set(&(weight.as_detached_tensor() * 2.)?)?;
        Ok(Self(weight))
    }
}

impl Module for Doubled {
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        let y = linear(x, &self.0, None)?;
        cx.report("fc", "Doubled", y, self.0.elem_count(), 0)
    }
}

#[test]
fn networks_of_ones_own_are_drawn_unless_they_allow_otherwise() {
    let config = ModelConfig::new(3, (1, 4, 4));
    let mut registry = Registry::empty();
    let net = |p: &ParamPath, config: &ModelConfig| {
        Sequential::build(p, config.input_shape)
            .flatten()
            .layer("fc", |p, shape| {
                let layer = Doubled::new(&p, shape[0], config.classes)?;
                Ok((layer, vec![config.classes]))
            })
            .finish()
    };
    let entry = registry.register("mine", net).unwrap();
    let built = entry.build(&config).unwrap();
    assert!(state(&entry.skip_init(&config).unwrap()) == state(&built));
    entry.skips_init = true;
    let skipped = registry.skip_init("mine", &config).unwrap();
    let x = images(&skipped, 1, 0, DType::F32);
    let message = refused(skipped.forward(&x, false));
    assert!(message.contains("without values: fc.weight;"), "{message}");
}
