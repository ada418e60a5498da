//! Folder without data or network, in which programs run. The tests of `tallow` and of `cargo xtask` share this file.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use assert_cmd::Command;

/// Empty home, data folder and working folder, without a network.
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

    /// Folder that `TALLOW_DATA` names.
    pub fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// Folder of the run records.
    #[allow(dead_code)] // The chores have none.
    pub fn out(&self) -> PathBuf {
        self.path().join("runs")
    }

    /// A program that runs in here.
    pub fn enclose(&self, mut command: Command) -> Command {
        command
            .current_dir(self.path())
            .timeout(Duration::from_secs(1200));
        // Variables of the user's real runs.
        for name in [
            "RUST_LOG",
            "RUST_BACKTRACE",
            "TALLOW_WEIGHTS",
            "MLFLOW_TRACKING_URI",
            "MLFLOW_TRACKING_TOKEN",
            "MLFLOW_TRACKING_USERNAME",
            "MLFLOW_TRACKING_PASSWORD",
            "MLFLOW_EXPERIMENT_NAME",
        ] {
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

/// Reports that a test was skipped, directly on standard error: the output of `eprintln` is hidden when a test passes. With
/// `TALLOW_NO_SKIP`, as in CI where all is there, it fails instead.
pub fn skipped(why: &str) {
    let set = std::env::var_os("TALLOW_NO_SKIP").is_some_and(|value| !value.is_empty());
    assert!(!set, "TALLOW_NO_SKIP is set, and this was skipped: {why}");
    let word = format!("SKIPPED: {why}\n");
    std::io::stderr().write_all(word.as_bytes()).unwrap();
}
