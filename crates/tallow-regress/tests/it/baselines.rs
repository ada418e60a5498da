//! Baseline files: finding, reading and naming them.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tallow_record::Tier;
use tallow_regress::Baseline;
use tallow_regress::baseline::{Data, find, place_for};

fn baseline(digest: &str) -> Value {
    json!({
        "experiment": "guard",
        "tier": "smoke",
        "updates": [{"reason": "first", "commit": null}],
        "data": {"name": "mnist", "digest": digest, "test_digest": "t"},
        "environment": {
            "tallow": "0.1.0", "commit": null, "rustc": "", "platform": "linux x86_64", "cpu": "cpu",
            "threads": 2, "device": "cpu"
        },
        "variants": [{
            "name": "cnn", "model": "cnn", "recipe": {}, "seeds": [0, 1], "weights": [null, "abc"],
            "metrics": {"test_accuracy": {"mean": 0.5, "std": 0.0, "values": [0.5, 0.5]}}
        }]
    })
}

fn write(path: &Path, value: &Value) {
    fs::write(path, value.to_string()).unwrap();
}

fn data(digest: &str) -> Data {
    Data {
        name: "mnist".to_string(),
        digest: digest.to_string(),
        test_digest: "t".to_string(),
    }
}

#[test]
fn several_versions_of_the_data() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path();
    let place_of = |digest: &str| {
        let (path, before) = place_for(place, "guard", Tier::Smoke, &data(digest)).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap().to_string();
        (name, before.is_some())
    };
    let (first, second) = ("1".repeat(64), "2".repeat(64));
    assert_eq!(place_of(&first), ("guard.smoke.json".to_string(), false));
    write(&place.join("guard.smoke.json"), &baseline(&first));
    assert_eq!(place_of(&first), ("guard.smoke.json".to_string(), true));
    let name = "guard.smoke.22222222.json".to_string();
    assert_eq!(place_of(&second), (name.clone(), false));
    write(&place.join(&name), &baseline(&second));
    assert_eq!(place_of(&second), (name, true));
    write(&place.join("guard.standard.json"), &json!({}));
    let found = find(place, "guard", Tier::Smoke).unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].1.variants[0].weights_of(1), Some("abc"));
    assert_eq!(found[0].1.variants[0].weights_of(0), None);

    // The same training data with other test data has no file name of its own.
    let mut other = data(&second);
    other.test_digest = "u".to_string();
    let error = place_for(place, "guard", Tier::Smoke, &other).unwrap_err();
    assert!(
        error.to_string().contains("it has other test data"),
        "{error}"
    );
}

#[test]
fn a_file_of_another_experiment_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.json");
    assert_eq!(find(&path, "guard", Tier::Smoke).unwrap().len(), 0);
    write(&path, &baseline("1"));
    assert_eq!(find(&path, "guard", Tier::Smoke).unwrap().len(), 1);
    let error = find(&path, "guard", Tier::Full).unwrap_err().to_string();
    assert!(
        error.contains(
            "mine.json: expected a baseline of guard, full tier; found one of guard, smoke tier"
        ),
        "{error}"
    );
    let none = find(&folder.path().join("none"), "guard", Tier::Smoke).unwrap();
    assert_eq!(none.len(), 0);
}

#[test]
fn a_damaged_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guard.smoke.json");
    for damaged in ["", "{", "[]", "{\"experiment\": \"guard\"}"] {
        fs::write(&path, damaged).unwrap();
        let error = Baseline::read(&path).unwrap_err().to_string();
        assert!(error.contains("guard.smoke.json, line "), "{error}");
    }
    let mut short = baseline("1");
    short["variants"][0]["weights"] = json!([]);
    write(&path, &short);
    let error = Baseline::read(&path).unwrap_err().to_string();
    assert!(
        error.contains("variant `cnn` has 2 seeds; expected 2 values"),
        "{error}"
    );
    let mut incomplete = baseline("1");
    incomplete["variants"][0]["metrics"] = json!({});
    write(&path, &incomplete);
    let read = Baseline::read(&path).unwrap().unwrap();
    let error = read.check_complete().unwrap_err().to_string();
    assert!(
        error.contains("guard: `cnn` has no finite test_accuracy for some seed"),
        "{error}"
    );
}

#[test]
fn what_is_written_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guard.smoke.json");
    write(&path, &baseline("1"));
    let read = Baseline::read(&path).unwrap().unwrap();
    read.write(&path).unwrap();
    assert_eq!(Baseline::read(&path).unwrap().unwrap(), read);
}
