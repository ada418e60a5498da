//! The whole zoo at full size against PyTorch's modules: parameters, multiply-adds, and every name and shape of the state.
use std::collections::HashMap;

use serde_json::Value;
use tallow_models::{Model, find, registry};

use crate::common::digest;

/// Every second model, from `first` on: two tests, since forward passes of so many networks take a while. Their weights are not drawn: no
/// value is looked at.
fn check_half(first: usize) {
    let table: Vec<Value> = serde_json::from_str(include_str!("../fixtures/table.json")).unwrap();
    let mut rows: HashMap<&str, &Value> = table
        .iter()
        .map(|row| (row["name"].as_str().unwrap(), row))
        .collect();
    assert_eq!(rows.len(), registry().len());
    for entry in registry().iter().skip(first).step_by(2) {
        let name = entry.name();
        let row = rows
            .remove(name)
            .unwrap_or_else(|| panic!("{name} is not in the table"));
        let model = Model::skip_init(name, &entry.config().unwrap()).unwrap();
        assert_eq!(model.name(), name);
        assert_eq!(model.input_shape(), entry.default_input.unwrap());
        assert_eq!(model.classes(), entry.default_classes.unwrap());
        let parameters = model.store().num_parameters();
        assert_eq!(
            parameters as u64,
            row["parameters"].as_u64().unwrap(),
            "{name}"
        );
        assert_eq!(Some(parameters), entry.parameters, "{name}");
        let lines: String = model
            .store()
            .shapes()
            .into_iter()
            .map(|(name, shape)| format!("{name} {:?}\n", shape.dims()))
            .collect();
        assert_eq!(
            digest(lines.as_bytes()),
            row["state"].as_str().unwrap(),
            "{name}:\n{lines}"
        );
        let summary = model.summary().unwrap();
        assert_eq!(
            summary.multiply_adds,
            row["multiply_adds"].as_u64().unwrap(),
            "{name}"
        );
        assert_eq!(Some(summary.multiply_adds), entry.multiply_adds, "{name}");
    }
}

#[test]
fn every_model_is_pytorchs() {
    check_half(0);
}

#[test]
fn every_other_model_is_pytorchs() {
    check_half(1);
}

/// Figures of papers and of torchvision's documentation.
#[test]
fn published_parameter_counts() {
    for (name, parameters) in [
        ("mlp", 6_442),
        ("cnn", 6_422),
        ("cifar-cnn", 62_006),
        ("lenet", 121_182),
        ("lenet-1989", 9_760),
        ("lenet5-1998-rbf", 60_000),
        ("lenet5", 61_706),
        ("nin", 966_986),
        ("vgg16-slim", 9_231_114),
        ("vgg11", 132_863_336),
        ("vgg11-bn", 132_868_840),
        ("vgg13", 133_047_848),
        ("vgg13-bn", 133_053_736),
        ("vgg16", 138_357_544),
        ("vgg16-bn", 138_365_992),
        ("vgg19", 143_667_240),
        ("vgg19-bn", 143_678_248),
        ("resnet18", 11_689_512),
        ("resnet34", 21_797_672),
        ("resnet50", 25_557_032),
        ("resnet101", 44_549_160),
        ("resnet152", 60_192_808),
        ("wide-resnet50-2", 68_883_240),
        ("wide-resnet101-2", 126_886_696),
        ("resnext50-32x4d", 25_028_904),
        ("resnext101-32x8d", 88_791_336),
        ("resnext101-64x4d", 83_455_272),
        ("resnet20", 269_722),
        ("resnet20-b", 272_474),
        ("resnet32", 464_154),
        ("resnet44", 658_586),
        ("resnet56", 853_018),
        ("resnet110", 1_727_962),
        ("wrn-28-10", 36_479_194),
        ("mobilenet-v3-small", 2_542_856),
        ("mobilenet-v3-large", 5_483_032),
        ("efficientnet-b0", 5_288_548),
        ("convnext-tiny", 28_589_128),
    ] {
        assert_eq!(find(name).unwrap().parameters, Some(parameters), "{name}");
    }
}
