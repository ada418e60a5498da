//! `cargo xtask bench` as programs and people meet it. Times are never judged here.

use std::collections::BTreeSet;
use std::ffi::OsString;

use crate::common::{Sandbox, skipped, stderr, stdout};
use assert_cmd::Command;
use serde_json::Value;

/// As short as it gets; a machine with tests is not quiet.
const QUICK: [&str; 9] = [
    "bench",
    "--repeats",
    "2",
    "--seconds",
    "0.01",
    "--threads=1",
    "--retries=0",
    "--system-worker",
    env!("CARGO_BIN_EXE_bench-system"),
];

const FIELDS: [&str; 12] = [
    "name",
    "kind",
    "batch",
    "ours_ms",
    "library_ms",
    "gflops",
    "peak_rss_mb",
    "others",
    "quiet",
    "disturbances",
    "conditions",
    "attempts",
];

const OTHER: [&str; 7] = [
    "name",
    "arm",
    "ms",
    "ratio",
    "bf16",
    "left_out",
    "peak_rss_mb",
];

fn keys(value: &Value) -> BTreeSet<&str> {
    let object = value.as_object().unwrap();
    object.keys().map(String::as_str).collect()
}

/// The command in a sandbox, which has a file of best times of its own.
fn quick(sandbox: &Sandbox) -> Command {
    let mut command = sandbox.xtask();
    command.args(QUICK).args(["--best", "best.json"]);
    command
}

/// The rows of a run that must succeed, each with exactly the fields above.
fn rows(sandbox: &Sandbox, args: &[&str]) -> Vec<Value> {
    let output = quick(sandbox)
        .args(args)
        .args(["--json", "-"])
        .output()
        .unwrap();
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{message}");
    let run: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(run["environment"]["threads"], 1);
    assert_eq!(run["environment"]["device"], "cpu");
    assert_eq!(run["settings"]["repeats"], 2);
    assert!(run["gemm_peak_gflops"].as_f64().unwrap() > 0.0);
    let versions = run["versions"].as_array().unwrap();
    assert!(versions[0].as_str().unwrap().starts_with("Tallow "));
    let rows = run["rows"].as_array().unwrap();
    for row in rows {
        assert_eq!(keys(row), BTreeSet::from(FIELDS));
        assert!(row["ours_ms"].as_f64().unwrap() > 0.0);
        assert!(row["library_ms"].as_f64().unwrap() > 0.0);
        assert_eq!(row["attempts"], 1, "--retries=0");
        let reasons = row["disturbances"].as_array().unwrap();
        assert_eq!(row["quiet"], reasons.is_empty(), "{row}");
        for other in row["others"].as_array().unwrap() {
            assert_eq!(keys(other), BTreeSet::from(OTHER));
        }
    }
    // The table is for people and goes elsewhere.
    assert!(
        message.contains("of GEMM") && message.contains("quiet"),
        "{message}"
    );
    rows.clone()
}

/// The other side of a row, which has one.
fn compared<'a>(row: &'a Value, name: &str) -> &'a Value {
    let [other] = &row["others"].as_array().unwrap()[..] else {
        panic!("{row}");
    };
    assert_eq!(other["name"], name);
    let ratio = other["ms"].as_f64().unwrap() / row["ours_ms"].as_f64().unwrap();
    let found = other["ratio"].as_f64().unwrap();
    assert!((found / ratio - 1.0).abs() < 1e-9, "{row}");
    other
}

#[test]
fn ours_alone() {
    let rows = rows(&Sandbox::new(), &["--filter", "fc"]);
    let kinds: Vec<&str> = rows.iter().map(|r| r["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["step", "inference"]);
    for row in &rows {
        assert_eq!((&row["name"], &row["batch"]), (&"fc".into(), &64.into()));
        assert_eq!(row["others"], Value::Array(Vec::new()));
        assert!(row["peak_rss_mb"].is_null(), "it was not asked for");
        if cfg!(target_os = "linux") {
            let conditions = &row["conditions"];
            for key in ["load_average", "others_cpus", "stolen_cpus"] {
                assert!(conditions[key].is_f64(), "{key}: {row}");
            }
            assert!(conditions["spread"]["tallow"].is_f64(), "{row}");
            assert!(conditions["drift"].is_null(), "there is no PyTorch");
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
        let candle = compared(&row, "candle");
        assert_eq!(row["batch"], 8);
        assert!(candle["arm"].is_null(), "candle has no choice");
        assert!(candle["bf16"].is_null());
        if cfg!(target_os = "linux") {
            for side in [&row, candle] {
                assert!(side["peak_rss_mb"].as_f64().unwrap() > 1.0, "{side}");
            }
        }
    }
}

#[test]
fn operators_loader_and_file() {
    let sandbox = Sandbox::new();
    let file = sandbox.path().join("run.json");
    let output = quick(&sandbox)
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
    let run: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let rows = run["rows"].as_array().unwrap();
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

#[test]
fn a_file_of_best_times_that_is_none() {
    let sandbox = Sandbox::new();
    std::fs::write(sandbox.path().join("best.json"), "best").unwrap();
    let output = quick(&sandbox).args(["--filter", "fc"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let message = stderr(&output);
    assert!(
        message.contains("best.json: no file of best times"),
        "{message}"
    );
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
        let output = quick(&sandbox)
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
    let args = [
        "--filter",
        "fc,cifar-cnn,cross-entropy,adam",
        "--against",
        "pytorch",
        "--arms",
        "eager",
        "--batch",
        "8",
    ];
    let rows = rows(&sandbox, &args);
    assert_eq!(rows.len(), 6);
    for row in &rows {
        let pytorch = compared(row, "pytorch");
        let arm = pytorch["arm"].as_str().unwrap();
        assert!(arm.ends_with(", 1 thread"), "{arm}");
        let is_network = row["kind"] != "operator";
        assert_eq!(arm.starts_with("eager fp32 "), is_network, "{arm}");
        // Without convolutions the memory format means nothing.
        assert!(row["name"] != "fc" || arm.contains("nchw"), "{arm}");
        assert_eq!(pytorch["bf16"].is_object(), is_network, "{row}");
        assert_eq!(pytorch["left_out"], Value::Array(Vec::new()), "{row}");
        assert!(row["conditions"]["spread"]["pytorch"].is_f64(), "{row}");
    }
    // A second run the same day has the first one's times to compare with.
    let again = self::rows(&sandbox, &args);
    for row in &again {
        assert!(row["conditions"]["drift"].as_f64().unwrap() > 0.0, "{row}");
    }
}
