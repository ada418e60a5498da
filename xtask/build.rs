//! Puts the commit that the program is built from into it, as `TALLOW_COMMIT`; sets nothing outside of git.

use std::path::Path;
use std::process::Command;

/// Sources of the program, from this package's folder.
const SOURCES: [&str; 5] = [
    "../Cargo.toml",
    "../Cargo.lock",
    "../.cargo",
    "../crates",
    ".",
];

fn main() {
    for path in SOURCES {
        println!("cargo::rerun-if-changed={path}");
    }
    // Both change with a commit and with another branch; a reference in a file of its own need not exist.
    for name in ["HEAD", "logs/HEAD"] {
        let path = git(&["rev-parse", "--git-path", name]);
        if let Some(path) = path.filter(|path| Path::new(path).exists()) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    if let Some(commit) = git(&["rev-parse", "HEAD"]) {
        println!("cargo::rustc-env=TALLOW_COMMIT={commit}{}", suffix());
    }
}

/// `-dirty` where a source differs from the commit.
fn suffix() -> &'static str {
    let mut arguments = vec!["status", "--porcelain", "--"];
    arguments.extend(SOURCES);
    match git(&arguments) {
        Some(changes) if changes.is_empty() => "",
        _ => "-dirty",
    }
}

/// Output of git; `None` if it fails.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim_end().to_string())
}
