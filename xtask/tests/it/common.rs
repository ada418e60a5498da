//! `cargo xtask` in a sandbox, and the findings of `regress`.

use assert_cmd::Command;
use serde_json::Value;

pub use crate::sandbox::{Sandbox, skipped, stderr, stdout};

/// The program.
pub fn xtask() -> Command {
    assert_cmd::cargo::cargo_bin_cmd!("xtask")
}

impl Sandbox {
    /// The program, in here.
    pub fn xtask(&self) -> Command {
        self.enclose(xtask())
    }
}

/// Regressions, changed traces, failed limits and refusals in the output of `regress --json`, without those of speed.
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
            for change in variant["changes"].as_array().into_iter().flatten() {
                let entry = change["entry"].as_str().unwrap();
                found.push(format!("{experiment}: {name}: {entry}"));
            }
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

/// Commit that these tests and the program were built from, with `-dirty` where the source differed; `None` outside of git.
pub fn commit() -> Option<String> {
    option_env!("TALLOW_COMMIT").map(String::from)
}
