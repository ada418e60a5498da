//! Every metric against scikit-learn, torchmetrics and PyTorch (`tests/fixtures/make_fixtures.py`).

use serde_json::Value;
use std::sync::LazyLock;
use tallow_metrics::{
    Accuracy, Auroc, CalibrationError, ConfusionMatrix, CrossEntropy, MeanMetric, TopK, argmax,
};

static FIXTURES: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../fixtures/fixtures.json")).unwrap());

struct Case {
    name: String,
    classes: usize,
    logits: Vec<f32>,
    labels: Vec<u32>,
    predictions: Vec<u32>,
    expected: &'static Value,
}

fn cases() -> Vec<Case> {
    let cases = FIXTURES["classification"].as_array().unwrap();
    assert_eq!(cases.len(), 7);
    cases
        .iter()
        .map(|case| Case {
            name: case["name"].as_str().unwrap().to_owned(),
            classes: case["classes"].as_u64().unwrap() as usize,
            logits: numbers(&case["logits"]).iter().map(|&x| x as f32).collect(),
            labels: numbers(&case["labels"]).iter().map(|&x| x as u32).collect(),
            predictions: numbers(&case["predictions"])
                .iter()
                .map(|&x| x as u32)
                .collect(),
            expected: case,
        })
        .collect()
}

/// A list of numbers, among which non-finite ones are spelled out.
fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(number).collect()
}

fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| value.as_str().unwrap().parse().unwrap())
}

#[track_caller]
fn close(found: f64, expected: f64, tolerance: f64, what: &str) {
    assert!(
        (found - expected).abs() <= tolerance,
        "{what}: {found} is not within {tolerance} of {expected}"
    );
}

fn confusion(case: &Case) -> ConfusionMatrix {
    let mut confusion = ConfusionMatrix::new(case.classes).unwrap();
    confusion
        .update_logits(&case.logits, case.classes, &case.labels)
        .unwrap();
    confusion
}

#[test]
fn confusion_matrix_and_class_scores() {
    for case in cases() {
        let confusion = confusion(&case);
        let mut from_predictions = ConfusionMatrix::new(case.classes).unwrap();
        from_predictions
            .update(&case.predictions, &case.labels)
            .unwrap();
        assert_eq!(confusion, from_predictions, "{}", case.name);
        let counts: Vec<f64> = confusion.matrix().iter().map(|&n| n as f64).collect();
        assert_eq!(
            counts,
            numbers(&case.expected["confusion"]),
            "{}",
            case.name
        );

        let expected = &case.expected["per_class"];
        let scores = confusion.per_class();
        for (i, score) in scores.iter().enumerate() {
            assert_eq!(score.class, i);
            assert_eq!(score.support as f64, number(&expected["support"][i]));
            for (found, name) in [
                (score.precision, "precision"),
                (score.recall, "recall"),
                (score.f1, "f1"),
            ] {
                match score.support {
                    0 => assert_eq!(found, None, "{}, {name}", case.name),
                    _ => close(
                        found.unwrap(),
                        number(&expected[name][i]),
                        1e-15,
                        &case.name,
                    ),
                }
            }
        }
        assert_eq!(
            scores.iter().map(|s| s.predicted).sum::<u64>(),
            case.labels.len() as u64
        );
    }
}

#[test]
fn averages() {
    let mut more_counted = 0;
    for case in cases() {
        let report = confusion(&case).report();
        let mut expected = case.expected["averages"].clone();
        // A class that is predicted and has no samples is in scikit-learn's macro average, as 0, and not in this one.
        let scores = &report.per_class;
        let present = scores.iter().filter(|s| s.support > 0).count() as f64;
        let counted = (scores.iter()).filter(|s| s.support + s.predicted > 0);
        let counted = counted.count() as f64;
        for score in expected["macro"].as_object_mut().unwrap().values_mut() {
            *score = (number(score) * counted / present).into();
        }
        more_counted += usize::from(counted > present);
        for (average, name) in [
            (&report.macro_average, "macro"),
            (&report.weighted_average, "weighted"),
            (&report.micro_average, "micro"),
        ] {
            let what = format!("{}, {name}", case.name);
            close(
                average.precision,
                number(&expected[name]["precision"]),
                1e-14,
                &what,
            );
            close(
                average.recall,
                number(&expected[name]["recall"]),
                1e-14,
                &what,
            );
            close(average.f1, number(&expected[name]["f1"]), 1e-14, &what);
            assert_eq!(average.support, case.labels.len() as u64);
        }
        close(
            report.balanced_accuracy.unwrap(),
            number(&case.expected["balanced_accuracy"]),
            1e-14,
            &case.name,
        );
        match report.cohen_kappa {
            Some(kappa) => close(
                kappa,
                number(&case.expected["cohen_kappa"]),
                1e-14,
                &case.name,
            ),
            None => assert!(case.expected["cohen_kappa"].is_null(), "{}", case.name),
        }
    }
    assert_eq!(more_counted, 1);
}

#[test]
fn accuracies() {
    for case in cases() {
        let samples = case.labels.len() as f64;
        let expected = number(&case.expected["correct"]) / samples;
        let mut accuracy = Accuracy::new();
        accuracy
            .update_logits(&case.logits, case.classes, &case.labels)
            .unwrap();
        assert_eq!(accuracy.compute(), Some(expected), "{}", case.name);
        let mut from_predictions = Accuracy::new();
        from_predictions
            .update(&case.predictions, &case.labels)
            .unwrap();
        assert_eq!(from_predictions, accuracy);
        assert_eq!(confusion(&case).accuracy(), Some(expected));

        for (k, expected) in case.expected["top_k"].as_object().unwrap() {
            let mut top = TopK::new(k.parse().unwrap()).unwrap();
            top.update_logits(&case.logits, case.classes, &case.labels)
                .unwrap();
            assert_eq!(
                top.correct() as f64,
                number(expected),
                "{}, k = {k}",
                case.name
            );
            assert_eq!(top.compute(), Some(number(expected) / samples));
        }
        let mut beyond = TopK::new(case.classes + 1).unwrap();
        beyond
            .update_logits(&case.logits, case.classes, &case.labels)
            .unwrap();
        assert_eq!(beyond.compute(), Some(1.0));
    }
}

#[test]
fn cross_entropy() {
    for case in cases() {
        let mut loss = CrossEntropy::new();
        loss.update_logits(&case.logits, case.classes, &case.labels)
            .unwrap();
        close(
            loss.compute().unwrap(),
            number(&case.expected["cross_entropy"]),
            1e-13,
            &case.name,
        );
    }
}

#[test]
fn calibration() {
    for case in cases() {
        for expected in case.expected["calibration"].as_array().unwrap() {
            let bins = expected["bins"].as_u64().unwrap() as usize;
            let what = format!("{}, {bins} bins", case.name);
            let mut metric = if bins == 15 {
                CalibrationError::default()
            } else {
                CalibrationError::new(bins).unwrap()
            };
            metric
                .update_logits(&case.logits, case.classes, &case.labels)
                .unwrap();
            let found = metric.compute().unwrap();
            assert_eq!(found.samples, case.labels.len() as u64);
            assert_eq!(
                found
                    .bins
                    .iter()
                    .map(|b| b.count as f64)
                    .collect::<Vec<_>>(),
                numbers(&expected["counts"]),
                "{what}"
            );
            // torchmetrics sums in f32
            close(found.error, number(&expected["l1"]), 1e-6, &what);
            close(found.max_error, number(&expected["max"]), 1e-6, &what);
        }
    }
}

#[test]
fn areas_under_the_roc_curve() {
    let mut undefined = 0;
    for case in cases() {
        let expected = &case.expected["auroc"];
        let mut of_logits = Auroc::new(case.classes).unwrap();
        of_logits
            .update_logits(&case.logits, case.classes, &case.labels)
            .unwrap();
        let probabilities: Vec<f32> = numbers(&expected["probabilities"])
            .iter()
            .map(|&p| p as f32)
            .collect();
        let mut of_probabilities = Auroc::new(case.classes).unwrap();
        of_probabilities
            .update_probabilities(&probabilities, case.classes, &case.labels)
            .unwrap();
        let found = of_logits.compute().unwrap();
        assert_eq!(Some(&found), of_probabilities.compute().as_ref());
        assert_eq!(found.samples, case.labels.len() as u64);
        let areas = expected["per_class"].as_array().unwrap();
        assert_eq!(found.per_class.len(), areas.len());
        let mut defined = Vec::new();
        for (area, expected) in found.per_class.iter().zip(areas) {
            match area {
                Some(area) => {
                    close(*area, number(expected), 1e-13, &case.name);
                    defined.push(number(expected));
                }
                None => {
                    assert!(expected.is_null(), "{}", case.name);
                    undefined += 1;
                }
            }
        }
        match found.macro_average {
            Some(mean) => close(
                mean,
                defined.iter().sum::<f64>() / defined.len() as f64,
                1e-13,
                &case.name,
            ),
            None => assert!(defined.is_empty()),
        }
    }
    // Two classes that are no label, and two of a set that has one class alone.
    assert_eq!(undefined, 4);
}

#[test]
fn reports_as_scikit_learn_prints_them() {
    for case in cases() {
        let names: Vec<String> = (1..=case.classes)
            .map(|n| format!("class {}", "x".repeat(n)))
            .collect();
        let report = confusion(&case).report();
        for digits in [2, 4] {
            let found = report.to_text(&names, digits).unwrap();
            let expected = &case.expected["report"][digits.to_string()];
            let lines = found.lines().zip(expected.as_str().unwrap().lines());
            // The lines in which a class that is predicted and has no samples shows, see the next test.
            let odd = |line: &str| line.contains('—') || line.trim_start().starts_with("macro avg");
            let dashes = found.contains('—');
            for (found, expected) in lines {
                if !(dashes && odd(found)) {
                    assert_eq!(found, expected, "{}", case.name);
                }
            }
            let expected = expected.as_str().unwrap();
            assert_eq!(found.lines().count(), expected.lines().count());
            assert!(dashes || found == expected, "{}", case.name);
        }
        assert!(report.to_text(&names[1..], 2).is_err());
    }
}

/// Class 2 has no samples and is predicted once, class 3 has neither; class 1 is never predicted.
#[test]
fn a_class_without_samples_has_no_scores_and_no_place_in_the_mean() {
    let mut confusion = ConfusionMatrix::new(4).unwrap();
    confusion.update(&[0, 0, 2, 0], &[0, 0, 0, 1]).unwrap();
    let report = confusion.report();
    let scores = |class: usize| {
        let score = &report.per_class[class];
        (score.precision, score.recall, score.f1)
    };
    let two_thirds = Some(2.0 / 3.0);
    assert_eq!(scores(0), (two_thirds, two_thirds, two_thirds));
    assert_eq!(scores(1), (Some(0.0), Some(0.0), Some(0.0)));
    assert_eq!(scores(2), (None, None, None));
    assert_eq!(scores(3), (None, None, None));
    // scikit-learn with labels=[0, 1]; over the three classes that it finds itself it is 2/9.
    let third = 1.0 / 3.0;
    let average = &report.macro_average;
    assert_eq!(
        [average.precision, average.recall, average.f1],
        [third, third, third]
    );
    assert_eq!(report.balanced_accuracy, Some(third));
    let json = serde_json::to_value(&report).unwrap();
    assert!(json["per_class"][2]["precision"].is_null());
    assert_eq!(json["per_class"][1]["precision"], 0.0);
    let text = report.to_text(&["a", "b", "c", "d"], 2).unwrap();
    assert!(text.contains("\n           c          —         —         —         0\n"));
    assert!(text.contains("\n   macro avg       0.33      0.33      0.33         4\n"));
    assert!(!text.contains("           d "));
}

#[test]
fn calibration_boundaries_are_torch_linspace() {
    for (bins, bits) in FIXTURES["linspace"].as_object().unwrap() {
        let mut metric = CalibrationError::new(bins.parse().unwrap()).unwrap();
        metric.update_logits(&[0.0, 1.0], 2, &[0]).unwrap();
        let lower: Vec<f64> = metric
            .compute()
            .unwrap()
            .bins
            .iter()
            .map(|b| f64::from((b.lower as f32).to_bits()))
            .collect();
        assert_eq!(lower, numbers(bits), "{bins} bins");
    }
}

#[test]
fn special_values() {
    let special = &FIXTURES["special"];
    let label = special["label"].as_u64().unwrap() as u32;
    for (i, row) in special["rows"].as_array().unwrap().iter().enumerate() {
        let row: Vec<f32> = numbers(row).iter().map(|&x| x as f32).collect();
        assert_eq!(
            argmax(&row) as f64,
            number(&special["argmax"][i]),
            "{row:?}"
        );
        let mut loss = CrossEntropy::new();
        loss.update_logits(&row, row.len(), &[label]).unwrap();
        let (found, expected) = (loss.compute().unwrap(), number(&special["loss"][i]));
        assert!(
            found == expected
                || (found.is_nan() && expected.is_nan())
                || (found - expected).abs() < 1e-13,
            "{row:?}: {found} {expected}"
        );

        let mut metric = CalibrationError::default();
        metric.update_logits(&row, row.len(), &[label]).unwrap();
        let calibration = metric.compute().unwrap();
        let has_nan = row.iter().any(|x| x.is_nan());
        let undefined =
            has_nan || row.contains(&f32::INFINITY) || row.iter().all(|&x| x == f32::NEG_INFINITY);
        assert_eq!(calibration.error.is_nan(), undefined, "{row:?}");
        assert_eq!(calibration.max_error.is_nan(), undefined, "{row:?}");
    }
}

#[test]
fn weighted_mean() {
    let fixture = &FIXTURES["mean"];
    let mut mean = MeanMetric::new();
    for (value, weight) in numbers(&fixture["values"])
        .iter()
        .zip(numbers(&fixture["weights"]))
    {
        mean.add(*value, weight);
    }
    close(
        mean.compute().unwrap(),
        number(&fixture["mean"]),
        1e-14,
        "mean",
    );
}
