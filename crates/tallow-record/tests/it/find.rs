//! Finding run records.

use std::fs;
use std::path::Path;

use tallow_record::{Error, find_runs, is_record, runs_of};

fn make(runs: &Path, experiment: &str, name: &str, files: &[&str]) {
    let dir = runs.join(experiment).join(name);
    fs::create_dir_all(&dir).unwrap();
    for file in files {
        fs::write(dir.join(file), "").unwrap();
    }
}

#[test]
fn records_are_found_by_their_files_and_sorted_by_time() {
    let runs = tempfile::tempdir().unwrap();
    let whole = ["environment.json", "config.toml"];
    make(runs.path(), "b", "20260101T000000Z-v-s0", &whole);
    make(runs.path(), "a", "20260103T000000Z-v-s0", &whole);
    make(runs.path(), "a", "20260102T000000Z-v-s1", &whole);
    make(runs.path(), "a", "other", &["environment.json"]);
    fs::write(runs.path().join("a").join("report.html"), "").unwrap();
    let names = |experiment| -> Vec<String> {
        let found = find_runs(runs.path(), experiment).unwrap();
        let name =
            |dir: &std::path::PathBuf| dir.file_name().unwrap().to_str().unwrap()[..8].into();
        found.iter().map(name).collect()
    };
    assert_eq!(names(None), ["20260101", "20260102", "20260103"]);
    assert_eq!(names(Some("a")), ["20260102", "20260103"]);
    let of_a = runs_of(runs.path().join("a")).unwrap();
    assert_eq!(of_a, find_runs(runs.path(), Some("a")).unwrap());
    assert!(of_a.iter().all(is_record));
    assert!(!is_record(runs.path().join("a").join("other")));
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(runs.path().join("b"), runs.path().join("c")).unwrap();
        assert_eq!(names(None).len(), 3);
    }

    let error = find_runs(runs.path(), Some("ab")).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("no runs of experiment `ab`; found: a, b"),
        "{error}"
    );
    let Error::UnknownExperiment { known, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(known, ["a", "b"]);
    let error = find_runs(runs.path().join("nothing"), None).unwrap_err();
    assert!(matches!(error, Error::NoRunsFolder { .. }), "{error}");
    assert!(error.to_string().contains("nothing"), "{error}");
}
