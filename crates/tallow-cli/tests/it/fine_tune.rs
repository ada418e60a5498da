//! Fine-tuning: pretrained weights by name from a hub, on a folder of pictures.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use crate::common::{Sandbox, stderr, stdout};
use serde_json::Value;
use tallow_models::{Model, ModelConfig};

const FINE_TUNE: &str = r#"
    question = "Does it run?"

    [data]
    dataset = "folder:pictures"

    [model]
    name = "resnet18"
    pretrained = "resnet18"

    [train]
    epochs = 2
    batch_size = 4
    freeze = ["conv1", "bn1", "layer1", "layer2", "layer3", "layer4"]
    unfreeze = [{ epoch = 1, params = ["layer4.1.conv2"] }]
    rules = [{ name_contains = "layer4", lr_scale = 0.1 }]
    optimizer = { name = "sgd", lr = 0.01, momentum = 0.9 }

    [[variants]]
    name = "tuned"
"#;

/// Pictures of 300 x 260 pixels in two classes, by their colour.
fn pictures(folder: &Path) {
    for (split, count) in [("train", 2), ("test", 2)] {
        for (class, colour) in [("blue", [20, 40, 220]), ("red", [220, 40, 20])] {
            let folder = folder.join(split).join(class);
            fs::create_dir_all(&folder).unwrap();
            for number in 0..count {
                let mut image = image::RgbImage::new(300, 260);
                for (x, y, pixel) in image.enumerate_pixels_mut() {
                    let shade = (x + 2 * y + 17 * number) % 30;
                    *pixel = image::Rgb(colour.map(|c: u8| c.saturating_add(shade as u8)));
                }
                image.save(folder.join(format!("{number}.png"))).unwrap();
            }
        }
    }
}

/// Hub with one file, of this path: its address.
fn hub(path: &'static str, body: Vec<u8>) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let request = lines.next().and_then(Result::ok).unwrap_or_default();
            let _ = lines.map_while(Result::ok).find(String::is_empty);
            let known = request.contains(path);
            let (status, body) = match known {
                true => ("200 OK", &body[..]),
                false => ("404 Not Found", &[][..]),
            };
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nX-Repo-Commit: {}\r\nConnection: close\r\n\r\n",
                body.len(),
                "0123456789".repeat(4)
            );
            if request.starts_with("GET") {
                let _ = stream.write_all(body);
            }
        }
    });
    address
}

fn tensors(path: &Path) -> HashMap<String, Vec<f32>> {
    let device = candle_core::Device::Cpu;
    let found = candle_core::safetensors::load(path, &device).unwrap();
    let flat = |tensor: &candle_core::Tensor| {
        let tensor = tensor.to_dtype(candle_core::DType::F32).unwrap();
        tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    found
        .iter()
        .map(|(name, tensor)| (name.clone(), flat(tensor)))
        .collect()
}

#[test]
fn resnet18_from_a_hub_learns_own_pictures() {
    let sandbox = Sandbox::new();
    pictures(&sandbox.path().join("pictures"));
    let published = sandbox.path().join("published.safetensors");
    let model = Model::build("resnet18", &ModelConfig::new(1000, (3, 224, 224))).unwrap();
    model.save_weights(&published).unwrap();
    let path = " /timm/resnet18.tv_in1k/resolve/main/model.safetensors ";
    let address = hub(path, fs::read(&published).unwrap());
    fs::write(sandbox.path().join("tune.toml"), FINE_TUNE).unwrap();
    let run = |address: &str, args: &[&str]| {
        let mut command = sandbox.tallow();
        command
            .env("HF_ENDPOINT", address)
            .env("NO_PROXY", "127.0.0.1")
            .args(["run", "tune.toml", "--json", "--threads", "2"])
            .args(args);
        command.output().unwrap()
    };
    let output = run(&address, &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    let notes = stderr(&output);
    for part in [
        "pretrained resnet18: hf:timm/resnet18.tv_in1k/model.safetensors (BSD-3-Clause), SHA-256 ",
        "recorded now: no digest of the file was known beforehand",
        "the last layer, `fc`, is new: 2 classes in place of 1000",
    ] {
        assert!(notes.contains(part), "{part}: {notes}");
    }
    let result: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let folder = sandbox.path().join(result["runs"][0].as_str().unwrap());

    // The preparation of the weights is in the record, for prediction.
    let config = fs::read_to_string(folder.join("config.toml")).unwrap();
    for part in [
        "resize",
        "center-crop",
        "0.485",
        "0.229",
        "pretrained = \"resnet18\"",
    ] {
        assert!(config.contains(part), "{part}: {config}");
    }

    // What was frozen to the end has the published values, the rest has others; statistics of batch norm follow the pictures.
    let (before, after) = (
        tensors(&published),
        tensors(&folder.join("model.safetensors")),
    );
    assert_eq!(after["fc.weight"].len(), 2 * 512);
    for (name, values) in &after {
        let changed = !name.starts_with("fc.") && before[name] != *values;
        let trained = name == "layer4.1.conv2.weight";
        let statistics = name.contains("running_") || name.ends_with("num_batches_tracked");
        assert_eq!(
            changed,
            trained || statistics && !name.starts_with("fc."),
            "{name}"
        );
    }

    // The second time from the cache, where the digest is compared.
    let output = run("http://127.0.0.1:9", &["--set", "train.max_steps=1"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("as recorded at the first download"));
    let other = Model::build(
        "resnet18",
        &ModelConfig {
            seed: 1,
            ..ModelConfig::new(1000, (3, 224, 224))
        },
    );
    let snapshot = sandbox
        .home()
        .join("hf/hub/models--timm--resnet18.tv_in1k/snapshots");
    let cached = snapshot
        .join("0123456789".repeat(4))
        .join("model.safetensors");
    fs::remove_file(&cached).unwrap();
    other.unwrap().save_weights(&cached).unwrap();
    let output = run("http://127.0.0.1:9", &[]);
    assert_eq!(output.status.code(), Some(2));
    let error = stderr(&output);
    assert!(
        error.contains("recorded at the first download") && error.contains("found"),
        "{error}"
    );
}

#[test]
fn recipes_that_contradict_themselves_are_refused() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path().join("tune.toml"), FINE_TUNE).unwrap();
    for (set, part) in [
        ("model.pretrained=resnet81", "did you mean `resnet18`?"),
        (
            "model.name=resnet34",
            "are weights of `resnet18`, and model.name is `resnet34`",
        ),
        ("model.weights=a.th", "the weights `a.th` are not here"),
        ("model.whiten=0", "model.whiten is 0"),
    ] {
        let output = sandbox
            .tallow()
            .args(["run", "tune.toml", "--set", set])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{set}");
        assert!(stderr(&output).contains(part), "{set}: {}", stderr(&output));
    }
    let text = FINE_TUNE.replace("pretrained = \"resnet18\"", "");
    fs::write(sandbox.path().join("plain.toml"), text).unwrap();
    let output = sandbox
        .tallow()
        .args(["run", "plain.toml"])
        .output()
        .unwrap();
    let error = stderr(&output);
    assert!(error.contains("missing key `transforms`"), "{error}");
}
