//! Runs by variant.

use tallow_record::{Run, by_variant};

use crate::record::write;

#[test]
fn seeds_are_grouped_by_variant() {
    let runs = tempfile::tempdir().unwrap();
    let dirs = [
        write(runs.path(), "fc", 0, 0.25, true),
        write(runs.path(), "cnn", 0, 0.5, true),
        write(runs.path(), "fc", 1, 0.75, true),
        write(runs.path(), "fc", 2, 0.9, false),
    ];
    let read: Vec<Run> = dirs.iter().map(|dir| Run::read(dir).unwrap()).collect();
    assert_eq!(read[3].summary, None);
    assert_eq!(read[3].epochs.len(), 2);

    let variants = by_variant(&read);
    let names: Vec<&str> = variants.iter().map(|v| v.name.as_str()).collect();
    assert_eq!(names, ["fc", "cnn"]);
    assert_eq!(variants[0].seeds, [0, 1]);
    assert_eq!(variants[0].model, "fc-net");
    assert_eq!(variants[0].parameters, 2);
    let accuracy = &variants[0].metrics["test_accuracy"];
    assert_eq!(
        (accuracy.mean, accuracy.values.as_slice()),
        (0.5, &[0.25, 0.75][..])
    );
    assert!((accuracy.std.unwrap() - 0.125f64.sqrt()).abs() < 1e-15);
    assert_eq!(variants[1].metrics["test_accuracy"].std, None);
    // Without recipe and runs, their keys are left out.
    let json = serde_json::to_value(&variants[0]).unwrap();
    let keys: Vec<&str> = json
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        keys,
        [
            "metrics",
            "model",
            "name",
            "parameters",
            "published",
            "seeds"
        ]
    );
}
