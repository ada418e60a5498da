//! `cargo xtask bench` as programs and people meet it. Times are never judged here.

use std::collections::BTreeSet;
use std::ffi::OsString;

use crate::common::{Sandbox, skipped, stderr, stdout};
use serde_json::Value;

/// As short as it gets.
const QUICK: [&str; 6] = [
    "bench",
    "--repeats",
    "2",
    "--seconds",
    "0.01",
    "--threads=1",
];

const FIELDS: [&str; 14] = [
    "name",
    "kind",
    "batch",
    "ours_ms",
    "other",
    "other_ms",
    "other_layout",
    "ratio",
    "gflops",
    "gemm_peak_gflops",
    "peak_rss_mb",
    "other_peak_rss_mb",
    "threads",
    "device",
];

/// The rows of a run that must succeed, each with exactly the fields above.
fn rows(sandbox: &Sandbox, args: &[&str]) -> Vec<Value> {
    let output = sandbox
        .xtask()
        .args(QUICK)
        .args(args)
        .args(["--json", "-"])
        .output()
        .unwrap();
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{message}");
    let rows: Vec<Value> = serde_json::from_str(&stdout(&output)).unwrap();
    for row in &rows {
        let row = row.as_object().unwrap();
        let keys: BTreeSet<&str> = row.keys().map(String::as_str).collect();
        assert_eq!(keys, BTreeSet::from(FIELDS));
        assert_eq!(row["threads"], 1);
        assert_eq!(row["device"], "cpu");
        for key in ["ours_ms", "gemm_peak_gflops"] {
            assert!(row[key].as_f64().unwrap() > 0.0, "{key}");
        }
    }
    // The table is for people and goes elsewhere.
    assert!(message.contains("of GEMM"), "{message}");
    rows
}

fn compared(row: &Value, other: &str) {
    assert_eq!(row["other"], other);
    let number = |key: &str| row[key].as_f64().unwrap();
    let ratio = number("other_ms") / number("ours_ms");
    assert!((number("ratio") / ratio - 1.0).abs() < 1e-9, "{row}");
}

#[test]
fn ours_alone() {
    let rows = rows(&Sandbox::new(), &["--filter", "fc"]);
    let kinds: Vec<&str> = rows.iter().map(|r| r["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["step", "inference"]);
    for row in &rows {
        assert_eq!((&row["name"], &row["batch"]), (&"fc".into(), &64.into()));
        for key in ["other", "other_ms", "other_layout", "ratio"] {
            assert!(row[key].is_null(), "{key}");
        }
        for key in ["peak_rss_mb", "other_peak_rss_mb"] {
            assert!(row[key].is_null(), "{key} was not asked for");
        }
    }
    // 6,416 products an image, three times in training: 784 x 8 + 8 x 8 + 8 x 10.
    let gflop = rows[0]["gflops"].as_f64().unwrap() * rows[0]["ours_ms"].as_f64().unwrap() / 1e3;
    assert!(
        (gflop / (3.0 * 2.0 * 64.0 * 6416e-9) - 1.0).abs() < 1e-6,
        "{gflop}"
    );
}

#[test]
fn beside_candle_with_memory() {
    let args = [
        "--filter",
        "fc",
        "--against",
        "candle",
        "--batch",
        "8",
        "--memory",
    ];
    for row in rows(&Sandbox::new(), &args) {
        compared(&row, "candle");
        assert_eq!(row["batch"], 8);
        assert!(row["other_layout"].is_null(), "candle has no choice");
        if cfg!(target_os = "linux") {
            for key in ["peak_rss_mb", "other_peak_rss_mb"] {
                assert!(row[key].as_f64().unwrap() > 1.0, "{key}");
            }
        }
    }
}

#[test]
fn operators_loader_and_file() {
    let sandbox = Sandbox::new();
    let file = sandbox.path().join("rows.json");
    let output = sandbox
        .xtask()
        .args(QUICK)
        .args([
            "--filter",
            "loader,max-pool,linear",
            "--batch",
            "16",
            "--json",
        ])
        .arg(&file)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let table = stdout(&output);
    let rows: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let expected = [
        ("max-pool", "operator"),
        ("linear", "operator"),
        ("cifar10-augment", "loader"),
    ];
    assert_eq!(rows.len(), expected.len());
    for (row, (name, kind)) in rows.iter().zip(expected) {
        assert_eq!((&row["name"], &row["kind"]), (&name.into(), &kind.into()));
        assert!(table.contains(name), "{table}");
    }
    assert!(rows[0]["gflops"].is_null() && rows[1]["gflops"].is_f64());
}

/// Without a Python, and with one that lacks PyTorch.
#[test]
fn absent_pytorch_says_how_to_install_it() {
    let sandbox = Sandbox::new();
    let mut pythons = vec![OsString::from("no-such-python")];
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let bare = sandbox.path().join("bare-python");
        let script = "#!/bin/sh\necho '{\"error\": \"No module named torch\"}'\nexit 1\n";
        std::fs::write(&bare, script).unwrap();
        std::fs::set_permissions(&bare, std::fs::Permissions::from_mode(0o755)).unwrap();
        pythons.push(bare.into());
    }
    for python in pythons {
        let output = sandbox
            .xtask()
            .args(QUICK)
            .args(["--filter", "fc", "--against", "pytorch"])
            .env("TALLOW_PYTHON", &python)
            .output()
            .unwrap();
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert_eq!(stdout(&output), "");
        for word in [
            "requirements.txt",
            "TALLOW_PYTHON",
            "-m venv",
            python.to_str().unwrap(),
        ] {
            assert!(message.contains(word), "no {word} in: {message}");
        }
        assert!(!message.contains("panicked"), "{message}");
    }
}

#[test]
fn beside_pytorch() {
    if std::env::var_os("TALLOW_PYTHON").is_none() {
        skipped("no PyTorch; TALLOW_PYTHON can name a Python that has it");
        return;
    }
    let sandbox = Sandbox::new();
    let rows = rows(
        &sandbox,
        &[
            "--filter",
            "fc,cifar-cnn,cross-entropy",
            "--against",
            "pytorch",
            "--batch",
            "8",
        ],
    );
    assert_eq!(rows.len(), 5);
    for row in &rows {
        compared(row, "pytorch");
        let layout = row["other_layout"].as_str().unwrap();
        assert!(["nchw", "channels_last"].contains(&layout), "{layout}");
        assert!(row["name"] == "cifar-cnn" || layout == "nchw", "{row}");
    }
}
