//! `cargo xtask` and `cargo test --workspace` build the dependencies with the same features, so that the second of the two commands
//! compiles none of them again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// Features of each package, as `cargo tree` prints them.
fn features(arguments: &[&str]) -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .args([
            "tree",
            "--offline",
            "--prefix",
            "none",
            "--format",
            "{p}|{f}",
        ])
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        if let Some((package, features)) = line.trim_end_matches(" (*)").split_once('|') {
            found
                .entry(package.to_string())
                .or_default()
                .insert(features.to_string());
        }
    }
    found
}

#[test]
// The platform of CI; on others a test of the terminal may turn on a feature more.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn both_commands_build_the_same_dependencies() {
    let xtask = features(&[
        "--package",
        "xtask",
        "--edges",
        "normal,build,no-proc-macro",
    ]);
    let tests = features(&["--workspace", "--edges", "normal,build,dev,no-proc-macro"]);
    assert!(
        xtask.contains_key("candle-core v0.11.1")
            || xtask.keys().any(|p| p.starts_with("candle-core "))
    );
    for (package, features) in &xtask {
        assert_eq!(
            Some(features),
            tests.get(package),
            "{package}: name its features in the dependencies of xtask"
        );
    }
}
