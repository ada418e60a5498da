//! Faults put into the source on purpose: that they still apply. `cargo xtask faults` judges them.

use std::path::Path;
use std::process::Command;

use crate::common::{skipped, stderr, stdout, xtask};

#[test]
fn every_patch_applies() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let listed = Command::new("git")
        .arg("ls-files")
        .current_dir(&root)
        .output();
    if !listed.is_ok_and(|listed| listed.status.success()) {
        skipped("the patches are not checked where git does not list the source");
        return;
    }
    let output = xtask().args(["faults", "--check"]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    // 14 for which the comparison was made, 20 for which it was not, and the source as it is.
    assert_eq!(stdout(&output), "35 of 35 faults apply\n");
}

#[test]
fn nothing_to_judge_is_an_error() {
    let run = |args: &[&str]| {
        let output = xtask().arg("faults").args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        stderr(&output)
    };
    assert!(run(&["control"]).contains("nothing to compare: name --traces"));
    let message = run(&["--traces", "adam-beta3"]);
    assert!(
        message.contains("there is no fault `adam-beta3`; expected one of adam-beta2, "),
        "{message}"
    );
}
