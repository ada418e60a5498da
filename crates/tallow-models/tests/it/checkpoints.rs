//! Weights from files that PyTorch and safetensors wrote; `fixtures/make_checkpoints.py` made them.

use std::path::{Path, PathBuf};

use crate::common::skipped;
use candle_core::{DType, Device, Tensor};
use tallow_models::{
    Error, LoadWeights, Model, WeightsProblem, checkpoints, load_weights, read_weights, registry,
};
use tallow_ops::{Init, ParamStore};

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/checkpoints")
        .join(name)
}

/// A store with the names and shapes of the fixtures, all zeros, beginning under `prefix`.
pub fn store(prefix: &str) -> ParamStore {
    let store = ParamStore::new(DType::F32, &Device::Cpu, 0);
    let root = match prefix {
        "" => store.root(),
        prefix => store.root().pp(prefix),
    };
    let zero = Init::Const(0.);
    root.pp("conv").param("weight", (2, 3, 2, 1), zero).unwrap();
    let bn = root.pp("bn");
    bn.param("weight", 2, zero).unwrap();
    bn.param("bias", 2, zero).unwrap();
    bn.buffer("running_mean", 2, zero).unwrap();
    bn.buffer("running_var", 2, zero).unwrap();
    let count = Tensor::new(41i64, &Device::Cpu).unwrap();
    bn.buffer_from("num_batches_tracked", &count).unwrap();
    root.pp("fc").param("weight", (2, 3), zero).unwrap();
    root.pp("fc").param("bias", 2, zero).unwrap();
    store
}

pub fn values(store: &ParamStore, name: &str) -> Vec<f64> {
    let state = store.state_dict().unwrap();
    let (_, tensor) = state.iter().find(|(n, _)| n == name).unwrap();
    let flat = tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap();
    flat.to_vec1().unwrap()
}

/// The formulas of the script; its numbers are exact in half precision too.
pub fn check(store: &ParamStore, count: f64) {
    let conv: Vec<f64> = (0..12).map(|i| f64::from(i) / 4.0 - 1.0).collect();
    assert_eq!(values(store, "conv.weight"), conv);
    assert_eq!(values(store, "bn.weight"), [1.0, 2.0]);
    assert_eq!(values(store, "bn.bias"), [-1.0, 0.5]);
    assert_eq!(values(store, "bn.running_mean"), [0.25, -0.25]);
    assert_eq!(values(store, "bn.running_var"), [4.0, 0.5]);
    assert_eq!(values(store, "bn.num_batches_tracked"), [count]);
    let fc = [0.0, 2.0, 4.0, 1.0, 3.0, 5.0].map(|n| n / 8.0);
    assert_eq!(values(store, "fc.weight"), fc);
    assert_eq!(values(store, "fc.bias"), [4.0, 5.0]);
}

#[test]
fn every_form_of_checkpoint_loads() {
    for name in [
        "plain.pth",
        "legacy.pth",
        "training.pth",
        "training-legacy.th",
        "parameters.pt",
        "half.pth",
        "bfloat16.pth",
        "double.pth",
    ] {
        let store = store("");
        let report = load_weights(&store, fixture(name), &LoadWeights::default());
        assert!(
            report.unwrap_or_else(|e| panic!("{e}")).is_clean(),
            "{name}"
        );
        check(&store, 7.0);
        assert!(
            store
                .parameters()
                .iter()
                .all(|(_, var)| var.dtype() == DType::F32)
        );
    }
}

#[test]
fn reading_keeps_names_types_and_order() {
    let tensors = read_weights(fixture("half.pth")).unwrap();
    let names: Vec<&str> = tensors.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names[..3], ["conv.weight", "bn.weight", "bn.bias"]);
    assert_eq!(tensors[0].1.dtype(), DType::F16);
    assert_eq!(tensors[5].1.dtype(), DType::I64);
    let tensors = read_weights(fixture("training-legacy.th")).unwrap();
    assert_eq!(tensors[0].0, "module.conv.weight");
}

#[test]
fn a_file_without_counts_leaves_them() {
    let store = store("");
    load_weights(&store, fixture("no-count.pth"), &LoadWeights::default()).unwrap();
    check(&store, 41.0);
}

#[test]
fn safetensors_go_out_and_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (store(""), store(""));
    load_weights(&first, fixture("plain.pth"), &LoadWeights::default()).unwrap();
    let path = dir.path().join("model.safetensors");
    first.save(&path).unwrap();
    load_weights(&second, &path, &LoadWeights::default()).unwrap();
    check(&second, 7.0);
    // The content tells, not the name.
    let path = dir.path().join("model.pth");
    first.save(&path).unwrap();
    load_weights(&store(""), &path, &LoadWeights::default()).unwrap();
}

#[test]
fn layers_can_be_renamed_and_skipped() {
    let path = fixture("plain.pth");
    let inner = store("backbone");
    let rename = |pairs: &[(&str, &str)]| LoadWeights {
        rename: pairs
            .iter()
            .map(|(a, b)| (a.to_string(), b.to_string()))
            .collect(),
        ..Default::default()
    };
    load_weights(&inner, &path, &rename(&[("", "backbone")])).unwrap();
    assert_eq!(values(&inner, "backbone.fc.bias"), [4.0, 5.0]);

    let dir = tempfile::tempdir().unwrap();
    let saved = dir.path().join("inner.safetensors");
    inner.save(&saved).unwrap();
    let outer = store("");
    load_weights(&outer, &saved, &rename(&[("backbone", "")])).unwrap();
    check(&outer, 7.0);

    let skipping = store("");
    let options = LoadWeights {
        skip: vec!["fc".into(), "bn.bias".into()],
        ..Default::default()
    };
    assert!(load_weights(&skipping, &path, &options).unwrap().is_clean());
    assert_eq!(values(&skipping, "fc.bias"), [0.0, 0.0]);
    assert_eq!(values(&skipping, "bn.bias"), [0.0, 0.0]);
    assert_eq!(values(&skipping, "bn.weight"), [1.0, 2.0]);
}

#[test]
fn a_prefix_that_the_model_has_too_stays() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("wrapped.safetensors");
    store("module").save(&path).unwrap();
    let report = load_weights(&store("module"), &path, &LoadWeights::default());
    assert!(report.unwrap().is_clean());
}

#[test]
fn what_does_not_fit_is_listed() {
    let other = ParamStore::new(DType::F32, &Device::Cpu, 0);
    let root = other.root();
    root.pp("conv")
        .param("weight", (2, 3, 3, 3), Init::Const(0.))
        .unwrap();
    root.pp("fc").param("bias", 2, Init::Const(0.)).unwrap();
    root.pp("head").param("weight", 5, Init::Const(0.)).unwrap();
    let path = fixture("training.pth");

    let error = load_weights(&other, &path, &LoadWeights::default()).unwrap_err();
    let message = error.to_string();
    for part in [
        "training.pth: ",
        "missing head.weight",
        "unexpected bn.bias, bn.num_batches_tracked, ",
        "conv.weight expected [2, 3, 3, 3], found [2, 3, 2, 1]",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert_eq!(values(&other, "fc.bias"), [0.0, 0.0], "nothing is changed");

    let lenient = LoadWeights {
        strict: false,
        ..Default::default()
    };
    let report = load_weights(&other, &path, &lenient).unwrap().report;
    let Error::Weights {
        problem: WeightsProblem::Fit(listed),
        ..
    } = error
    else {
        panic!("{message}")
    };
    assert_eq!(report, listed);
    assert_eq!(report.missing, ["head.weight"]);
    assert_eq!(report.unexpected.len(), 6);
    assert_eq!(report.mis_shaped[0].name, "conv.weight");
    assert_eq!(values(&other, "fc.bias"), [4.0, 5.0]);

    // Not one tensor that fits: training would start from nothing unnoticed.
    let foreign = ParamStore::new(DType::F32, &Device::Cpu, 0);
    foreign.root().param("weight", 5, Init::Const(0.)).unwrap();
    assert!(load_weights(&foreign, &path, &lenient).is_err());
}

#[test]
fn integers_are_no_weights() {
    for strict in [true, false] {
        let options = LoadWeights {
            strict,
            ..Default::default()
        };
        let error = load_weights(&store(""), fixture("integers.pth"), &options).unwrap_err();
        assert!(matches!(
            error,
            Error::Weights {
                problem: WeightsProblem::Type { .. },
                ..
            }
        ));
        let message = error.to_string();
        assert!(
            message.contains(
                "integers.pth: `conv.weight`: expected floating-point numbers, found i32"
            ),
            "{message}"
        );
    }
}

#[test]
fn a_pickled_module_is_refused_by_its_class() {
    let message = read_weights(fixture("module.pth")).unwrap_err().to_string();
    assert!(
        message.contains("`torch.nn.modules.linear.Linear`"),
        "{message}"
    );
    assert!(
        message.contains("torch.save(model.state_dict(), path)"),
        "{message}"
    );
}

#[test]
fn the_head_is_what_depends_on_the_number_of_classes() {
    for entry in registry() {
        // Large models say nothing that their smaller kin do not.
        if entry.parameters > Some(12_000_000) {
            continue;
        }
        let mut config = entry.config().unwrap();
        let shapes = |model: &Model| -> Vec<(String, Vec<usize>)> {
            let all = [model.store().parameters(), model.store().buffers()].concat();
            all.into_iter()
                .map(|(name, var)| (name, var.dims().to_vec()))
                .collect()
        };
        let model = Model::skip_init(entry.name(), &config).unwrap();
        config.classes = 7;
        let Ok(other) = Model::skip_init(entry.name(), &config) else {
            assert_eq!(entry.name(), "lenet5-1998-rbf");
            continue;
        };
        let changed: Vec<String> = shapes(&model)
            .into_iter()
            .zip(shapes(&other))
            .filter(|(a, b)| a != b)
            .map(|(a, _)| a.0)
            .collect();
        let head = format!("{}.", model.head());
        assert!(
            !changed.is_empty() && changed.iter().all(|name| name.starts_with(&head)),
            "{}: {head} {changed:?}",
            entry.name()
        );
    }
}

#[test]
fn known_checkpoints_name_models_of_the_registry() {
    for known in checkpoints() {
        let entry = tallow_models::find(known.model).unwrap();
        assert_eq!(entry.default_input.unwrap().0, known.mean.len());
        assert_eq!(known.file, format!("{}-{}.th", known.model, known.digest));
        assert!(known.url.ends_with(known.file));
    }
}

/// The published ResNet-20 of `pytorch_resnet_cifar10`, beside the data if it is there.
#[test]
fn the_published_resnet20_loads_strictly() {
    let Some(data) = std::env::var_os("TALLOW_DATA") else {
        skipped("set TALLOW_DATA");
        return;
    };
    let path = Path::new(&data).join("../weights/resnet20-12fca82f.th");
    if !path.exists() {
        skipped(&format!("no {}", path.display()));
        return;
    }
    let config = tallow_models::find("resnet20").unwrap().config().unwrap();
    let model = Model::build("resnet20", &config).unwrap();
    assert!(
        model
            .load_weights(&path, &LoadWeights::default())
            .unwrap()
            .is_clean()
    );
    let weights = read_weights(&path).unwrap();
    assert_eq!(weights[0].0, "module.conv1.weight");
    assert_eq!(weights.last().unwrap().0, "module.linear.bias");
    assert_eq!(weights.len(), 97);
}
