//! Layout of results files, against those of this repository.

use std::fs;
use std::path::Path;

use tallow_record::Results;

/// The files were written by the layout before it was a `serde_json` formatter.
#[test]
fn committed_results_are_unchanged_by_reading_and_writing() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/results");
    let written = tempfile::tempdir().unwrap();
    let mut files = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let again = written.path().join("again.json");
        Results::read(&path).unwrap().write(&again).unwrap();
        let same = fs::read(&path).unwrap() == fs::read(&again).unwrap();
        assert!(same, "{} changed", path.display());
        files += 1;
    }
    assert!(files >= 10, "{files} files");
}
