//! `export`: the network of a run for other programs.

use std::fs;

use prost::Message;
use safetensors::SafeTensors;
use tallow_models::read_weights;
use tallow_models::tallow_onnx::proto::ModelProto;

use crate::common::{Sandbox, stderr, stdout};

const SMALL: &str = r#"
    question = "Does it run?"
    seeds = [0]
    claims = ["fc.test_accuracy > 0.1"]

    [data]
    dataset = "fashion-mnist-sample"
    transforms = [{ name = "to-tensor" }, { name = "normalize", mean = [0.286], std = [0.353] }]

    [train]
    epochs = 1
    batch_size = 64
    optimizer = { name = "adam", lr = 0.005 }

    [[variants]]
    name = "fc"
    model.name = "cnn"
"#;

/// Folder of a run of [`SMALL`].
fn trained(sandbox: &Sandbox) -> String {
    fs::write(sandbox.path().join("small.toml"), SMALL).unwrap();
    let output = sandbox
        .tallow()
        .args(["run", "small.toml"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let runs = fs::read_dir(sandbox.out().join("small")).unwrap();
    let mut runs = runs.map(|entry| entry.unwrap().path());
    let run = runs.find(|path| path.join("model.safetensors").is_file());
    run.unwrap().to_str().unwrap().to_string()
}

#[test]
fn a_run_is_exported_in_every_format() {
    let sandbox = Sandbox::new();
    let run = trained(&sandbox);
    let export = |args: &[&str]| {
        let args = [&["export", "--run", &run], args].concat();
        let output = sandbox.tallow().args(args).output().unwrap();
        (output.status.code(), stdout(&output), stderr(&output))
    };
    let file = |name: &str| sandbox.path().join(name);
    let trained = read_weights(format!("{run}/model.safetensors")).unwrap();
    let values = |tensors: &[(String, candle_core::Tensor)]| -> Vec<(String, Vec<f32>)> {
        let mut values: Vec<_> = tensors
            .iter()
            .map(|(name, t)| (name.clone(), t.flatten_all().unwrap().to_vec1().unwrap()))
            .collect();
        values.sort_by(|a, b| a.0.cmp(&b.0));
        values
    };

    // The path alone is on standard output.
    let (code, text, message) = export(&["--onnx"]);
    assert_eq!((code, text.as_str()), (Some(0), "cnn.onnx\n"), "{message}");
    assert!(
        message.contains(
            "input images (N, 1, 28, 28), floats, prepared as the run's; output logits (N, 10)"
        ),
        "{message}"
    );
    let model = ModelProto::decode(&fs::read(file("cnn.onnx")).unwrap()[..]).unwrap();
    let metadata: Vec<_> = model
        .metadata_props
        .iter()
        .map(|e| (e.key(), e.value()))
        .collect();
    let of = |key: &str| metadata.iter().find(|(k, _)| *k == key).unwrap().1;
    assert_eq!(
        (of("model"), of("dataset")),
        ("cnn", "fashion-mnist-sample")
    );
    assert_eq!(
        (of("input_shape"), of("mean"), of("std")),
        ("[1,28,28]", "[0.286]", "[0.353]")
    );
    let classes: Vec<String> = serde_json::from_str(of("classes")).unwrap();
    assert_eq!((classes.len(), classes[9].as_str()), (10, "Ankle boot"));
    assert!(
        of("transforms").contains("to-tensor"),
        "{}",
        of("transforms")
    );
    let graph = model.graph.unwrap();
    assert_eq!(graph.node[0].op_type(), "Conv");
    let weight = graph
        .initializer
        .iter()
        .find(|a| a.name() == "fc1.weight")
        .unwrap();
    let expected = values(&trained)
        .into_iter()
        .find(|(name, _)| name == "fc1.weight")
        .unwrap()
        .1;
    let bytes: Vec<u8> = expected.into_iter().flat_map(f32::to_le_bytes).collect();
    assert!(weight.raw_data.as_ref() == Some(&bytes));

    for (values, first) in [
        (&["--with-normalization"][..], "Sub"),
        (&["--with-normalization", "bytes"], "Cast"),
    ] {
        let (code, text, message) = export(&[&["--onnx", "-o", "out/own.onnx"], values].concat());
        assert_eq!(
            (code, text.as_str()),
            (Some(0), "out/own.onnx\n"),
            "{message}"
        );
        let model = ModelProto::decode(&fs::read(file("out/own.onnx")).unwrap()[..]).unwrap();
        assert_eq!(model.graph.unwrap().node[0].op_type(), first);
    }

    let (code, text, message) = export(&["--torch"]);
    assert_eq!((code, text.as_str()), (Some(0), "cnn.pt\n"), "{message}");
    assert!(values(&read_weights(file("cnn.pt")).unwrap()) == values(&trained));

    let (code, _, message) = export(&["--safetensors", "--output", "weights.safetensors"]);
    assert_eq!(code, Some(0), "{message}");
    let bytes = fs::read(file("weights.safetensors")).unwrap();
    let metadata = SafeTensors::read_metadata(&bytes)
        .unwrap()
        .1
        .metadata()
        .clone()
        .unwrap();
    assert_eq!(
        (metadata["format"].as_str(), metadata["std"].as_str()),
        ("pt", "[0.353]")
    );
    assert!(values(&read_weights(file("weights.safetensors")).unwrap()) == values(&trained));
}

#[test]
fn what_cannot_be_exported_is_told() {
    let sandbox = Sandbox::new();
    for (args, expected) in [
        (&["--run", "runs", "--onnx"][..], "--run runs"),
        (&["--run", "runs"], "--onnx|--safetensors|--torch"),
        (
            &["--run", "runs", "--onnx", "--torch"],
            "cannot be used with",
        ),
        (
            &["--run", "runs", "--torch", "--with-normalization"],
            "--onnx",
        ),
        (&["--onnx"], "--run <DIR>"),
    ] {
        let output = sandbox.tallow().arg("export").args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    }
}
