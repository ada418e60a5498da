//! A place without data or network to run the runner in.
#![allow(dead_code)] // Each test file uses a part of it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use assert_cmd::Command;
use serde_json::Value;

/// The runner.
pub fn xtask() -> Command {
    assert_cmd::cargo::cargo_bin_cmd!("xtask")
}

/// An empty home, data folder and working folder, with every way to the network closed.
pub struct Sandbox(tempfile::TempDir);

impl Sandbox {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["home", "data"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        Self(dir)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn home(&self) -> PathBuf {
        self.path().join("home")
    }

    /// What `TALLOW_DATA` names.
    pub fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// Where run records go.
    pub fn out(&self) -> PathBuf {
        self.path().join("runs")
    }

    /// The runner, in here.
    pub fn xtask(&self) -> Command {
        let mut command = xtask();
        command
            .current_dir(self.path())
            .timeout(Duration::from_secs(1200));
        // What the user has set for real runs.
        for name in ["RUST_LOG", "RUST_BACKTRACE", "TALLOW_WEIGHTS"] {
            command.env_remove(name);
        }
        for (name, value) in self.environment() {
            command.env(name, value);
        }
        command
    }

    /// Port 9 answers nobody, so that downloads fail at once on machines with a network too.
    pub fn environment(&self) -> Vec<(&'static str, std::ffi::OsString)> {
        let home = self.home();
        let closed = "http://127.0.0.1:9";
        vec![
            ("HOME", home.clone().into()),
            ("XDG_CACHE_HOME", home.join(".cache").into()),
            ("HF_HOME", home.join("hf").into()),
            ("TALLOW_DATA", self.data().into()),
            ("HF_ENDPOINT", closed.into()),
            ("HTTP_PROXY", closed.into()),
            ("HTTPS_PROXY", closed.into()),
            ("ALL_PROXY", closed.into()),
            ("NO_PROXY", "".into()),
        ]
    }
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// What `regress --json` holds against a change: figures, floors and refusals. The machine's speed is no part of it.
pub fn found_by(findings: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for report in findings["experiments"].as_array().unwrap() {
        let experiment = report["experiment"].as_str().unwrap();
        if let Some(reason) = report["reason"].as_str() {
            found.push(format!("{experiment}: {reason}"));
        }
        for claim in report["claims"].as_array().unwrap() {
            if claim["holds"] == false {
                found.push(format!(
                    "{experiment}: floor {}",
                    claim["text"].as_str().unwrap()
                ));
            }
        }
        for variant in report["variants"].as_array().unwrap() {
            let name = variant["name"].as_str().unwrap();
            for row in variant["rows"].as_array().unwrap() {
                if row["verdict"] == "regression" && row["metric"] != "share_of_gemm_peak" {
                    let metric = row["metric"].as_str().unwrap();
                    found.push(format!("{experiment}: {name}.{metric}"));
                }
            }
        }
    }
    found
}

/// Says that a test did nothing, straight to standard error: what `eprintln` writes is swallowed when a test passes.
pub fn skipped(why: &str) {
    let word = format!("SKIPPED: {why}\n");
    std::io::stderr().write_all(word.as_bytes()).unwrap();
}

/// The state of the source, with `-dirty` where files have been changed since; `None` outside of git.
pub fn commit() -> Option<String> {
    let output = std::process::Command::new("git")
        .arg("-C")
        .arg(env!("CARGO_MANIFEST_DIR"))
        .args([
            "describe",
            "--always",
            "--abbrev=40",
            "--dirty",
            "--exclude=*",
        ])
        .output()
        .ok()?;
    let commit = String::from_utf8(output.stdout).ok()?.trim().to_string();
    output.status.success().then_some(commit)
}
