//! Findings of `regress` in a source with a fault.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;
use tallow_record::Tier;

use super::tree::Tree;

/// Changes of the traces of the smoke tier.
pub fn traces(program: &Path, tree: &Tree, only: &[String]) -> Result<Vec<String>> {
    let arguments = ["--tier", "smoke", "--traces"];
    Ok(match regress(program, tree, &arguments, only)? {
        Ok(findings) => of_traces(&findings),
        Err(failure) => vec![failure],
    })
}

/// Regressions, missed floors and refusals of a tier.
pub fn metrics(program: &Path, tree: &Tree, tier: Tier, only: &[String]) -> Result<Vec<String>> {
    let arguments = ["--tier", tier.as_str()];
    Ok(match regress(program, tree, &arguments, only)? {
        Ok(findings) => of_metrics(&findings),
        Err(failure) => vec![failure],
    })
}

/// Runs `regress`: its findings, or the last line of what it says if it has none.
fn regress(
    program: &Path,
    tree: &Tree,
    arguments: &[&str],
    only: &[String],
) -> Result<Result<Value, String>> {
    let runs = tempfile::tempdir()?;
    let mut command = Command::new(program);
    command
        .args(["regress", "--json", "--out"])
        .arg(runs.path())
        .args(arguments)
        .current_dir(&tree.folder);
    for experiment in only {
        command.args(["--only", experiment]);
    }
    let output = command
        .output()
        .with_context(|| program.display().to_string())?;
    Ok(serde_json::from_slice(&output.stdout).map_err(|_| {
        let stderr = String::from_utf8_lossy(&output.stderr);
        let last = stderr.lines().rfind(|line| !line.trim().is_empty());
        format!("regress fails: {}", last.unwrap_or("it says nothing"))
    }))
}

/// Entries of traces that changed, and refusals.
fn of_traces(findings: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for (experiment, report) in experiments(findings) {
        found.extend(reason(experiment, report));
        for (name, variant) in variants(report) {
            for change in array(&variant["changes"]) {
                let entry = change["entry"].as_str().unwrap_or_default();
                found.push(format!("{experiment}: {name}: {entry}"));
            }
        }
    }
    found
}

/// Regressions, missed floors and refusals, without regressions of the speed.
fn of_metrics(findings: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for (experiment, report) in experiments(findings) {
        found.extend(reason(experiment, report));
        for claim in array(&report["claims"]) {
            if claim["holds"] == false {
                let text = claim["text"].as_str().unwrap_or_default();
                found.push(format!("{experiment}: floor {text}"));
            }
        }
        for (name, variant) in variants(report) {
            for row in array(&variant["rows"]) {
                if row["verdict"] == "regression" && row["metric"] != "share_of_gemm_peak" {
                    let metric = row["metric"].as_str().unwrap_or_default();
                    found.push(format!("{experiment}: {name}.{metric}"));
                }
            }
        }
    }
    found
}

fn experiments(findings: &Value) -> impl Iterator<Item = (&str, &Value)> {
    array(&findings["experiments"])
        .iter()
        .map(|report| (report["experiment"].as_str().unwrap_or_default(), report))
}

fn variants(report: &Value) -> impl Iterator<Item = (&str, &Value)> {
    array(&report["variants"])
        .iter()
        .map(|variant| (variant["name"].as_str().unwrap_or_default(), variant))
}

fn reason(experiment: &str, report: &Value) -> Option<String> {
    let reason = report["reason"].as_str()?;
    Some(format!("{experiment}: {reason}"))
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn findings() -> Value {
        json!({"experiments": [
            {
                "experiment": "guard", "claims": [{"text": "plain > 0.7", "holds": false}, {"text": "b", "holds": null}],
                "variants": [
                    {
                        "name": "plain",
                        "changes": [{"entry": "learning rates"}],
                        "rows": [
                            {"metric": "test_loss", "verdict": "regression"},
                            {"metric": "share_of_gemm_peak", "verdict": "regression"},
                            {"metric": "train_loss", "verdict": "better"},
                        ],
                    },
                    {"name": "norm", "changes": [], "rows": []},
                ],
            },
            {"experiment": "quickstart", "reason": "no data", "claims": [], "variants": []},
        ]})
    }

    #[test]
    fn traces_and_metrics_are_told_apart() {
        assert_eq!(
            of_traces(&findings()),
            ["guard: plain: learning rates", "quickstart: no data"]
        );
        assert_eq!(
            of_metrics(&findings()),
            [
                "guard: floor plain > 0.7",
                "guard: plain.test_loss",
                "quickstart: no data"
            ]
        );
    }
}
