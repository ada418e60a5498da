//! Word on tests that were skipped.

use std::io::Write;

/// Reports that a test was skipped, directly on standard error: the output of `eprintln` is hidden when a test passes. With
/// `TALLOW_NO_SKIP`, as in CI where all is there, it fails instead.
pub fn skipped(why: &str) {
    let set = std::env::var_os("TALLOW_NO_SKIP").is_some_and(|value| !value.is_empty());
    assert!(!set, "TALLOW_NO_SKIP is set, and this was skipped: {why}");
    let line = format!("SKIPPED: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}
