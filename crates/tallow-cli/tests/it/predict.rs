//! `predict`: images as people have them, through the binary as a user runs it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::{Sandbox, skipped, stderr, stdout};
use crate::drawn_digits::page;
use image::{DynamicImage, GrayImage, Luma, RgbImage};
use serde_json::Value;
use tallow_models::{Model, ModelConfig};

/// The code, and what is printed on standard output and standard error.
fn predict(sandbox: &Sandbox, args: &[&str]) -> (Option<i32>, String, String) {
    let output = sandbox.tallow().arg("predict").args(args).output().unwrap();
    (output.status.code(), stdout(&output), stderr(&output))
}

/// Output of `--json`, a value for each line.
fn json(sandbox: &Sandbox, args: &[&str]) -> Vec<Value> {
    let (code, text, message) = predict(sandbox, &[args, &["--json"]].concat());
    assert_eq!(code, Some(0), "{message}");
    assert_eq!(message, "");
    let lines = text.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().unwrap()
}

/// Weights that nobody trained.
fn weights(sandbox: &Sandbox, model: &str, config: &ModelConfig) -> String {
    let path = sandbox.path().join(format!("{model}.safetensors"));
    let model = Model::build(model, config).unwrap();
    model.save_weights(&path).unwrap();
    path.to_str().unwrap().to_string()
}

const ON_MNIST: &str = r#"
    question = "Which digit is it?"

    [data]
    dataset = "mnist"
    transforms = [{ name = "to-tensor" }, { name = "normalize", mean = [0.1307], std = [0.3081] }]
    train_samples = 20000
    test_samples = 2000

    [model]
    name = "lenet5"

    [train]
    epochs = 3
    batch_size = 64
    augment = [{ name = "random-crop", size = 28, padding = 2 }]
    optimizer = { name = "adam", lr = 0.002 }

    [[variants]]
    name = "lenet5"
"#;

/// Trains on real digits, draws others, and asks.
#[test]
fn drawn_digits_are_named_whichever_way_they_are_inked() {
    let Some(data) = std::env::var_os("TALLOW_DATA") else {
        skipped("set TALLOW_DATA");
        return;
    };
    if !Path::new(&data).join("mnist").is_dir() {
        skipped(&format!("no MNIST in {}", Path::new(&data).display()));
        return;
    }
    let sandbox = Sandbox::new();
    fs::write(sandbox.path().join("digits.toml"), ON_MNIST).unwrap();
    let output = sandbox
        .tallow()
        .args(["run", "digits.toml", "--json", "--threads", "2", "--data"])
        .arg(&data)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let result: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let run = result["runs"][0].as_str().unwrap();

    let mut files = Vec::new();
    let inks = [("dark", (205.0, 40.0)), ("light", (45.0, 225.0))];
    for digit in 0..10 {
        for (name, ink) in inks {
            let file = format!("{digit}-{name}.png");
            page(digit, ink).save(sandbox.path().join(&file)).unwrap();
            files.push(file);
        }
    }
    let mut args = vec!["--run", run, "--explain", "why"];
    args.extend(files.iter().map(String::as_str));
    let mut right = Vec::new();
    for (found, file) in json(&sandbox, &args).iter().zip(&files) {
        let preparation = found["preparation"].to_string();
        let inverted = preparation.contains("\"inverted (dark on light");
        assert_eq!(inverted, file.contains("dark"), "{file}: {preparation}");
        for step in [
            "200x300",
            "Otsu",
            "20x20",
            "centre of mass",
            "yann.lecun.com",
            "mean 0.1307",
        ] {
            assert!(
                preparation.contains(step),
                "{file}: no {step} in {preparation}"
            );
        }
        assert_eq!(found["top"].as_array().unwrap().len(), 5);
        let picture =
            image::open(sandbox.path().join(found["explanation"].as_str().unwrap())).unwrap();
        assert_eq!((picture.width(), picture.height()), (448, 448));
        let class = found["class"].as_str().unwrap();
        println!("{file}: {class} ({})", found["probability"]);
        right.push(file.starts_with(class));
    }
    assert_eq!(right.len(), 20);
    // All of them; a hand as even as this one's could be read wrongly once.
    let count = right.iter().filter(|right| **right).count();
    assert!(count >= 19, "{count} of 20: {right:?}");

    // A JPEG in colour, the paper yellow, through the table.
    let yellow = RgbImage::from_fn(200, 300, |x, y| {
        let grey = page_once(7).get_pixel(x, y).0[0];
        image::Rgb([grey, grey, grey / 2])
    });
    DynamicImage::ImageRgb8(yellow)
        .save(sandbox.path().join("seven.jpg"))
        .unwrap();
    let (code, text, message) = predict(&sandbox, &["--run", run, "seven.jpg", "--top", "3"]);
    assert_eq!(code, Some(0), "{message}");
    assert!(text.starts_with("seven.jpg: 7\n"), "{text}");
    assert!(
        message.contains("inverted (dark on light") && message.contains("JPEG in colour"),
        "{message}"
    );
}

fn page_once(digit: usize) -> &'static GrayImage {
    static PAGE: std::sync::OnceLock<GrayImage> = std::sync::OnceLock::new();
    PAGE.get_or_init(|| page(digit, (205.0, 40.0)))
}

#[test]
fn images_of_any_kind_go_through_a_network_of_any_shape() {
    let sandbox = Sandbox::new();
    let cnn = weights(&sandbox, "cnn", &ModelConfig::new(10, (1, 28, 28)));
    page(4, (205.0, 40.0))
        .save(sandbox.path().join("four.png"))
        .unwrap();
    let as_mnist = ["--weights", &cnn, "--model", "cnn", "--dataset", "mnist"];
    let found = json(
        &sandbox,
        &[&as_mnist[..], &["four.png", "--top", "20"]].concat(),
    );
    let top = found[0]["top"].as_array().unwrap();
    assert_eq!(top.len(), 10);
    let sum: f64 = top.iter().map(|c| c["probability"].as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-5, "{sum}");
    assert!(
        top.windows(2)
            .all(|w| w[0]["probability"].as_f64() >= w[1]["probability"].as_f64())
    );
    assert!(
        found[0]["preparation"]
            .to_string()
            .contains("usual for mnist")
    );
    assert_eq!(found[0]["explanation"], Value::Null);

    // Photographs are scaled, and their middle is taken.
    let config = ModelConfig::new(10, (3, 32, 32));
    let cifar = weights(&sandbox, "cifar-cnn", &config);
    let photo = RgbImage::from_fn(90, 60, |x, y| image::Rgb([x as u8, y as u8, 200]));
    let photo = DynamicImage::ImageRgb8(photo);
    for name in ["photo.webp", "photo.bmp", "photo.jpg"] {
        photo.save(sandbox.path().join(name)).unwrap();
    }
    let as_cifar = [
        "--weights",
        &cifar,
        "--model",
        "cifar-cnn",
        "--dataset",
        "cifar10",
    ];
    let photos = ["photo.webp", "photo.bmp", "photo.jpg", "--explain", "why"];
    let found = json(&sandbox, &[&as_cifar[..], &photos].concat());
    assert_eq!(found.len(), 3);
    for found in &found {
        let steps = found["preparation"].to_string();
        assert!(
            steps.contains("scaled to 48x32") && steps.contains("32x32 cut out"),
            "{steps}"
        );
    }
    assert_eq!(found[0]["top"], found[1]["top"]);
    let files: Vec<_> = found
        .iter()
        .map(|f| f["explanation"].as_str().unwrap())
        .collect();
    let expected = ["photo.png", "photo-2.png", "photo-3.png"]
        .map(|name| format!("why{}{name}", std::path::MAIN_SEPARATOR));
    assert_eq!(files, expected);
    for file in files {
        assert!(image::open(sandbox.path().join(file)).is_ok());
    }

    // The middle layers can be looked at, and one picture can have a name.
    let one = ["photo.bmp", "--explain", "one.png", "--layer", "conv1"];
    let (code, text, message) = predict(&sandbox, &[&as_cifar[..], &one].concat());
    assert_eq!(code, Some(0), "{message}");
    assert!(text.contains("of the layer conv1: one.png"), "{text}");
    assert!(sandbox.path().join("one.png").is_file());
    let left: Vec<_> = fs::read_dir(sandbox.path())
        .unwrap()
        .flatten()
        .map(|e| e.path())
        .collect();
    assert!(
        !left
            .iter()
            .any(|p| p.extension().is_some_and(|e| e == "part")),
        "{left:?}"
    );
}

/// A finished run on the built-in sample.
fn run(sandbox: &Sandbox) -> PathBuf {
    let text = r#"
        question = "Does it run?"
        [data]
        dataset = "fashion-mnist-sample"
        transforms = [{ name = "to-tensor" }, { name = "normalize", mean = [0.3], std = [0.4] }]
        train_samples = 640
        test_samples = 200
        [model]
        name = "mlp"
        hidden = [16]
        [train]
        epochs = 1
        batch_size = 64
        optimizer = { name = "adam", lr = 0.005 }
        [[variants]]
        name = "fc"
    "#;
    fs::write(sandbox.path().join("small.toml"), text).unwrap();
    let output = sandbox
        .tallow()
        .args(["run", "small.toml", "--json", "--threads", "2"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let result: Value = serde_json::from_str(&stdout(&output)).unwrap();
    sandbox.path().join(result["runs"][0].as_str().unwrap())
}

#[test]
fn a_record_says_all_that_there_is_to_say() {
    let sandbox = Sandbox::new();
    let folder = run(&sandbox);
    let dir = folder.to_str().unwrap();
    page(1, (205.0, 40.0))
        .save(sandbox.path().join("thing.png"))
        .unwrap();
    let found = json(&sandbox, &["--run", dir, "thing.png"]);
    assert_eq!(
        (found[0]["model"].as_str(), found[0]["dataset"].as_str()),
        (Some("mlp"), Some("fashion-mnist-sample"))
    );
    let steps = found[0]["preparation"].to_string();
    for part in ["mean 0.3 and std 0.4", "config.toml", "arXiv 1708.07747"] {
        assert!(steps.contains(part), "no {part} in {steps}");
    }
    let classes = fs::read_to_string(folder.join("environment.json")).unwrap();
    assert!(classes.contains(found[0]["class"].as_str().unwrap()));
    // By their file they are the same weights, and the record beside them says the rest.
    let file = folder.join("model.safetensors");
    let by_file = [
        "--weights",
        file.to_str().unwrap(),
        "--model",
        "mlp",
        "--set",
        "model.hidden=[16]",
    ];
    let same = json(&sandbox, &[&by_file[..], &["thing.png"]].concat());
    assert_eq!(same[0]["top"], found[0]["top"]);

    // A network without convolutions has nothing to look at.
    let (code, text, message) =
        predict(&sandbox, &["--run", dir, "thing.png", "--explain", "x.png"]);
    assert_eq!((code, text.as_str()), (Some(2), ""));
    assert!(
        message.contains("--explain needs a model with convolutions"),
        "{message}"
    );
    fs::remove_file(folder.join("model.safetensors")).unwrap();
    let (code, _, message) = predict(&sandbox, &["--run", dir, "thing.png"]);
    assert_eq!(code, Some(2));
    assert!(
        message.contains("has not finished") && message.contains("tallow runs"),
        "{message}"
    );
}

#[test]
fn bad_images_do_not_lose_the_others() {
    let sandbox = Sandbox::new();
    let cnn = weights(&sandbox, "cnn", &ModelConfig::new(10, (1, 28, 28)));
    let mut args = vec![
        "--weights",
        &cnn,
        "--model",
        "cnn",
        "--dataset",
        "mnist",
        "--json",
    ];
    // More than one batch.
    let names: Vec<String> = (0..70).map(|i| format!("{i}.png")).collect();
    let good = page(3, (205.0, 40.0));
    for (i, name) in names.iter().enumerate() {
        match i {
            3 | 66 => fs::write(sandbox.path().join(name), "no picture").unwrap(),
            _ => good.save(sandbox.path().join(name)).unwrap(),
        }
    }
    args.extend(names.iter().map(String::as_str));
    let (code, text, message) = predict(&sandbox, &args);
    assert_eq!(code, Some(2));
    let lines: Vec<Value> = text
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(lines.len(), 68);
    assert_eq!(
        (&lines[3]["image"], &lines[67]["image"]),
        (&"4.png".into(), &"69.png".into())
    );
    // The number of images in a batch changes the last bits.
    let first = lines[0]["probability"].as_f64().unwrap();
    for line in &lines {
        assert_eq!(line["class"], lines[0]["class"]);
        assert!((line["probability"].as_f64().unwrap() - first).abs() < 1e-5);
    }
    for part in [
        "3.png: is no image",
        "66.png: is no image",
        "2 of 70 images",
    ] {
        assert!(message.contains(part), "no {part} in {message}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn names_that_are_no_unicode_are_text_beside_base64() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let sandbox = Sandbox::new();
    let cnn = weights(&sandbox, "cnn", &ModelConfig::new(10, (1, 28, 28)));
    let odd = |bytes| sandbox.path().join(OsStr::from_bytes(bytes));
    fs::rename(&cnn, odd(b"poids-\xe9.safetensors")).unwrap();
    let png = sandbox.path().join("plain.png");
    page(3, (205.0, 40.0)).save(&png).unwrap();
    fs::copy(&png, odd(b"\xff.png")).unwrap();
    let output = sandbox
        .tallow()
        .args([
            "predict",
            "--model",
            "cnn",
            "--dataset",
            "mnist",
            "--json",
            "--weights",
        ])
        .args([
            OsStr::from_bytes(b"poids-\xe9.safetensors"),
            OsStr::from_bytes(b"\xff.png"),
        ])
        .arg("plain.png")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    let lines: Vec<Value> = text
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(lines[0]["image"], "\u{fffd}.png");
    // Base64 of the bytes ff 2e 70 6e 67.
    assert_eq!(lines[0]["image_base64"], "/y5wbmc=");
    assert_eq!(lines[0]["weights"], "poids-\u{fffd}.safetensors");
    assert_eq!(lines[1]["image"], "plain.png");
    assert!(lines[1].get("image_base64").is_none());
    assert_eq!(lines[0]["top"], lines[1]["top"]);
}

#[test]
fn what_cannot_be_predicted_is_refused_with_the_next_step() {
    let sandbox = Sandbox::new();
    let cnn = weights(&sandbox, "cnn", &ModelConfig::new(10, (1, 28, 28)));
    let at = |name: &str| sandbox.path().join(name);
    let good = page(3, (205.0, 40.0));
    good.save(at("good.png")).unwrap();
    let bytes = fs::read(at("good.png")).unwrap();
    fs::write(at("cut.png"), &bytes[..bytes.len() / 2]).unwrap();
    good.save(at("whole.jpg")).unwrap();
    let bytes = fs::read(at("whole.jpg")).unwrap();
    fs::write(at("cut.jpg"), &bytes[..bytes.len() / 2]).unwrap();
    fs::write(at("notes.png"), "these are notes").unwrap();
    fs::write(at("empty.png"), "").unwrap();
    fs::create_dir(at("folder")).unwrap();
    GrayImage::from_pixel(60, 60, Luma([200]))
        .save(at("blank.png"))
        .unwrap();

    let usual = ["--weights", &cnn, "--model", "cnn", "--dataset", "mnist"];
    for (image, words) in [
        ("cut.png", &["cut.png", "get the file again"][..]),
        ("cut.jpg", &["cut.jpg", "cut off before its end"]),
        (
            "notes.png",
            &["notes.png", "is no image", "expected a JPEG, PNG, WebP"],
        ),
        ("empty.png", &["empty.png", "is no image"]),
        ("folder", &["folder", "there are no pictures"]),
        ("none.png", &["none.png", "no such file"]),
        ("blank.png", &["blank.png", "no drawing", "more contrast"]),
    ] {
        // The good one beside it is predicted all the same.
        let (code, text, message) = predict(&sandbox, &[&usual[..], &[image, "good.png"]].concat());
        assert_eq!(code, Some(2), "{image}: {message}");
        assert!(text.starts_with("good.png: "), "{image}: {text}");
        assert!(message.contains("1 of 2 images"), "{image}: {message}");
        let (code, text, _) = predict(&sandbox, &[&usual[..], &[image]].concat());
        assert_eq!((code, text.as_str()), (Some(2), ""));
        assert!(
            words.iter().all(|word| message.contains(word)),
            "{image}: {message}"
        );
        assert!(!message.contains("panicked"), "{message}");
    }

    for (args, words) in [
        (&["good.png"][..], &["--run"][..]),
        (
            &["--run", "nowhere", "good.png"],
            &["nowhere", "no such folder", "tallow runs"],
        ),
        (
            &["--run", "folder", "good.png"],
            &["not a run record", "tallow runs"],
        ),
        (
            &["--run", "folder", "--model", "cnn", "good.png"],
            &["--run", "--model"],
        ),
        (&["--weights", &cnn, "good.png"], &["--model"]),
        (
            &["--weights", &cnn, "--model", "cnn", "good.png"],
            &["the dataset of these weights is unknown", "--dataset"],
        ),
        (
            &[
                "--weights",
                &cnn,
                "--model",
                "cnm",
                "--dataset",
                "mnist",
                "good.png",
            ],
            &["did you mean `cnn`"],
        ),
        (
            &[
                "--weights",
                &cnn,
                "--model",
                "lenet5",
                "--dataset",
                "mnist",
                "good.png",
            ],
            &["not those of `lenet5`", "tallow summary lenet5", "missing"],
        ),
        (
            &[
                "--weights",
                &cnn,
                "--model",
                "cnn",
                "--dataset",
                "emnist-letters",
                "--mean",
                "0",
                "--std",
                "1",
                "good.png",
            ],
            &["not those of `cnn`", "26 classes"],
        ),
        (
            &[
                "--weights",
                &cnn,
                "--model",
                "cnn",
                "--dataset",
                "mnits",
                "--mean",
                "0",
                "--std",
                "1",
                "good.png",
            ],
            &["did you mean `mnist`"],
        ),
        (
            &[
                "--weights",
                "none.pth",
                "--model",
                "cnn",
                "--dataset",
                "mnist",
                "good.png",
            ],
            &["none.pth", "TALLOW_WEIGHTS"],
        ),
        (
            &["--weights", &cnn, "--model", "cnn", "--dataset", "mnist"],
            &["IMAGE"],
        ),
        (
            &[&usual[..], &["good.png", "--top", "0"]].concat(),
            &["--top"],
        ),
        (
            &[&usual[..], &["good.png", "--layer", "conv1"]].concat(),
            &["--explain"],
        ),
        (
            &[
                &usual[..],
                &["good.png", "--explain", "why", "--layer", "conv9"],
            ]
            .concat(),
            &["no layer `conv9`", "did you mean `conv", "relu1"],
        ),
        (
            &[
                &usual[..],
                &["good.png", "good.png", "--explain", "one.png"],
            ]
            .concat(),
            &["give a folder"],
        ),
        (
            &[&usual[..], &["good.png", "--explain", "no/one.png"]].concat(),
            &["there is no folder no"],
        ),
        (
            &[&usual[..], &["good.png", "--explain", "good.png/x"]].concat(),
            &["--explain good.png/x"],
        ),
    ] {
        let (code, text, message) = predict(&sandbox, args);
        assert_eq!((code, text.as_str()), (Some(2), ""), "{args:?}: {message}");
        assert!(
            words.iter().all(|word| message.contains(word)),
            "{args:?}: {message}"
        );
        assert!(!message.contains("panicked"), "{message}");
    }
}
