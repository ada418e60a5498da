//! Given weights: `evaluate`, and training that begins with them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::{Sandbox, skipped, stderr, stdout};
use serde_json::Value;

const SMALL: &str = r#"
    question = "Does it run?"

    [data]
    dataset = "fashion-mnist-sample"
    transforms = [{ name = "to-tensor" }, { name = "normalize", mean = [0.3], std = [0.4] }]

    [model]
    name = "cnn"

    [train]
    epochs = 1
    batch_size = 64
    optimizer = { name = "adam", lr = 0.005 }

    [[variants]]
    name = "cnn"
"#;

/// Trains for an epoch: what `--json` says, and the folder of the run record.
fn train(sandbox: &Sandbox, args: &[&str]) -> (Value, PathBuf) {
    fs::write(sandbox.path().join("small.toml"), SMALL).unwrap();
    let mut command = sandbox.tallow();
    command
        .args(["run", "small.toml", "--json", "--threads", "2"])
        .args(args);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let result: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let folder = sandbox.path().join(result["runs"][0].as_str().unwrap());
    (result, folder)
}

fn evaluate(sandbox: &Sandbox, args: &[&str]) -> (Option<i32>, String, String) {
    let output = sandbox
        .tallow()
        .arg("evaluate")
        .args(args)
        .output()
        .unwrap();
    (output.status.code(), stdout(&output), stderr(&output))
}

fn json(sandbox: &Sandbox, args: &[&str]) -> Value {
    let (code, text, message) = evaluate(sandbox, &[args, &["--json"]].concat());
    assert_eq!(code, Some(0), "{message}");
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(&text).unwrap()
}

#[test]
fn a_record_s_weights_evaluate_to_what_it_says() {
    let sandbox = Sandbox::new();
    let (trained, folder) = train(&sandbox, &[]);
    let weights = folder.join("model.safetensors");
    let on_sample = |weights: &Path, more: &[&str]| {
        let weights = weights.to_str().unwrap();
        let args = [
            "--model",
            "cnn",
            "--dataset",
            "fashion-mnist-sample",
            "--weights",
            weights,
        ];
        json(&sandbox, &[&args[..], more].concat())
    };
    let result = on_sample(&weights, &["--batch", "77"]);
    let expected = &trained["variants"][0]["metrics"]["test_accuracy"]["values"][0];
    assert_eq!(result["accuracy"], *expected);
    assert_eq!(result["total"], 2000);
    assert_eq!(
        result["correct"].as_f64().unwrap() / 2000.0,
        expected.as_f64().unwrap()
    );
    assert_eq!(
        result["transforms"][1]["mean"][0].as_f64().unwrap() as f32,
        0.3
    );
    assert!(
        result["transforms_source"]
            .as_str()
            .unwrap()
            .contains("config.toml")
    );
    let classes = result["per_class"].as_array().unwrap();
    let sum = |key: &str| {
        classes
            .iter()
            .map(|c| c[key].as_u64().unwrap())
            .sum::<u64>()
    };
    assert_eq!(classes.len(), 10);
    assert_eq!(
        (sum("images"), sum("correct")),
        (2000, result["correct"].as_u64().unwrap())
    );

    // Elsewhere the record is not beside them, and the dataset's own figures are used, and named.
    let copy = sandbox.path().join("copy.safetensors");
    fs::copy(&weights, &copy).unwrap();
    let result = on_sample(&copy, &[]);
    assert_eq!(
        result["transforms_source"],
        "usual for fashion-mnist-sample"
    );
    let given = on_sample(&copy, &["--mean", "0.3", "--std", "0.4"]);
    assert_eq!(given["accuracy"], *expected);
    let set = r#"data.transforms=[{name="to-tensor"},{name="normalize",mean=[0.3],std=[0.4]}]"#;
    assert_eq!(on_sample(&copy, &["--set", set])["accuracy"], *expected);

    let args = [
        "--model",
        "cnn",
        "--dataset",
        "fashion-mnist-sample",
        "--weights",
        "copy.safetensors",
    ];
    let (code, text, message) = evaluate(&sandbox, &args);
    assert_eq!(code, Some(0), "{message}");
    for part in [
        "of 2,000 correct: ",
        "mean 0.286 and std 0.353",
        "usual for",
        "ankle boot",
        "recall",
    ] {
        assert!(text.to_lowercase().contains(part), "no {part} in {text}");
    }
}

#[test]
fn what_cannot_be_evaluated_is_refused() {
    let sandbox = Sandbox::new();
    let ran = sandbox.path().join("ran");
    let command = format!("touch {}", ran.display());
    let mut hostile =
        b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}."
            .to_vec();
    hostile.extend(b"\x80\x02cposix\nsystem\nX");
    hostile.extend((command.len() as u32).to_le_bytes());
    hostile.extend(command.as_bytes());
    hostile.extend(b"\x85R.\x80\x02].");
    fs::write(sandbox.path().join("hostile.th"), hostile).unwrap();
    fs::write(sandbox.path().join("page.pth"), "<html>not found</html>").unwrap();
    let sample = "fashion-mnist-sample";
    for (model, weights, dataset, more, words) in [
        (
            "cnn",
            "hostile.th",
            sample,
            &[][..],
            &["hostile.th", "`posix.system`", "not executed"][..],
        ),
        ("cnn", "page.pth", sample, &[], &["page.pth", "web page"]),
        (
            "cnn",
            "none.pth",
            sample,
            &[],
            &["none.pth", "TALLOW_WEIGHTS"],
        ),
        ("cnm", "page.pth", sample, &[], &["did you mean `cnn`?"]),
        (
            "cnn",
            "page.pth",
            "fashion-mnist-sampel",
            &["--mean", "0", "--std", "1"],
            &["did you mean `fashion-mnist-sample`?"],
        ),
        (
            "cnn",
            "page.pth",
            sample,
            &["--mean", "0.5"],
            &["--mean and --std must be given together"],
        ),
        (
            "cnn",
            "page.pth",
            sample,
            &["--mean", "x", "--std", "1"],
            &["--mean"],
        ),
        ("cnn", "page.pth", sample, &["--batch", "0"], &["--batch"]),
        (
            "cnn",
            "page.pth",
            sample,
            &["--set", "model.widthdivisor=2"],
            &["model.width_divisor"],
        ),
        (
            "cnn",
            "page.pth",
            "emnist-digits",
            &[],
            &["emnist-digits", "--mean"],
        ),
    ] {
        let args = ["--model", model, "--weights", weights, "--dataset", dataset];
        let (code, text, message) = evaluate(&sandbox, &[&args[..], more].concat());
        assert_eq!((code, text.as_str()), (Some(2), ""), "{args:?}: {message}");
        assert!(
            words.iter().all(|word| message.contains(word)),
            "{args:?}: {message}"
        );
        assert!(!message.contains("panicked"), "{message}");
    }
    assert!(!ran.exists());
}

/// Weights of a new `cnn` for this number of classes, with another seed under each prefix; `nan` in one bias.
fn new_weights(path: &Path, classes: usize, prefixes: &[&str], nan: bool) {
    let mut config = tallow_models::find("cnn").unwrap().config().unwrap();
    config.classes = classes;
    let mut tensors = std::collections::HashMap::new();
    for (seed, prefix) in prefixes.iter().enumerate() {
        config.seed = seed as u64;
        let model = tallow_models::Model::build("cnn", &config).unwrap();
        for (name, tensor) in model.store().state_dict().unwrap() {
            let tensor = match nan && name == "fc2.bias" {
                true => (tensor * f64::NAN).unwrap(),
                false => tensor,
            };
            tensors.insert(format!("{prefix}{name}"), tensor);
        }
    }
    candle_core::safetensors::save(&tensors, path).unwrap();
}

#[test]
fn a_key_chooses_one_of_two_sets_of_weights_and_the_choice_is_printed() {
    let sandbox = Sandbox::new();
    let file = |name: &str| sandbox.path().join(name);
    new_weights(&file("first.safetensors"), 10, &[""], false);
    new_weights(
        &file("both.safetensors"),
        10,
        &["net.module.", "ema.module."],
        false,
    );
    let on_sample = |weights: &str, more: &[&str]| {
        let args = ["--model", "cnn", "--dataset", "fashion-mnist-sample"];
        let args = [&args[..], &["--weights", weights, "--json"], more].concat();
        let (code, text, message) = evaluate(&sandbox, &args);
        assert_eq!(code, Some(0), "{message}");
        let result: Value = serde_json::from_str(&text).unwrap();
        (result["confusion"].clone(), message)
    };
    let (first, message) = on_sample("first.safetensors", &[]);
    assert!(!message.contains("several sets"), "{message}");
    let (taken, message) = on_sample("both.safetensors", &[]);
    assert_eq!(taken, first);
    assert!(
        message.contains("several sets of weights: `net.module` taken, not `ema.module`")
            && message.contains("--weights-key"),
        "{message}"
    );
    let (other, _) = on_sample("both.safetensors", &["--weights-key", "ema"]);
    assert_ne!(other, first);

    // In a recipe.
    fs::write(file("small.toml"), SMALL).unwrap();
    let run = |sets: &[&str]| {
        let sets = sets.iter().flat_map(|set| ["--set", set]);
        let mut command = sandbox.tallow();
        command.args(["run", "small.toml", "--set", "train.max_steps=1"]);
        let output = command.args(sets).output().unwrap();
        (output.status.code(), stderr(&output))
    };
    let both = "model.weights=both.safetensors";
    let (code, message) = run(&[both, "model.weights_key=ema"]);
    assert_eq!(code, Some(0), "{message}");
    assert!(message.contains("`ema.module` taken"), "{message}");
    let (code, message) = run(&[both, "model.weights_key=teacher"]);
    assert_eq!(code, Some(2), "{message}");
    assert!(
        message.contains("no weights with the key `teacher`; the file has"),
        "{message}"
    );
    let (code, message) = run(&["model.weights_key=ema"]);
    assert_eq!(code, Some(2), "{message}");
    assert!(message.contains("without model.weights"), "{message}");

    // Weights for another number of classes.
    new_weights(&file("seven.safetensors"), 7, &[""], false);
    let seven = "model.weights=seven.safetensors";
    let (code, message) = run(&[seven]);
    assert_eq!(code, Some(2), "{message}");
    assert!(
        message.contains("(`fc2`)") && message.contains("model.new_head = true"),
        "{message}"
    );
    let (code, message) = run(&[seven, "model.new_head=true"]);
    assert_eq!(code, Some(0), "{message}");
}

#[test]
fn weights_that_are_not_finite_have_no_accuracy_and_no_class() {
    let sandbox = Sandbox::new();
    new_weights(&sandbox.path().join("nan.safetensors"), 10, &[""], true);
    let picture = sandbox.path().join("shirt.png");
    let square = |x: u32, y: u32| {
        [if x.abs_diff(14) < 6 && y.abs_diff(14) < 9 {
            220
        } else {
            0
        }]
    };
    image::GrayImage::from_fn(28, 28, |x, y| square(x, y).into())
        .save(&picture)
        .unwrap();
    let weights = ["--model", "cnn", "--weights", "nan.safetensors"];
    for (command, rest) in [("evaluate", &[][..]), ("predict", &["shirt.png"])] {
        for (allow, words) in [
            (&[][..], &["`fc2.bias`", "10 of 10"][..]),
            (&["--allow-non-finite"], &["not finite"]),
        ] {
            let mut process = sandbox.tallow();
            process.arg(command).args(weights).args(allow).args(rest);
            process.args(["--dataset", "fashion-mnist-sample"]);
            let output = process.output().unwrap();
            let message = stderr(&output);
            assert_eq!(output.status.code(), Some(2), "{command}: {message}");
            assert_eq!(stdout(&output), "", "{command}");
            assert!(
                words.iter().all(|word| message.contains(word)),
                "{command}: {message}"
            );
        }
    }
}

#[test]
fn training_begins_with_the_weights_it_is_given() {
    let sandbox = Sandbox::new();
    let (_, folder) = train(&sandbox, &[]);
    let weights = folder.join("model.safetensors");
    let given = format!("model.weights={}", weights.display());
    let state = |folder: &Path| {
        let tensors = tallow_models::read_weights(folder.join("model.safetensors")).unwrap();
        tensors
            .into_iter()
            .map(|(name, t)| (name, t.flatten_all().unwrap().to_vec1::<f32>().unwrap()))
    };
    // At a rate of 0 nothing changes but the head, which is new.
    let still = ["--set", &given, "--set", "train.optimizer.lr=0"];
    let (_, same) = train(&sandbox, &still);
    assert!(state(&same).eq(state(&folder)));
    let (_, new) = train(
        &sandbox,
        &[&still[..], &["--set", "model.new_head=true"]].concat(),
    );
    for ((name, before), (_, after)) in state(&folder).zip(state(&new)) {
        assert_eq!(before == after, !name.starts_with("fc2."), "{name}");
    }
    // Frozen layers stay; a rule of their own holds the others still.
    let rules = r#"train.rules=[{name_contains="fc1",lr_scale=0}]"#;
    let frozen = [
        "--set",
        &given,
        "--set",
        r#"train.freeze=["conv*"]"#,
        "--set",
        rules,
    ];
    let (_, frozen) = train(&sandbox, &frozen);
    for ((name, before), (_, after)) in state(&folder).zip(state(&frozen)) {
        assert_eq!(before == after, !name.starts_with("fc2."), "{name}");
    }
    let config = fs::read_to_string(frozen.join("config.toml")).unwrap();
    assert!(
        config.contains("conv*") && config.contains("lr_scale"),
        "{config}"
    );

    for (sets, word) in [
        (
            &["train.freeze=[\"cnv\"]"][..],
            "`cnv` matches no parameter",
        ),
        (&["model.new_head=true"], "model.weights"),
        (&["model.weights=none.pth"], "none.pth"),
        (&["model.name=mlp", &given], "missing fc3.weight"),
    ] {
        let sets = sets.iter().flat_map(|set| ["--set", set]);
        let output = sandbox
            .tallow()
            .args(["run", "small.toml"])
            .args(sets)
            .output()
            .unwrap();
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.contains(word), "{message}");
    }
}

/// 8,103 of 10,000 is what PyTorch gets from the same files.
#[test]
fn the_published_resnet20_is_as_good_as_in_pytorch() {
    let Some(data) = std::env::var_os("TALLOW_DATA") else {
        skipped("set TALLOW_DATA");
        return;
    };
    let weights = Path::new(&data).join("../weights/resnet20-12fca82f.th");
    if !weights.exists() {
        skipped(&format!("no {}", weights.display()));
        return;
    }
    let sandbox = Sandbox::new();
    let args = [
        "--model",
        "resnet20",
        "--dataset",
        "cifar10",
        "--data",
        data.to_str().unwrap(),
    ];
    let result = json(
        &sandbox,
        &[&args[..], &["--weights", "resnet20-12fca82f.th"]].concat(),
    );
    if !result["provenance"].as_str().unwrap().contains("jpeg-q75") {
        // The originals: 91.73 % as published.
        assert!(
            (result["accuracy"].as_f64().unwrap() - 0.9173).abs() < 0.001,
            "{result}"
        );
        return;
    }
    let correct = result["correct"].as_i64().unwrap();
    assert!((correct - 8103).abs() <= 5, "{correct}");
}

/// A hub that has one file, `us/tiny`'s `model.safetensors`: its address, and how to close it.
fn hub(body: Vec<u8>) -> (String, std::sync::Arc<std::sync::atomic::AtomicBool>) {
    use std::io::{BufRead, BufReader, Write};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use sha2::Digest;

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let closed = Arc::new(AtomicBool::new(false));
    let is_closed = closed.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let request = lines.next().and_then(Result::ok).unwrap_or_default();
            let _ = lines.map_while(Result::ok).find(String::is_empty);
            let known = request.contains(" /us/tiny/resolve/main/model.safetensors ")
                && !is_closed.load(Ordering::SeqCst);
            let (status, body) = if known {
                ("200 OK", &body[..])
            } else {
                ("404 Not Found", &[][..])
            };
            let digest: String = sha2::Sha256::digest(body)
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect();
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nETag: \"{}\"\r\nX-Repo-Commit: {}\r\nConnection: close\r\n\r\n",
                body.len(),
                digest,
                "0123456789".repeat(4)
            );
            if request.starts_with("GET") {
                let _ = stream.write_all(body);
            }
        }
    });
    (address, closed)
}

#[test]
fn weights_come_from_the_hub_once() {
    let sandbox = Sandbox::new();
    let (_, folder) = train(&sandbox, &[]);
    let (address, closed) = hub(fs::read(folder.join("model.safetensors")).unwrap());
    let evaluate = |weights: &str| {
        let args = [
            "--model",
            "cnn",
            "--dataset",
            "fashion-mnist-sample",
            "--mean",
            "0.3",
            "--std",
            "0.4",
            "--json",
        ];
        let mut command = sandbox.tallow();
        command
            .env("HF_ENDPOINT", &address)
            .env("NO_PROXY", "127.0.0.1")
            .env("HF_HOME", sandbox.path().join("hub"))
            .arg("evaluate")
            .args(args)
            .args(["--weights", weights]);
        command.output().unwrap()
    };
    let output = evaluate("hf:us/tiny/model.safetensors");
    assert!(output.status.success(), "{}", stderr(&output));
    let first: Value = serde_json::from_str(&stdout(&output)).unwrap();
    // The second time from the cache.
    closed.store(true, std::sync::atomic::Ordering::SeqCst);
    let output = evaluate("hf:us/tiny/model.safetensors");
    assert!(output.status.success(), "{}", stderr(&output));
    let second: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(first["correct"], second["correct"]);
    for (weights, part) in [
        (
            "hf:us/other/model.safetensors",
            "cannot download hf:us/other/model.safetensors",
        ),
        ("hf:tiny", "hf:owner/name/file"),
    ] {
        let output = evaluate(weights);
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(stderr(&output).contains(part), "{}", stderr(&output));
    }
}
