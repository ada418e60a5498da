//! Wrong arguments give typed errors that say what was expected, and change nothing.

use tallow_metrics::{
    Accuracy, Auroc, CalibrationError, ConfusionMatrix, CrossEntropy, Error, MeanMetric, Report,
    TopK,
};

#[test]
fn lengths() {
    let expected = Error::Length {
        what: "logits",
        labels: 2,
        expected: 6,
        found: 5,
    };
    assert_eq!(
        expected.to_string(),
        "expected 6 logits for 2 labels, found 5"
    );
    let (logits, labels) = ([0.0; 5], [0, 1]);
    assert_eq!(
        Accuracy::new().update_logits(&logits, 3, &labels),
        Err(expected.clone())
    );
    assert_eq!(
        TopK::new(1).unwrap().update_logits(&logits, 3, &labels),
        Err(expected.clone())
    );
    assert_eq!(
        CrossEntropy::new().update_logits(&logits, 3, &labels),
        Err(expected.clone())
    );
    assert_eq!(
        CalibrationError::default().update_logits(&logits, 3, &labels),
        Err(expected.clone())
    );
    let mut confusion = ConfusionMatrix::new(3).unwrap();
    assert_eq!(confusion.update_logits(&logits, 3, &labels), Err(expected));
    let expected = Error::Length {
        what: "predictions",
        labels: 2,
        expected: 2,
        found: 1,
    };
    assert_eq!(confusion.update(&[0], &labels), Err(expected.clone()));
    assert_eq!(Accuracy::new().update(&[0], &labels), Err(expected));
    assert_eq!(confusion.total(), 0);
}

#[test]
fn labels_and_predictions_out_of_range() {
    let mut confusion = ConfusionMatrix::new(3).unwrap();
    let error = confusion.update_logits(&[0.0; 6], 3, &[1, 3]).unwrap_err();
    assert_eq!(
        error,
        Error::OutOfRange {
            what: "label",
            position: 1,
            value: 3,
            classes: 3
        }
    );
    assert_eq!(
        error.to_string(),
        "label 3 at position 1 is not below the number of classes, 3"
    );
    let error = confusion.update(&[0, 9, 1], &[0, 1, 2]).unwrap_err();
    assert_eq!(
        error,
        Error::OutOfRange {
            what: "prediction",
            position: 1,
            value: 9,
            classes: 3
        }
    );
    assert!(confusion.update(&[0, 0], &[2, u32::MAX]).is_err());
    assert_eq!(confusion.total(), 0, "a failed update changes nothing");

    let mut loss = CrossEntropy::new();
    assert!(loss.update_logits(&[0.0; 6], 3, &[0, 3]).is_err());
    assert_eq!(loss.compute(), None);
    let mut top = TopK::new(2).unwrap();
    assert!(top.update_logits(&[0.0; 6], 3, &[0, 3]).is_err());
    assert_eq!((top.compute(), top.total()), (None, 0));
}

#[test]
fn parameters() {
    assert_eq!(
        TopK::new(0).unwrap_err().to_string(),
        "k must be at least 1"
    );
    assert_eq!(
        CalibrationError::new(0).unwrap_err().to_string(),
        "the number of bins must be at least 1"
    );
    assert!(matches!(
        ConfusionMatrix::new(0),
        Err(Error::Classes { found: 0, .. })
    ));
    assert!(matches!(
        ConfusionMatrix::new(usize::MAX),
        Err(Error::Classes { .. })
    ));
    assert!(matches!(
        Accuracy::new().update_logits(&[], 0, &[]),
        Err(Error::Classes { .. })
    ));
    assert!(matches!(
        CrossEntropy::new().update_logits(&[], usize::MAX, &[0, 0]),
        Err(Error::Classes { .. })
    ));

    let mut confusion = ConfusionMatrix::new(3).unwrap();
    let error = confusion.update_logits(&[0.0; 4], 4, &[0]).unwrap_err();
    assert_eq!(error.to_string(), "this metric has classes = 3, found 4");
    assert_eq!(
        confusion.merge(&ConfusionMatrix::new(4).unwrap()),
        Err(error)
    );
    assert!(TopK::new(1).unwrap().merge(&TopK::new(5).unwrap()).is_err());
    let error = CalibrationError::default()
        .merge(&CalibrationError::new(10).unwrap())
        .unwrap_err();
    assert_eq!(
        error,
        Error::Unlike {
            what: "bins =",
            expected: 15,
            found: 10
        }
    );
}

#[test]
fn probabilities() {
    let mut metric = CalibrationError::default();
    let error = metric
        .update_probabilities(&[0.5, 0.5, 1.5, -0.5], 2, &[0, 1])
        .unwrap_err();
    assert_eq!(
        error,
        Error::Probability {
            position: 2,
            value: 1.5
        }
    );
    assert!(
        metric
            .update_probabilities(&[f32::NAN, 0.5], 2, &[0])
            .is_err()
    );
    assert_eq!(metric.compute(), None);

    // One right at 0.8 and one wrong at 1: |1 - 0.8| / 2 + |0 - 1| / 2.
    metric
        .update_probabilities(&[0.8, 0.2, 0.0, 1.0], 2, &[0, 0])
        .unwrap();
    let calibration = metric.compute().unwrap();
    assert!((calibration.error - 0.6).abs() < 1e-7);
    assert_eq!(calibration.max_error, 1.0);
    assert_eq!(calibration.bins.len(), 16);
    assert_eq!(
        (
            calibration.bins[15].lower,
            calibration.bins[15].upper,
            calibration.bins[15].count
        ),
        (1.0, 1.0, 1)
    );
    assert_eq!(
        calibration.bins[12].count, 1,
        "0.8 is the lower bound of bin 12 of 15 and belongs to it"
    );
}

#[test]
fn areas_take_what_fits_them() {
    let mut metric = Auroc::new(2).unwrap();
    assert_eq!(metric.compute(), None);
    assert!(Auroc::new(0).is_err());
    assert!(metric.update_logits(&[0.0; 3], 3, &[0]).is_err());
    assert!(metric.update_logits(&[0.0; 3], 2, &[0]).is_err());
    assert!(metric.update_logits(&[0.0; 2], 2, &[2]).is_err());
    assert!(metric.update_probabilities(&[0.5, 1.5], 2, &[0]).is_err());
    assert!(metric.merge(&Auroc::new(3).unwrap()).is_err());
    assert_eq!(metric.compute(), None);

    // Of the four pairs for class 1, 0.5 is above 0.2 and ties with 0.5, and 0.1 is below both.
    metric
        .update_probabilities(&[0.8, 0.2, 0.5, 0.5, 0.5, 0.5, 0.9, 0.1], 2, &[0, 0, 1, 1])
        .unwrap();
    let areas = metric.compute().unwrap();
    assert_eq!(areas.per_class[1], Some((1.0 + 0.5) / 4.0));
    metric.update_logits(&[f32::NAN, 0.0], 2, &[0]).unwrap();
    assert!(metric.compute().unwrap().macro_average.unwrap().is_nan());
}

#[test]
fn nothing_seen() {
    assert_eq!(MeanMetric::new().compute(), None);
    assert_eq!(Accuracy::new().compute(), None);
    assert_eq!(CrossEntropy::new().compute(), None);
    assert_eq!(CalibrationError::default().compute(), None);
    let report = ConfusionMatrix::new(2).unwrap().report();
    assert_eq!(
        (
            report.accuracy,
            report.balanced_accuracy,
            report.cohen_kappa
        ),
        (None, None, None)
    );
    assert_eq!(report.macro_average.f1, 0.0);
    assert_eq!(report.weighted_average.f1, 0.0);
    let mut zero = MeanMetric::new();
    zero.add(3.0, 0.0);
    assert_eq!(zero.compute(), None);
    // An empty batch is no error.
    Accuracy::new().update_logits(&[], 3, &[]).unwrap();
}

#[test]
fn results_survive_json() {
    let mut confusion = ConfusionMatrix::new(3).unwrap();
    confusion
        .update(&[0, 1, 1, 2, 2, 2], &[0, 1, 2, 2, 2, 0])
        .unwrap();
    let report = confusion.report();
    let text = serde_json::to_string(&report).unwrap();
    let back: Report = serde_json::from_str(&text).unwrap();
    assert_eq!(back.per_class.len(), 3);
    assert_eq!(back.per_class[2].support, report.per_class[2].support);
    assert!((back.macro_average.f1 - report.macro_average.f1).abs() < 1e-15);
    let matrix = serde_json::to_value(&confusion).unwrap();
    assert_eq!(
        matrix,
        serde_json::json!({"classes": 3, "counts": [1, 0, 1, 0, 1, 0, 0, 1, 2]})
    );
}
