//! `doctor` and `completions`.

use std::fs;

use crate::common::{Sandbox, stderr, stdout};
use serde_json::Value;

#[test]
fn the_doctor_tells_what_is_there_and_what_is_not() {
    let sandbox = Sandbox::new();
    let ask = |args: &[&str], variables: &[(&str, &str)]| {
        let mut command = sandbox.tallow();
        command
            .arg("doctor")
            .args(args)
            .env("TALLOW_PYTHON", "no-such-python");
        for (name, value) in variables {
            command.env(name, value);
        }
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        stdout(&output)
    };
    let found: Value =
        serde_json::from_str(&ask(&["--json"], &[("TALLOW_SIMD", "portable")])).unwrap();
    assert_eq!(found["cpu"]["instruction_set"], "portable");
    assert!(
        found["cpu"]["threads"].as_u64().unwrap() > 0
            && found["cpu"]["cores"].as_u64().unwrap() > 0
    );
    let memory = &found["memory"];
    assert!(
        memory["bytes"].as_u64() >= memory["available"].as_u64()
            && memory["bytes"].as_u64() > Some(1 << 28)
    );
    let folders = found["folders"].as_array().unwrap();
    let cache = folders.iter().find(|f| f["what"] == "cache").unwrap();
    assert_eq!(cache["exists"], false);
    #[cfg(target_os = "linux")]
    {
        assert!(
            cache["path"]
                .as_str()
                .unwrap()
                .ends_with("home/.cache/tallow"),
            "{cache}"
        );
        assert!(cache["free_bytes"].as_u64().is_some(), "{cache}");
    }
    let state = |found: &Value, name: &str| {
        let all = found["datasets"].as_array().unwrap();
        all.iter().find(|d| d["name"] == name).unwrap()["state"]
            .as_str()
            .unwrap()
            .to_string()
    };
    assert_eq!(state(&found, "fashion-mnist-sample"), "found");
    assert_eq!(state(&found, "mnist"), "missing");
    assert_eq!(found["pytorch"]["version"], Value::Null);
    let advice = found["advice"].to_string();
    for step in ["tallow data get", "TALLOW_PYTHON"] {
        assert!(advice.contains(step), "no {step} in {advice}");
    }

    // Read to the end, the built-in set is what it should be, and a folder of nonsense is not.
    let mnist = sandbox.data().join("mnist");
    fs::create_dir(&mnist).unwrap();
    for part in [
        "train-images-idx3",
        "train-labels-idx1",
        "t10k-images-idx3",
        "t10k-labels-idx1",
    ] {
        fs::write(mnist.join(format!("{part}-ubyte")), "nonsense").unwrap();
    }
    let variables = [
        ("TALLOW_SIMD", "avx1024"),
        ("TALLOW_WEIGHTS", "/no/such/folder"),
    ];
    let found: Value = serde_json::from_str(&ask(&["--json"], &variables)).unwrap();
    assert_eq!(state(&found, "mnist"), "found");
    let advice = found["advice"].to_string();
    assert!(
        advice.contains("TALLOW_SIMD=avx1024") && advice.contains("/no/such/folder"),
        "{advice}"
    );
    let found: Value = serde_json::from_str(&ask(&["--json", "--verify"], &[])).unwrap();
    assert_eq!(state(&found, "mnist"), "damaged");
    assert!(["sound", "readable"].contains(&state(&found, "fashion-mnist-sample").as_str()));
    assert!(
        found["advice"]
            .to_string()
            .contains("tallow data verify mnist")
    );

    let text = ask(&[], &[]);
    for part in [
        "processor",
        "instructions",
        "memory",
        "cuda",
        "not compiled in",
        "cache",
        "PyTorch",
        "datasets",
        "advice",
    ] {
        assert!(text.contains(part), "no {part} in\n{text}");
    }
}

#[test]
fn shells_get_their_scripts() {
    let sandbox = Sandbox::new();
    for (shell, mark) in [
        ("bash", "complete -F _tallow"),
        ("zsh", "#compdef tallow"),
        ("fish", "complete -c tallow"),
        ("powershell", "Register-ArgumentCompleter"),
    ] {
        let output = sandbox
            .tallow()
            .args(["completions", shell])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        let script = stdout(&output);
        assert!(script.contains(mark), "{shell}");
        for command in [
            "predict",
            "clean-runs",
            "--explain",
            "quickstart",
            "vgg16-slim",
            "fashion-mnist-sample",
        ] {
            // The script for PowerShell has commands and options alone.
            let value = ["quickstart", "vgg16-slim", "fashion-mnist-sample"].contains(&command);
            assert!(
                script.contains(command) || (value && shell == "powershell"),
                "{shell} knows no {command}"
            );
        }
    }
    let output = sandbox
        .tallow()
        .args(["completions", "tcsh"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("bash"), "{}", stderr(&output));
}
