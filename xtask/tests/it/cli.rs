//! Help texts and errors of `cargo xtask`.

use crate::common::{Sandbox, stderr, stdout, xtask};

#[test]
fn help_texts_name_the_program() {
    for command in [
        &["list"][..],
        &["run"],
        &["data"],
        &["data", "get"],
        &["regress"],
        &["bench"],
        &["docs"],
        &["completions"],
        &[],
    ] {
        let output = xtask().args(command).arg("--help").output().unwrap();
        let text = stdout(&output);
        assert!(output.status.success(), "{command:?}");
        assert!(text.contains("Usage: cargo xtask"), "{command:?}: {text}");
        assert!(
            text.contains("Example") && !text.contains("{tallow}"),
            "{command:?}: {text}"
        );
        assert!(
            text.lines().next().is_some_and(|line| line.len() > 20),
            "{command:?}: {text}"
        );
    }
}

#[test]
fn messages_name_the_program() {
    let sandbox = Sandbox::new();
    let message = |args: &[&str]| stderr(&sandbox.xtask().args(args).output().unwrap());
    let text = message(&["run", "mnist-pixel-order"]);
    assert!(text.contains("cargo xtask data get mnist"), "{text}");
    let text = message(&["runs"]);
    assert!(text.contains("`cargo xtask run quickstart`"), "{text}");
}

#[test]
fn a_bench_that_cannot_be_run_is_refused() {
    let sandbox = Sandbox::new();
    for (args, part) in [
        (&["--filter", "vgg16-bm"][..], "did you mean `vgg16-bn`?"),
        (&["--filter", "fc", "--repeats", "0"], "repeats"),
        (&["--filter", "fc", "--seconds", "0"], "seconds"),
        (&["--filter", "fc", "--batch", "0"], "batch"),
        (&["--against", "tch"], "pytorch"),
        (&["--arms", "every"], "eager"),
        (&["--retries", "99"], "retries"),
        (&["--filter", "fc", "--compile-limit", "0"], "seconds"),
        (&["--system-worker", "no-such-program"], "no-such-program"),
        (&["--json", "no/such/folder.json"], "no/such"),
        (&["--filter", "epoch"], "mnist"),
    ] {
        let output = sandbox.xtask().arg("bench").args(args).output().unwrap();
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {message}");
        assert_eq!(stdout(&output), "", "{args:?}");
        assert!(message.contains(part), "{args:?}: {message}");
        assert!(!message.contains("panicked"), "{message}");
    }
}

#[test]
fn docs_and_report_do_not_mix() {
    for args in [&["docs", "-o", "x"][..], &["report", "--check"]] {
        let output = xtask().args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let message = stderr(&output);
        assert!(message.contains("unexpected argument"), "{message}");
    }
}

#[test]
fn shells_complete_one_word() {
    let output = xtask().args(["completions", "bash"]).output().unwrap();
    let script = stdout(&output);
    for part in ["complete -F _xtask", "bench", "quickstart", "vgg16-slim"] {
        assert!(script.contains(part), "no {part}");
    }
}

#[test]
fn exit_codes_are_in_the_readme() {
    let readme = include_str!("../../../README.md");
    for (code, what) in [
        ("0", "no claim failed"),
        ("1", "a claim failed"),
        ("2", "bad input, missing data or another error"),
        ("130", "interrupted"),
    ] {
        assert!(readme.contains(&format!("| {code} | {what}")), "{code}");
    }
}
