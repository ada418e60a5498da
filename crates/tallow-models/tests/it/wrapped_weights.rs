//! Weights as wrappers, averaging and training scripts leave them in files; `fixtures/make_checkpoints.py` made these with PyTorch.

use std::fs;

use candle_core::{DType, Device, Tensor};
use tallow_models::{
    Error, LoadWeights, LoadedWeights, WeightsProblem, load_weights, read_weights, shards,
};
use tallow_ops::{Init, ParamStore};

use crate::checkpoints::{check, fixture, store, values};

fn load(name: &str, options: &LoadWeights) -> (ParamStore, LoadedWeights) {
    let store = store("");
    let loaded = load_weights(&store, fixture(name), options);
    let loaded = loaded.unwrap_or_else(|error| panic!("{error}"));
    assert!(loaded.is_clean(), "{name}: {}", loaded.report);
    (store, loaded)
}

fn problem(name: &str, options: &LoadWeights) -> WeightsProblem {
    let store = store("");
    let before = store.state_dict().unwrap();
    let error = load_weights(&store, fixture(name), options).expect_err(name);
    let Error::Weights { path, problem } = error else {
        panic!("{name}: {error}")
    };
    assert!(path.ends_with(name));
    for (name, tensor) in before {
        let flat = tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap();
        assert_eq!(flat.to_vec1::<f64>().unwrap(), values(&store, &name));
    }
    problem
}

fn of_key(key: &str) -> LoadWeights {
    LoadWeights {
        key: Some(key.into()),
        ..LoadWeights::default()
    }
}

#[test]
fn wrapped_and_averaged_weights_are_those_of_the_network() {
    for name in [
        "averaged.pth",
        "lightning.ckpt",
        "lightning-legacy.ckpt",
        "lightning-5.ckpt",
        "part.pth.tar",
        "nested.pth",
        "only-one.pth",
    ] {
        let (store, loaded) = load(name, &LoadWeights::default());
        check(&store, 7.0);
        assert!(loaded.others.is_empty(), "{name}: {:?}", loaded.others);
    }
    let (_, loaded) = load("lightning.ckpt", &LoadWeights::default());
    assert_eq!(loaded.ignored, ["criterion.weight"]);
    let (_, loaded) = load("only-one.pth", &LoadWeights::default());
    assert_eq!(loaded.key.as_deref(), Some("averaged_weights"));
}

#[test]
fn of_two_sets_of_weights_the_key_chooses() {
    for (name, taken, other) in [
        ("torchvision.pth", "model", "model_ema"),
        ("timm.pth.tar", "state_dict", "state_dict_ema"),
        ("student.ckpt", "student.backbone", "teacher.backbone"),
    ] {
        let (store, loaded) = load(name, &LoadWeights::default());
        check(&store, 7.0);
        assert_eq!(loaded.key.as_deref(), Some(taken), "{name}");
        assert_eq!(loaded.others, [other], "{name}");

        let (first, _) = load(name, &of_key(taken));
        check(&first, 7.0);
        let (second, loaded) = load(name, &of_key(other));
        assert_eq!(values(&second, "fc.bias"), [8.0, 10.0], "{name}");
        assert_eq!(values(&second, "bn.running_var"), [8.0, 1.0], "{name}");
        assert_eq!(loaded.key.as_deref(), Some(other), "{name}");
        assert_eq!(loaded.others, [taken], "{name}");
    }
    // A part of a prefix, with and without the key of the state dict.
    for key in ["teacher", "state_dict.teacher", "teacher."] {
        let (second, _) = load("student.ckpt", &of_key(key));
        assert_eq!(values(&second, "fc.bias"), [8.0, 10.0], "{key}");
    }
    let (second, _) = load("unknown-keys.pth", &of_key("second"));
    assert_eq!(values(&second, "fc.bias"), [8.0, 10.0]);
}

#[test]
fn a_key_that_is_not_there_is_an_error_with_those_that_are() {
    let message = problem("timm.pth.tar", &of_key("model_ema")).to_string();
    assert_eq!(
        message,
        "no weights with the key `model_ema`; the file has state_dict, state_dict_ema"
    );
    let message = problem("student.ckpt", &of_key("ema")).to_string();
    assert!(
        message.contains("student.backbone, teacher.backbone"),
        "{message}"
    );
    let message = problem("plain.pth", &of_key("ema")).to_string();
    assert!(message.contains("one set of weights"), "{message}");
    let message = problem("unknown-keys.pth", &LoadWeights::default()).to_string();
    assert_eq!(
        message,
        "several sets of weights: first, second; choose one of them by its key"
    );
}

#[test]
fn a_complete_network_hides_no_mistake() {
    // The network of the file has a layer less: its loss is no reason to be silent.
    let larger = store("");
    let zero = Init::Const(0.);
    larger.root().pp("head").param("bias", 2, zero).unwrap();
    let error = load_weights(&larger, fixture("lightning.ckpt"), &LoadWeights::default());
    let message = error.unwrap_err().to_string();
    assert!(
        message.contains("missing head.bias; unexpected criterion.weight"),
        "{message}"
    );
}

#[test]
fn the_number_of_batches_may_be_stored_as_any_number() {
    for kind in ["int32", "float", "vector", "byte", "number"] {
        let (store, _) = load(&format!("count-{kind}.pth"), &LoadWeights::default());
        check(&store, 7.0);
    }
}

#[test]
fn values_that_are_not_finite_are_an_error_that_names_the_tensor() {
    for (name, tensor, first, len) in [
        ("nan.pth", "fc.weight", vec![1, 2], 6),
        ("infinite.pth", "fc.weight", vec![1, 2], 6),
        // Finite as the file has it, in double precision.
        ("large.pth", "fc.bias", vec![0], 2),
    ] {
        let found = problem(name, &LoadWeights::default());
        let WeightsProblem::NonFinite {
            tensor: found_tensor,
            count,
            len: found_len,
            first: found_first,
        } = &found
        else {
            panic!("{name}: {found}")
        };
        assert_eq!((found_tensor.as_str(), *count), (tensor, 1));
        assert_eq!((found_len, found_first), (&len, &first));
        assert!(found.to_string().contains(tensor), "{found}");

        let allowing = LoadWeights {
            allow_non_finite: true,
            ..LoadWeights::default()
        };
        let (store, _) = load(name, &allowing);
        assert!(values(&store, tensor).iter().any(|v| !v.is_finite()));
    }
}

/// Safetensors of these tensors of a state dict, with metadata.
pub fn safetensors(tensors: &[(String, Tensor)]) -> Vec<u8> {
    let (mut header, mut data) = (
        serde_json::json!({"__metadata__": {"format": "pt"}}),
        vec![],
    );
    for (name, tensor) in tensors {
        let flat = tensor.flatten_all().unwrap();
        let start = data.len();
        let dtype = match tensor.dtype() {
            DType::I64 => {
                data.extend(
                    flat.to_vec1::<i64>()
                        .unwrap()
                        .iter()
                        .flat_map(|v| v.to_le_bytes()),
                );
                "I64"
            }
            _ => {
                data.extend(
                    flat.to_vec1::<f32>()
                        .unwrap()
                        .iter()
                        .flat_map(|v| v.to_le_bytes()),
                );
                "F32"
            }
        };
        let offsets = [start, data.len()];
        header[name] =
            serde_json::json!({"dtype": dtype, "shape": tensor.dims(), "data_offsets": offsets});
    }
    let header = header.to_string();
    [
        &(header.len() as u64).to_le_bytes(),
        header.as_bytes(),
        &data,
    ]
    .concat()
}

#[test]
fn weights_in_several_files_are_read_by_their_index() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    let tensors = read_weights(fixture("plain.pth")).unwrap();
    let (first, second) = tensors.split_at(3);
    let names = [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    ];
    fs::write(file(names[0]), safetensors(first)).unwrap();
    fs::write(file(names[1]), safetensors(second)).unwrap();
    let index = |map: &[(&str, &str)]| {
        let map: serde_json::Map<String, serde_json::Value> = map
            .iter()
            .map(|(k, v)| (k.to_string(), (*v).into()))
            .collect();
        let index = serde_json::json!({"metadata": {"total_size": 1}, "weight_map": map});
        fs::write(file("model.safetensors.index.json"), index.to_string()).unwrap();
    };
    let mut map: Vec<(&str, &str)> = Vec::new();
    map.extend(first.iter().map(|(name, _)| (name.as_str(), names[0])));
    map.extend(second.iter().map(|(name, _)| (name.as_str(), names[1])));
    index(&map);
    let path = file("model.safetensors.index.json");
    let whole = store("");
    let loaded = load_weights(&whole, &path, &LoadWeights::default());
    assert!(loaded.unwrap().is_clean());
    check(&whole, 7.0);
    assert_eq!(shards(&path), names.map(file));
    assert!(shards(file(names[0])).is_empty());

    // A part alone says what to give instead.
    let error = load_weights(&store(""), file(names[0]), &LoadWeights::default()).unwrap_err();
    let message = error.to_string();
    assert!(
        message.contains("such as model.safetensors.index.json"),
        "{message}"
    );

    // Files that do not match the index.
    let refused = |words: &str| {
        let error = load_weights(&store(""), &path, &LoadWeights::default()).unwrap_err();
        let message = error.to_string();
        assert!(message.contains(words), "{message}");
    };
    let mut wrong = map.clone();
    wrong[0].1 = names[1];
    index(&wrong);
    refused("model-00002-of-00002.safetensors: no `conv.weight`");
    index(&[("conv.weight", "../model.safetensors")]);
    refused("no name of a file beside it");
    index(&map);
    let half = fs::read(file(names[1])).unwrap();
    fs::write(file(names[1]), &half[..half.len() / 2]).unwrap();
    refused(names[1]);
    fs::remove_file(file(names[1])).unwrap();
    refused(names[1]);
    index(&[]);
    refused("missing conv.weight");
    fs::write(&path, "{\"weight_map\": 3}").unwrap();
    refused("found JSON");
}

#[test]
fn a_prefix_is_removed_only_where_the_model_lacks_it() {
    // The network has a layer `model`, and the file has it in another `model`.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    let tensors = read_weights(fixture("plain.pth")).unwrap();
    let prefixed = |prefix: &str| -> Vec<(String, Tensor)> {
        let tensors = tensors.iter();
        tensors
            .map(|(name, tensor)| (format!("{prefix}{name}"), tensor.clone()))
            .collect()
    };
    let inner = store("model");
    for prefix in ["model.", "model.model.", "net.module.model."] {
        fs::write(&path, safetensors(&prefixed(prefix))).unwrap();
        let loaded = load_weights(&inner, &path, &LoadWeights::default());
        assert!(loaded.unwrap().is_clean(), "{prefix}");
        assert_eq!(values(&inner, "model.fc.bias"), [4.0, 5.0]);
    }
    // One prefix for most, none for the rest; both together are the network.
    let mixed: Vec<(String, Tensor)> = tensors
        .iter()
        .map(|(name, tensor)| match name.starts_with("fc.") {
            true => (name.clone(), tensor.clone()),
            false => (format!("backbone.{name}"), tensor.clone()),
        })
        .collect();
    fs::write(&path, safetensors(&mixed)).unwrap();
    let whole = store("");
    let loaded = load_weights(&whole, &path, &LoadWeights::default()).unwrap();
    assert!(loaded.is_clean() && loaded.others.is_empty());
    check(&whole, 7.0);

    // Twice the same name within one set is no match for the second.
    let mut twice = tensors.clone();
    twice.push((
        "fc.module.bias".into(),
        Tensor::zeros(2, DType::F32, &Device::Cpu).unwrap(),
    ));
    fs::write(&path, safetensors(&twice)).unwrap();
    let error = load_weights(&whole, &path, &LoadWeights::default()).unwrap_err();
    assert!(
        error.to_string().contains("unexpected fc.module.bias"),
        "{error}"
    );
}
