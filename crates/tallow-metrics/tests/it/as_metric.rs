//! The trait `Metric` gives the values of the concrete types.

use tallow_metrics::{
    Accuracy, Auroc, CalibrationError, ConfusionMatrix, CrossEntropy, Error, Metric, TopK,
};

const CLASSES: usize = 4;

fn batch(samples: usize, seed: u32) -> (Vec<f32>, Vec<u32>) {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 16
    };
    let labels: Vec<u32> = (0..samples).map(|_| next() % CLASSES as u32).collect();
    let logits = (0..samples * CLASSES)
        .map(|_| (next() % 2_000) as f32 / 500.0 - 2.0)
        .collect();
    (logits, labels)
}

fn all() -> Vec<Box<dyn Metric>> {
    vec![
        Box::new(Accuracy::new()),
        Box::new(TopK::new(2).unwrap()),
        Box::new(CrossEntropy::new()),
        Box::new(Auroc::new(CLASSES).unwrap()),
        Box::new(CalibrationError::default()),
        Box::new(ConfusionMatrix::new(CLASSES).unwrap()),
    ]
}

#[test]
fn names_and_values_are_those_of_the_concrete_types() {
    let (logits, labels) = batch(50, 1);
    let mut metrics = all();
    for metric in &mut metrics {
        assert_eq!(metric.value(), None, "{metric:?}");
        assert_eq!(metric.values(), [], "{metric:?}");
        metric.update_logits(&logits, CLASSES, &labels).unwrap();
    }
    let values: Vec<_> = metrics.iter().flat_map(|metric| metric.values()).collect();

    let mut top = TopK::new(2).unwrap();
    let mut loss = CrossEntropy::new();
    let mut auroc = Auroc::new(CLASSES).unwrap();
    let mut calibration = CalibrationError::default();
    let mut confusion = ConfusionMatrix::new(CLASSES).unwrap();
    top.update_logits(&logits, CLASSES, &labels).unwrap();
    loss.update_logits(&logits, CLASSES, &labels).unwrap();
    auroc.update_logits(&logits, CLASSES, &labels).unwrap();
    calibration
        .update_logits(&logits, CLASSES, &labels)
        .unwrap();
    confusion.update_logits(&logits, CLASSES, &labels).unwrap();
    let (calibration, report) = (calibration.compute().unwrap(), confusion.report());
    let expected = [
        ("accuracy", report.accuracy.unwrap()),
        ("top2_accuracy", top.compute().unwrap()),
        ("cross_entropy", loss.compute().unwrap()),
        ("auroc", auroc.compute().unwrap().macro_average.unwrap()),
        ("calibration_error", calibration.error),
        ("max_calibration_error", calibration.max_error),
        ("accuracy", report.accuracy.unwrap()),
        ("balanced_accuracy", report.balanced_accuracy.unwrap()),
        ("cohen_kappa", report.cohen_kappa.unwrap()),
        ("macro_precision", report.macro_average.precision),
        ("macro_recall", report.macro_average.recall),
        ("macro_f1", report.macro_average.f1),
        ("weighted_precision", report.weighted_average.precision),
        ("weighted_recall", report.weighted_average.recall),
        ("weighted_f1", report.weighted_average.f1),
    ];
    let expected: Vec<(String, f64)> = expected
        .iter()
        .map(|(name, value)| (name.to_string(), *value))
        .collect();
    assert_eq!(values, expected);
    // The first value is `value`, under the name of the metric.
    for metric in &metrics {
        let (name, value) = metric.values().remove(0);
        assert_eq!(
            (name.as_str(), Some(value)),
            (&*metric.name(), metric.value())
        );
    }
}

#[test]
fn reset_forgets_all_samples() {
    let (first, second) = (batch(30, 2), batch(40, 3));
    let (mut used, mut fresh) = (all(), all());
    for (used, fresh) in used.iter_mut().zip(&mut fresh) {
        used.update_logits(&first.0, CLASSES, &first.1).unwrap();
        used.reset();
        assert_eq!(used.value(), None, "{used:?}");
        used.update_logits(&second.0, CLASSES, &second.1).unwrap();
        fresh.update_logits(&second.0, CLASSES, &second.1).unwrap();
        assert_eq!(used.values(), fresh.values());
    }
}

/// Merge as a trainer that is generic over the metric calls it.
fn in_two_parts<M: Metric>(new: impl Fn() -> M) {
    let (first, second) = (batch(30, 4), batch(20, 5));
    let (mut whole, mut left, mut right) = (new(), new(), new());
    for (logits, labels) in [&first, &second] {
        whole.update_logits(logits, CLASSES, labels).unwrap();
    }
    left.update_logits(&first.0, CLASSES, &first.1).unwrap();
    right.update_logits(&second.0, CLASSES, &second.1).unwrap();
    left.merge(&right).unwrap();
    assert!(whole.value().is_some());
    assert_eq!(left.values(), whole.values());
}

#[test]
fn merged_parts_are_the_whole() {
    in_two_parts(Accuracy::new);
    in_two_parts(|| TopK::new(3).unwrap());
    in_two_parts(CrossEntropy::new);
    in_two_parts(|| Auroc::new(CLASSES).unwrap());
    in_two_parts(CalibrationError::default);
    in_two_parts(|| ConfusionMatrix::new(CLASSES).unwrap());
}

#[test]
fn errors_change_nothing() {
    for mut metric in all() {
        let error = metric
            .update_logits(&[0.0; 8], CLASSES, &[0, 9])
            .unwrap_err();
        assert!(matches!(error, Error::OutOfRange { .. }), "{error}");
        assert_eq!(metric.value(), None, "{metric:?}");
    }
    let mut two = TopK::new(2).unwrap();
    assert!(Metric::merge(&mut two, &TopK::new(3).unwrap()).is_err());
}
