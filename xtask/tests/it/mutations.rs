//! Faults put into the source on purpose, each of which `regress` must find.
//!
//! `mutations/*.patch` are the faults. That they still apply is checked with every test run. Building and judging them takes half an
//! hour, so that is asked for:
//!
//! ```text
//! TALLOW_DATA=~/datasets cargo test --release -p xtask --test it mutations -- --ignored --test-threads 1
//! ```
//!
//! The results are written to `target/mutations/mutations.json`; `docs/regression/` has a copy, of which the table in the docs is made.
//! `TALLOW_MUTATIONS_TIERS=smoke,standard` has the standard tier judge as well, and `TALLOW_MUTATIONS_ONLY=guard,mnist-pixel-order` some experiments
//! alone.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{commit, found_by, skipped};
use serde_json::{Value, json};

fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap().to_path_buf()
}

fn patch(name: &str) -> PathBuf {
    root().join(format!("xtask/mutations/{name}.patch"))
}

fn names() -> Vec<String> {
    let folder = fs::read_dir(root().join("xtask/mutations")).unwrap();
    let mut names: Vec<String> = folder
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "patch"))
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// A copy of the source in `to`. Files that are the same already are left alone, so that cargo need not build them again.
fn copy_source(to: &Path) -> Result<(), String> {
    let listed = Command::new("git")
        .arg("-C")
        .arg(root())
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .output()
        .map_err(|error| error.to_string())?;
    if !listed.status.success() {
        return Err(String::from_utf8_lossy(&listed.stderr).into_owned());
    }
    for name in String::from_utf8(listed.stdout).unwrap().split('\0') {
        let (from, to) = (root().join(name), to.join(name));
        // A file that was deleted and is still listed.
        let Some(bytes) = (!name.is_empty()).then(|| fs::read(&from).ok()).flatten() else {
            continue;
        };
        if fs::read(&to).ok().as_ref() != Some(&bytes) {
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::write(to, bytes).unwrap();
        }
    }
    Ok(())
}

fn git_apply(tree: &Path, name: &str, arguments: &[&str]) {
    let output = Command::new("git")
        // The copy lies inside a repository whose index has nothing to say here.
        .env("GIT_DIR", tree.join("no-repository"))
        .arg("apply")
        .args(arguments)
        .arg(patch(name))
        .current_dir(tree)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{name} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn every_patch_applies() {
    let copy = tempfile::tempdir().unwrap();
    if let Err(reason) = copy_source(copy.path()) {
        skipped(&format!(
            "the patches are not checked where git does not list the source: {reason}"
        ));
        return;
    }
    assert_eq!(names(), MUTATIONS);
    for name in names() {
        git_apply(copy.path(), &name, &["--check"]);
    }
}

/// Builds the source with the fault in it, has `regress` judge it, and notes what it found.
fn judge(name: &str) {
    let folder = root().join("target/mutations");
    let (tree, target) = (folder.join("tree"), folder.join("build"));
    fs::create_dir_all(&tree).unwrap();
    copy_source(&tree).unwrap();
    git_apply(&tree, name, &[]);
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--package", "xtask", "--target-dir"])
        .arg(&target)
        .current_dir(&tree)
        .status()
        .unwrap();
    assert!(built.success(), "{name} does not build");

    if name == "transposed-images" {
        not_refused_without_the_fault();
    }
    let tiers = env::var("TALLOW_MUTATIONS_TIERS").unwrap_or_else(|_| "smoke".to_string());
    let unnoticed: Vec<&str> = tiers
        .split(',')
        .filter(|tier| !noticed(name, tier, &tree, &target.join("release/xtask")))
        .collect();
    join(&folder);
    assert!(
        unnoticed.is_empty(),
        "{name} goes unnoticed in the tiers {unnoticed:?}"
    );
}

/// Data of another version than the baselines' are refused as transposed ones are.
fn not_refused_without_the_fault() {
    let runs = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["regress", "--only", "cifar10-cnn", "--out"])
        .arg(runs.path())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_ne!(output.status.code(), Some(2), "{stderr}");
}

/// Whether a tier of `regress`, as this binary has it, finds the fault; notes what tells of it.
fn noticed(name: &str, tier: &str, tree: &Path, xtask: &Path) -> bool {
    let only = env::var("TALLOW_MUTATIONS_ONLY").unwrap_or_default();
    let runs = tempfile::tempdir().unwrap();
    let mut regress = Command::new(xtask);
    regress
        .args(["regress", "--json", "--tier", tier, "--out"])
        .arg(runs.path())
        .current_dir(tree);
    for experiment in only.split(',').filter(|name| !name.is_empty()) {
        regress.args(["--only", experiment]);
    }
    let output = regress.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    let findings: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{name}: {error}\n{stderr}"));
    let found = found_by(&findings);
    // The data is part of the one fault alone; else a baseline that is out of date would pass for a fault found.
    let experiments = findings["experiments"].as_array().unwrap();
    let of_data = |report: &Value| {
        let reason = report["reason"].as_str();
        reason.is_some_and(|text| text.starts_with("the training data's digest is"))
    };
    let mut refused = experiments.iter().filter(|r| r["verdict"] == "refused");
    assert!(
        refused.all(|report| name == "transposed-images" && of_data(report)),
        "{name}: {found:?}"
    );
    assert!(
        found.is_empty() || matches!(output.status.code(), Some(1 | 2)),
        "{stderr}"
    );
    let row = json!({
        "mutation": name,
        "what": what(name),
        "tier": tier,
        "experiments": experiments.len(),
        "caught": !found.is_empty(),
        "found_by": found,
        "commit": commit(),
    });
    let folder = root().join("target/mutations/found");
    fs::create_dir_all(&folder).unwrap();
    fs::write(
        folder.join(format!("{name}.{tier}.json")),
        format!("{row:#}\n"),
    )
    .unwrap();
    !found.is_empty()
}

/// Writes all that has been found so far into the one file that the docs are made of.
fn join(folder: &Path) {
    let found = fs::read_dir(folder.join("found")).unwrap();
    let mut files: Vec<PathBuf> = found.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let rows: Vec<Value> = files
        .iter()
        .map(|file| serde_json::from_slice(&fs::read(file).unwrap()).unwrap())
        // What another state of the source found says nothing of this one.
        .filter(|row: &Value| row["commit"] == json!(commit()))
        .collect();
    fs::write(
        folder.join("mutations.json"),
        format!("{:#}\n", json!(rows)),
    )
    .unwrap();
}

/// Description of a patch: the text above it.
fn what(name: &str) -> String {
    let text = fs::read_to_string(patch(name)).unwrap();
    text.split("\n\n").next().unwrap().trim().to_string()
}

macro_rules! mutations {
    ($($test:ident $name:literal)*) => {
        const MUTATIONS: &[&str] = &[$($name),*];
        $(
            #[test]
            #[ignore = "builds the workspace anew and trains for minutes"]
            fn $test() {
                judge($name);
            }
        )*
    };
}

mutations! {
    batch_norm_momentum_swapped "batch-norm-momentum-swapped"
    dropout_in_evaluation "dropout-in-evaluation"
    evaluation_not_normalised "evaluation-not-normalised"
    labels_off_by_one "labels-off-by-one"
    learning_rate_x03 "learning-rate-x0.3"
    max_pool_gradient "max-pool-gradient"
    momentum_dropped "momentum-dropped"
    shuffle_off "shuffle-off"
    softmax_before_loss "softmax-before-loss"
    transposed_images "transposed-images"
}
