//! Table of metrics.

use std::collections::BTreeSet;

use tallow_record::{Better, METRICS, Metric, Varies};

use crate::record::row;

#[test]
fn names_and_titles_are_unique() {
    for title in [
        |m: &Metric| m.name,
        |m: &Metric| m.title,
        |m: &Metric| m.title_zh,
    ] {
        let all: BTreeSet<&str> = METRICS.iter().map(title).collect();
        assert_eq!(all.len(), METRICS.len());
    }
    assert!(METRICS.iter().all(|m| Metric::find(m.name) == Some(m)));
    assert_eq!(Metric::find("accuracy"), None);
}

/// Claims of existing experiments name these.
#[test]
fn claimable_metrics() {
    let mut names: Vec<&str> = METRICS
        .iter()
        .filter(|metric| metric.is_claimable())
        .map(|metric| metric.name)
        .collect();
    names.sort_unstable();
    let expected = [
        "accepts_other_size",
        "best_epoch",
        "best_test_accuracy",
        "best_validation_accuracy",
        "calibration_error",
        "first_layer_gradient",
        "gradient_norm_first",
        "gradient_norm_last",
        "images_per_second",
        "input_mean",
        "input_std",
        "multiply_adds",
        "parameters",
        "seconds",
        "steps",
        "test_accuracy",
        "test_loss",
        "test_top5",
        "train_accuracy",
        "train_loss",
        "validation_accuracy",
        "validation_loss",
        "validation_top5",
    ];
    assert_eq!(names, expected);
}

#[test]
fn metrics_of_an_epoch_are_the_fields_of_a_row() {
    let mut row = row(0, 0.5);
    row.test_top5 = Some(0.9);
    row.validation_loss = Some(0.3);
    row.validation_accuracy = Some(0.6);
    row.validation_top5 = Some(0.95);
    let measured: Vec<&str> = row.metrics().map(|(metric, _)| metric.name).collect();
    let per_epoch = METRICS.iter().filter(|metric| metric.per_epoch);
    assert_eq!(measured, per_epoch.map(|m| m.name).collect::<Vec<_>>());
    // Every key of the line but the epoch itself.
    let line = serde_json::to_value(&row).unwrap();
    for (key, value) in line.as_object().unwrap() {
        match key.as_str() {
            "epoch" => assert_eq!(row.get(key), None),
            name => assert_eq!(row.get(name), value.as_f64(), "{name}"),
        }
    }
    assert_eq!(line.as_object().unwrap().len(), measured.len() + 1);
}

#[test]
fn curves_and_directions() {
    let curves = METRICS.iter().filter(|metric| metric.has_curve());
    let mut curves: Vec<&str> = curves.map(|metric| metric.name).collect();
    curves.sort_unstable();
    let expected = [
        "lr",
        "test_accuracy",
        "test_loss",
        "test_top5",
        "train_accuracy",
        "train_loss",
        "validation_accuracy",
        "validation_loss",
        "validation_top5",
    ];
    assert_eq!(curves, expected);
    for metric in METRICS {
        let better = match metric.name {
            name if name.ends_with("loss") => Some(Better::Lower),
            name if name.ends_with("accuracy") => Some(Better::Higher),
            _ => metric.better,
        };
        assert_eq!(metric.better, better, "{}", metric.name);
        // What the recipe determines cannot improve from run to run.
        assert!(metric.varies != Varies::Never || metric.better.is_none());
    }
}
