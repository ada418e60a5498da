//! Numbers that are not finite: `null` in files, NaN or `None` in memory.

use tallow_record::{
    Calibration, EpochRow, GradientRow, Inputs, Prediction, Run, RunResults, by_variant,
};

use crate::record::{row, write_rows};

#[test]
fn rows_survive_json() {
    let mut unmeasured = row(0, 0.0);
    (unmeasured.test_loss, unmeasured.test_accuracy) = (None, None);
    for row in [unmeasured, row(7, 1.0 / 3.0)] {
        let text = serde_json::to_string(&row).unwrap();
        let read: EpochRow = serde_json::from_str(&text).unwrap();
        assert_eq!(read, row, "{text}");
        assert_eq!(text.contains("test_loss"), row.test_loss.is_some());
    }
}

#[test]
fn a_loss_that_is_not_finite_is_null() {
    let mut bad = row(1, 0.1);
    (bad.train_loss, bad.test_loss) = (f64::NAN, Some(f64::INFINITY));
    let text = serde_json::to_string(&bad).unwrap();
    assert!(text.contains(r#""train_loss":null"#), "{text}");
    assert!(text.contains(r#""test_loss":null"#), "{text}");
    let read: EpochRow = serde_json::from_str(&text).unwrap();
    assert!(read.train_loss.is_nan() && read.test_loss.unwrap().is_nan());
    assert_eq!(
        (read.get("train_loss"), read.get("test_loss")),
        (None, None)
    );
    assert_eq!(read.get("test_accuracy"), Some(0.1));
    // It was measured, which a missing key would not tell.
    assert!(read.metrics().any(|(metric, _)| metric.name == "test_loss"));
    assert_eq!(read, read.clone());
    assert_ne!(read, row(1, 0.1));
}

#[test]
fn a_record_with_such_a_loss_is_read() {
    let runs = tempfile::tempdir().unwrap();
    let mut bad = row(0, 0.1);
    bad.test_loss = Some(f64::NAN);
    write_rows(runs.path(), "v", 0, &[bad], true);
    let run = Run::read(runs.path()).unwrap();
    assert_eq!(run.epochs[0].get("test_loss"), None);
    assert_eq!(run.summary.as_ref().unwrap().metrics["test_loss"], None);
    let variants = by_variant(&[run]);
    assert!(!variants[0].metrics.contains_key("test_loss"));
    assert_eq!(variants[0].metrics["test_accuracy"].values, [0.1]);
}

#[test]
fn results_write_every_key_of_an_epoch() {
    let mut bad = row(0, 0.1);
    bad.test_loss = Some(f64::NAN);
    let results = RunResults {
        epochs: vec![bad],
        ..RunResults::default()
    };
    let text = serde_json::to_string(&results).unwrap();
    assert!(text.contains(r#""test_loss":null"#), "{text}");
    assert!(text.contains(r#""test_top5":null"#), "{text}");
    let read: RunResults = serde_json::from_str(&text).unwrap();
    assert_eq!(read.epochs[0].get("test_loss"), None);
    assert_eq!(read.epochs[0].test_top5, None);
    assert_eq!(serde_json::to_string(&read).unwrap(), text);
}

#[test]
fn other_files_are_read_too() {
    let text = r#"{"epoch":0,"step":1,"steps":2,"total":null,"norms":[["a",null],["b",1.5]]}"#;
    let row: GradientRow = serde_json::from_str(text).unwrap();
    assert!(row.total.is_nan() && row.norms[0].1.is_nan());
    assert_eq!(row.norms[1], ("b".to_string(), 1.5));
    assert_eq!(row, row.clone());
    assert_eq!(serde_json::to_string(&row).unwrap(), text);

    let text = r#"{"index":3,"label":1,"top":[[0,null]]}"#;
    let prediction: Prediction = serde_json::from_str(text).unwrap();
    assert!(prediction.confidence().is_nan());
    assert_eq!(serde_json::to_string(&prediction).unwrap(), text);

    let text = r#"{"mean":[null],"std":[1.0],"histogram":{"from":0.0,"to":1.0,"counts":[1]}}"#;
    let inputs: Inputs = serde_json::from_str(text).unwrap();
    assert!(inputs.mean[0].is_nan());
    assert_eq!(serde_json::to_string(&inputs).unwrap(), text);

    let bin = r#"{"lower":1.0,"upper":1.0,"count":2,"accuracy":0.0,"confidence":null}"#;
    let text = format!(r#"{{"error":null,"max_error":null,"samples":2,"bins":[{bin}]}}"#);
    let calibration: Calibration = serde_json::from_str(&text).unwrap();
    assert!(calibration.error.is_nan() && calibration.bins[0].confidence.is_nan());
    assert_eq!(serde_json::to_string(&calibration).unwrap(), text);
}
