//! Help texts, errors of the user, missing data.

use std::fs;

use crate::common::{Sandbox, stderr, stdout, tallow};

#[test]
fn every_help_text_has_a_description_and_an_example() {
    for command in [
        &["list"][..],
        &["run"],
        &["sweep"],
        &["data"],
        &["data", "list"],
        &["data", "get"],
        &["data", "verify"],
        &["data", "info"],
        &["evaluate"],
        &["summary"],
        &[],
    ] {
        let output = tallow().args(command).arg("--help").output().unwrap();
        let text = stdout(&output);
        assert!(output.status.success(), "{command:?}");
        assert!(text.contains("Usage: tallow"), "{command:?}: {text}");
        assert!(text.contains("Example"), "{command:?}: {text}");
        assert!(
            text.lines().next().is_some_and(|line| line.len() > 20),
            "{command:?}: {text}"
        );
    }
}

/// Runs, expects exit code 2 and nothing on standard output, and gives back the message.
fn refusal(args: &[&str]) -> String {
    let sandbox = Sandbox::new();
    let output = sandbox.tallow().args(args).output().unwrap();
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{args:?}: {message}");
    assert_eq!(stdout(&output), "", "{args:?}");
    assert!(
        !message.contains("panicked") && !message.contains("backtrace"),
        "{message}"
    );
    message
}

#[test]
fn unknown_names_get_the_nearest_one() {
    for (args, near) in [
        (&["run", "quikstart"][..], "quickstart"),
        (&["summary", "vgg16-slin"], "vgg16-slim"),
        (
            &["data", "info", "fashion-mnist-sampel"],
            "fashion-mnist-sample",
        ),
        (&["data", "get", "minst"], "mnist"),
        (&["run", "quickstart", "--only", "cnm"], "cnn"),
        (
            &["run", "quickstart", "--set", "train.epoch=1"],
            "train.epochs",
        ),
        (
            &["run", "quickstart", "--set", "model.name=cifar-cn"],
            "cifar-cnn",
        ),
        (
            &["run", "quickstart", "--set", "data.dataset=kmnits"],
            "kmnist",
        ),
        (
            &["run", "quickstart", "--set", "train.optimizer.name=adan"],
            "adam",
        ),
    ] {
        let message = refusal(args);
        assert!(
            message.contains(&format!("did you mean `{near}`?")),
            "{args:?}: {message}"
        );
    }
}

#[test]
fn bad_values_are_refused() {
    for (args, word) in [
        (&["run", "quickstart", "--seeds", "3..1"][..], "no seed"),
        (&["run", "quickstart", "--device", "tpu"], "tpu"),
        (&["run", "quickstart", "--threads", "0"], "threads"),
        (&["run", "quickstart", "--set", "train.epochs=0"], "epochs"),
        (
            &["run", "quickstart", "--set", "train.batch_size=none"],
            "batch_size",
        ),
        (
            &["run", "quickstart", "--set", "train.optimizer.lr=-1"],
            "lr",
        ),
        (&["run", "no-such-file.toml"], "no-such-file.toml"),
        (&["summary", "cnn", "--input", "1,2"], "three"),
        (&["summary", "cnn", "--input", "1,2,2"], "cnn"),
    ] {
        let message = refusal(args);
        assert!(message.contains(word), "{args:?}: {message}");
    }
}

#[test]
fn a_model_that_does_not_fit_the_images_is_refused_before_training() {
    let message = refusal(&["run", "quickstart", "--set", "model.name=vgg16-slim"]);
    assert!(
        message.contains("vgg16-slim") || message.contains("28"),
        "{message}"
    );
}

#[test]
fn missing_data_says_where_it_looked_and_what_would_get_it() {
    let sandbox = Sandbox::new();
    let output = sandbox
        .tallow()
        .args(["run", "mnist-pixel-order"])
        .output()
        .unwrap();
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert_eq!(stdout(&output), "");
    for place in [
        sandbox.data().display().to_string(),
        "TALLOW_DATA".to_string(),
        sandbox.home().display().to_string(),
        "/usr/share/datasets".to_string(),
        "tallow data get mnist".to_string(),
    ] {
        assert!(message.contains(&place), "no {place} in: {message}");
    }
    assert!(!sandbox.out().exists(), "a run record without a run");
    // The lock that keeps two downloads apart stays; it is empty.
    let mut left = walk(&sandbox.home());
    left.retain(|path| path.extension().is_none_or(|e| e != "lock"));
    assert!(left.is_empty(), "left behind: {left:?}");
}

#[test]
fn a_broken_file_is_named() {
    let sandbox = Sandbox::new();
    let folder = sandbox.data().join("mnist");
    fs::create_dir_all(&folder).unwrap();
    for name in [
        "train-images-idx3-ubyte",
        "train-labels-idx1-ubyte",
        "t10k-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte",
    ] {
        fs::write(
            folder.join(name),
            b"not an IDX file, whatever its name says",
        )
        .unwrap();
    }
    let output = sandbox
        .tallow()
        .args(["run", "mnist-pixel-order"])
        .output()
        .unwrap();
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("train-images-idx3-ubyte"), "{message}");
    assert!(
        message.contains("expected") && message.contains("found"),
        "{message}"
    );
}

#[test]
fn lists_experiments_and_models() {
    let output = tallow().arg("list").output().unwrap();
    let text = stdout(&output);
    for name in [
        "quickstart",
        "mnist-pixel-order",
        "cifar10-cnn",
        "cifar10-vgg16",
        "cifar10-pretrained",
        "mlp",
        "lenet",
    ] {
        assert!(text.contains(name), "{text}");
    }
}

#[test]
fn summary_counts_parameters_and_multiply_adds() {
    for (model, parameters) in [
        ("mlp", "6,442"),
        ("cnn", "6,422"),
        ("cifar-cnn", "62,006"),
        ("lenet", "121,182"),
        ("vgg16-slim", "9,231,114"),
    ] {
        let output = tallow().args(["summary", model]).output().unwrap();
        let text = stdout(&output);
        assert!(text.contains(parameters), "{text}");
    }
    // All of them.
    let output = tallow().arg("summary").output().unwrap();
    let text = stdout(&output);
    for part in ["resnet50", "25,557,032", "lenet-1989", "9,760"] {
        assert!(text.contains(part), "{text}");
    }
    // 784 x 8 + 8 x 8 + 8 x 10.
    let output = tallow().args(["summary", "mlp"]).output().unwrap();
    assert!(stdout(&output).contains("6,416"), "{}", stdout(&output));
}

#[test]
fn the_built_in_sample_is_there_and_sound() {
    let sandbox = Sandbox::new();
    for args in [
        &["data", "list"][..],
        &["data", "info", "fashion-mnist-sample"],
        &["data", "verify", "fashion-mnist-sample"],
        &["data", "get", "fashion-mnist-sample"],
    ] {
        let output = sandbox.tallow().args(args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        assert!(stdout(&output).contains("fashion-mnist-sample"), "{args:?}");
    }
    let output = sandbox
        .tallow()
        .args(["data", "info", "fashion-mnist-sample"])
        .output()
        .unwrap();
    let text = stdout(&output);
    assert!(text.contains("10,000") && text.contains("2,000"), "{text}");
}

#[test]
fn the_list_of_datasets_says_where_each_is() {
    let sandbox = Sandbox::new();
    let folder = sandbox.data().join("kmnist");
    fs::create_dir_all(&folder).unwrap();
    for name in ["train", "t10k"] {
        fs::write(folder.join(format!("{name}-images-idx3-ubyte")), b"").unwrap();
        fs::write(folder.join(format!("{name}-labels-idx1-ubyte")), b"").unwrap();
    }
    let output = sandbox.tallow().args(["data", "list"]).output().unwrap();
    let text = stdout(&output);
    let place = |name: &str| {
        let row = text.lines().find(|l| l.contains(&format!(" {name} ")));
        let cell = row.and_then(|row| row.rsplit('┆').next());
        cell.map(|cell| cell.trim_matches(['│', ' ']).to_string())
    };
    assert_eq!(
        place("fashion-mnist-sample").as_deref(),
        Some("built in"),
        "{text}"
    );
    assert_eq!(
        place("kmnist"),
        Some(folder.display().to_string()),
        "{text}"
    );
    assert_eq!(place("cifar100").as_deref(), Some("—"), "{text}");
}

/// Files under `folder`.
fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(walk(&path));
        } else {
            files.push(path);
        }
    }
    files
}

#[test]
fn exit_codes_are_documented() {
    for (code, what) in [
        ("0", "no claim failed"),
        ("1", "a claim failed"),
        ("2", "bad input, missing data or another error"),
        ("130", "interrupted"),
    ] {
        for command in ["run", "reproduce"] {
            let output = tallow().args([command, "--help"]).output().unwrap();
            // The help is wrapped to the terminal's width.
            let help = stdout(&output)
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ");
            assert!(
                help.contains(&format!("{code} {what}")),
                "{command}: {help}"
            );
        }
    }
}

#[cfg(unix)]
#[test]
fn reproduce_that_is_interrupted_ends_with_130() {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    let sandbox = Sandbox::new();
    for signal in ["-INT", "-TERM"] {
        let mut child = Command::new(assert_cmd::cargo::cargo_bin!("tallow"))
            .args(["reproduce", "--tier", "full", "--only", "quickstart"])
            .current_dir(sandbox.path())
            .envs(sandbox.environment())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("epoch 1/")));
        let id = child.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &id])
                .status()
                .unwrap()
                .success()
        );
        // Its last words must find a reader.
        let _rest: Vec<_> = lines.collect();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{signal}");
        assert!(output.stdout.is_empty(), "half a result");
    }
}

#[test]
fn keys_are_described() {
    let describe = |key: &str| {
        let output = tallow().args(["recipe", key]).output().unwrap();
        assert!(output.status.success(), "{key}: {}", stderr(&output));
        stdout(&output)
    };
    let optimizers = describe("train.optimizer");
    for word in [
        "required",
        "names",
        "adamw",
        "betas",
        "optimizer = { name = \"sgd\", lr = ",
        "example",
    ] {
        assert!(optimizers.contains(word), "{word}: {optimizers}");
    }
    let rate = describe("train.optimizer.sgd.lr");
    assert!(
        rate.contains("Learning rate") && rate.contains("required"),
        "{rate}"
    );
    let smoothing = describe("label_smoothing");
    assert!(smoothing.contains("at least 0, at most 1"), "{smoothing}");
    let crop = describe("RandomResizedCrop");
    assert!(
        crop.contains("random-resized-crop") && crop.contains("ratio"),
        "{crop}"
    );
    let all = tallow().arg("recipe").output().unwrap();
    assert!(
        stdout(&all).contains("train.early_stopping.patience"),
        "{}",
        stdout(&all)
    );
    for (key, expected) in [
        ("max_epochs", "did you mean `train.epochs`?"),
        ("trainer.gradient_clip_val", "here it is `train.clip`"),
        ("amp", "here it is `train.precision`"),
        ("zebra", "`tallow recipe` lists the keys"),
    ] {
        let output = tallow().args(["recipe", key]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{key}");
        assert!(
            stderr(&output).contains(expected),
            "{key}: {}",
            stderr(&output)
        );
    }
}

#[test]
fn the_schema_is_json() {
    let output = tallow().arg("schema").output().unwrap();
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
    assert_eq!(schema["title"], "Experiment");
    let names = schema
        .pointer("/definitions/PartOfModel/properties/name/anyOf/0/enum")
        .unwrap();
    assert!(names.as_array().unwrap().contains(&"resnet18".into()));
}
