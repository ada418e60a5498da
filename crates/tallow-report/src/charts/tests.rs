//! Every chart: its texts, its determinism, and missing values.

use super::*;
use crate::error::{Error, Result};
use tallow_record::Statistic;
use tallow_record::{GradientRow, Histogram, Inputs};

fn accuracy() -> Axis {
    Axis {
        title: "test accuracy".to_string(),
        percent: true,
    }
}

fn curve(label: &str, runs: &[&[f64]]) -> Curve {
    let some = |run: &&[f64]| run.iter().map(|value| Some(*value)).collect();
    Curve {
        label: label.to_string(),
        runs: runs.iter().map(some).collect(),
    }
}

/// The picture, made twice.
fn picture(make: impl Fn() -> Result<String>) -> String {
    let svg = make().unwrap();
    assert_eq!(svg, make().unwrap());
    for nonsense in ["NaN", "inf", "-2147483648", "2147483647"] {
        assert!(!svg.contains(nonsense), "{nonsense} in\n{svg}");
    }
    assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"));
    svg
}

/// The texts of a picture.
fn texts(svg: &str) -> Vec<&str> {
    let starts = svg.split("<text ").skip(1);
    starts
        .filter_map(|text| Some(text.split_once('>')?.1.split("</text>").next()?.trim()))
        .collect()
}

#[test]
fn curves_name_their_lines_and_axes() {
    let lines = [
        curve("cnn", &[&[0.5, 0.6, 0.7], &[0.5, 0.62, 0.72]]),
        curve("fc & more", &[&[0.4, 0.45, 0.5]]),
    ];
    let svg = picture(|| curves("small: test accuracy", &accuracy(), &lines));
    let texts = texts(&svg);
    for text in [
        "small: test accuracy",
        "epoch",
        "test accuracy (%)",
        "cnn",
        "fc &amp; more",
        "1",
        "3",
        "60",
    ] {
        assert!(texts.contains(&text), "no {text} in {texts:?}");
    }
    // One seed has no band.
    assert_eq!(svg.matches("<polygon").count(), 1);
}

#[test]
fn curves_of_one_epoch_and_with_gaps() {
    let one = [curve("cnn", &[&[0.5], &[0.7]])];
    assert!(picture(|| curves("t", &accuracy(), &one)).contains("<circle"));
    let mut gaps = curve("cnn", &[&[2.0, f64::NAN, 1.5, f64::INFINITY, 1.0, 0.5]]);
    gaps.runs[0][4] = None;
    let axis = Axis {
        title: "train loss".to_string(),
        percent: false,
    };
    let svg = picture(|| curves("t", &axis, &[gaps.clone()]));
    assert_eq!(svg.matches("<circle").count(), 3);
    let constant = [curve("flat", &[&[1.0, 1.0]])];
    picture(|| curves("t", &axis, &constant));
}

#[test]
fn nothing_to_draw_is_an_error() {
    let nothing = |result: Result<String>| matches!(result, Err(Error::NothingToDraw { chart }) if chart == "t");
    assert!(nothing(curves("t", &accuracy(), &[])));
    assert!(nothing(curves(
        "t",
        &accuracy(),
        &[curve("a", &[&[f64::NAN]])]
    )));
    assert!(nothing(bars("t", &accuracy(), &[])));
    assert!(nothing(waterfall("t", &accuracy(), &[])));
    assert!(nothing(confusion("t", &[], &[])));
    assert!(nothing(confusion("t", &[], &[vec![1, 2]])));
    assert!(nothing(gradients("t", &[])));
    assert!(nothing(histograms("t", &[])));
    let one = [coordinate("lr", CoordinateKind::Linear)];
    assert!(nothing(parallel("t", &one, &[vec![Some(1.0)]])));
    let two = [one[0].clone(), coordinate("x", CoordinateKind::Linear)];
    assert!(nothing(parallel("t", &two, &[])));
    assert!(nothing(parallel("t", &two, &[vec![Some(f64::NAN), None]])));
    let names = ["ours", "theirs"];
    assert!(nothing(distributions("t", &accuracy(), names, &[])));
    let empty = [pair("fc", &[], &[f64::NAN])];
    assert!(nothing(distributions("t", &accuracy(), names, &empty)));
}

fn pair(label: &str, above: &[f64], below: &[f64]) -> SamplePair {
    SamplePair {
        label: label.to_string(),
        samples: [above.to_vec(), below.to_vec()],
    }
}

fn coordinate(title: &str, kind: CoordinateKind) -> Coordinate {
    Coordinate {
        title: title.to_string(),
        kind,
    }
}

#[test]
fn parallel_coordinates_have_a_line_for_each_trial() {
    let names = CoordinateKind::Categories(vec!["adam".to_string(), "a < b".to_string()]);
    let axes = [
        coordinate("train.optimizer.lr", CoordinateKind::Logarithmic),
        coordinate("train.optimizer.name", names),
        coordinate("model.dropout", CoordinateKind::Linear),
        coordinate("accuracy (%)", CoordinateKind::Percent),
    ];
    let trial = |n: usize| {
        let n = n as f64;
        vec![
            Some(10f64.powf(-4.0 + n / 3.0)),
            Some(n % 2.0),
            Some(0.1 * n),
            Some(0.9 - 0.02 * n),
        ]
    };
    let mut lines: Vec<Vec<Option<f64>>> = (0..8).map(trial).collect();
    let svg = picture(|| parallel("small: trials", &axes, &lines));
    let found = texts(&svg);
    for text in [
        "small: trials",
        "train.optimizer.lr",
        "1e-3",
        "adam",
        "a &lt; b",
        "model.dropout",
        "0.2",
        "accuracy (%)",
        "90",
        "best trial",
        "best quarter",
        "others",
    ] {
        assert!(found.contains(&text), "no {text} in {found:?}");
    }
    // One line of the best, one of the best quarter, six others; and a sample of each.
    let drawn = |svg: &str, colour: &str| {
        let stroke = format!("stroke=\"{colour}\"");
        without_style(svg).matches(&stroke).count()
    };
    assert_eq!(drawn(&svg, "#D55E00"), 2);
    assert_eq!(drawn(&svg, "#0072B2"), 2);
    assert_eq!(drawn(&svg, "#989898"), 7);

    // A gap parts a line, and what has no logarithm is a gap.
    lines[0][2] = None;
    lines[7][0] = Some(0.0);
    let svg = picture(|| parallel("t", &axes, &lines));
    assert_eq!(drawn(&svg, "#D55E00"), 2);
    assert_eq!(drawn(&svg, "#989898"), 7);
    lines[0][0] = None;
    let svg = picture(|| parallel("t", &axes, &lines));
    assert_eq!(drawn(&svg, "#D55E00"), 1);
    // All values alike, and a logarithmic axis within a decade.
    let same = vec![vec![Some(0.02), Some(0.0), Some(0.5), Some(0.5)]; 2];
    picture(|| parallel("t", &axes, &same));
}

#[test]
fn distributions_stand_back_to_back() {
    let rows = [
        pair("fc", &[0.80, 0.80, 0.82, f64::NAN], &[0.81, 0.83]),
        pair("cnn & more", &[0.9, 0.9], &[]),
    ];
    let svg = picture(|| distributions("small: both", &accuracy(), ["ours", "theirs"], &rows));
    let texts = texts(&svg);
    for text in [
        "small: both",
        "test accuracy (%)",
        "fc",
        "cnn &amp; more",
        "ours",
        "theirs",
        "mean",
    ] {
        assert!(texts.contains(&text), "no {text} in {texts:?}");
    }
    // Two bars above the first line, two below it and one above the second, and a square of the legend for each side.
    let bars = |colour: &str| svg.matches(&format!("fill=\"{colour}\" stroke")).count();
    assert_eq!((bars("#0072B2"), bars("#D55E00")), (4, 3), "{svg}");
    // One value alone.
    picture(|| distributions("t", &accuracy(), ["a", "b"], &[pair("fc", &[0.5], &[])]));
}

#[test]
fn bars_show_spread_seeds_and_what_was_published() {
    let bar = |label: &str, values: &[f64], published: &[f64]| Bar {
        label: label.to_string(),
        value: Statistic::of(values),
        published: published.to_vec(),
    };
    let rows = [
        bar("fc", &[0.5], &[0.55]),
        bar("cnn", &[0.6, 0.7], &[]),
        bar("none", &[], &[]),
    ];
    let svg = picture(|| bars("t", &accuracy(), &rows));
    let texts = texts(&svg);
    for text in [
        "fc",
        "cnn",
        "none",
        "50.00 %",
        "65.00 ± 7.07 %",
        "—",
        "published",
    ] {
        assert!(texts.contains(&text), "no {text} in {texts:?}");
    }
    let negative = Axis {
        title: "input mean".to_string(),
        percent: false,
    };
    let svg = picture(|| {
        bars(
            "t",
            &negative,
            &[bar("a", &[-0.5], &[]), bar("b", &[0.0], &[])],
        )
    });
    assert!(svg.contains("−0.500"), "{svg}");
    picture(|| bars("t", &negative, &[bar("b", &[0.0], &[])]));
}

#[test]
fn a_waterfall_tells_what_each_step_brings() {
    let step = |label: &str, value| Step {
        label: label.to_string(),
        value,
    };
    let steps = [
        step("base", Some(0.6)),
        step("lost", None),
        step("batch-norm", Some(0.65)),
        step("depth", Some(0.64)),
        step("same", Some(0.64)),
    ];
    let svg = picture(|| waterfall("t", &accuracy(), &steps));
    let texts = texts(&svg);
    for text in [
        "60.00 %",
        "—",
        "65.00 %  (+5.00)",
        "64.00 %  (−1.00)",
        "64.00 %  (±0.00)",
    ] {
        assert!(texts.contains(&text), "no {text} in {texts:?}");
    }
}

#[test]
fn a_confusion_matrix_of_few_and_of_many_classes() {
    let classes: Vec<String> = ["cat", "dog <big>"].map(String::from).into();
    let svg = picture(|| confusion("t", &classes, &[vec![7, 3], vec![0, 0]]));
    let found = texts(&svg);
    for text in [
        "cat",
        "dog &lt;big&gt;",
        "7",
        "3",
        "true class",
        "predicted class",
    ] {
        assert!(found.contains(&text), "no {text} in {found:?}");
    }
    let many: Vec<Vec<u64>> = (0..100)
        .map(|row| (0..100).map(|column| u64::from(row == column)).collect())
        .collect();
    let svg = picture(|| confusion("t", &[], &many));
    // The diagonal, the frame, the background and the legend.
    let cells = svg.matches("<rect").count();
    assert!((100..140).contains(&cells), "{cells}");
    // Not every class is named.
    assert!(texts(&svg).len() < 64);
    assert!(!texts(&svg).contains(&"Most frequent mistakes:"));
}

#[test]
fn of_many_classes_the_worst_pairs_are_listed() {
    // Class 3 is taken for 5 twelve times, 5 for 3 and 30 for 2 four times.
    let counts = |size: usize| -> Vec<Vec<u64>> {
        let mut counts = vec![vec![0; size]; size];
        for (label, row) in counts.iter_mut().enumerate() {
            row[label] = 88;
        }
        (counts[3][5], counts[30][2], counts[5][3]) = (12, 4, 4);
        counts
    };
    let pair = |label, predicted, count| Pair {
        label,
        predicted,
        count,
    };
    let expected = [pair(3, 5, 12), pair(5, 3, 4), pair(30, 2, 4)];
    assert_eq!(worst_pairs(&counts(40), 9), expected);
    assert_eq!(worst_pairs(&counts(40), 2), expected[..2]);
    assert!(worst_pairs(&[vec![3]], 2).is_empty());

    let classes: Vec<String> = (0..40).map(|class| format!("kind {class}")).collect();
    let svg = picture(|| confusion("t", &classes, &counts(40)));
    let found = texts(&svg);
    assert!(
        found.contains(&"kind 3 taken for kind 5, 12 of 100"),
        "{found:?}"
    );
    assert!(
        found.contains(&"kind 0") && !found.contains(&"88"),
        "{found:?}"
    );
    // No cell is thinner than a pixel.
    let svg = picture(|| confusion("t", &[], &counts(1000)));
    assert!(texts(&svg).contains(&"Each cell is 10 × 10 classes."));
    assert!(texts(&svg).contains(&"3 taken for 5, 12 of 100"));
}

/// Every colour has another one for a dark theme, also where it is half transparent.
#[test]
fn every_colour_follows_the_theme() {
    let lines: Vec<Curve> = (0..8)
        .map(|n| {
            curve(
                &format!("line {n}"),
                &[&[0.1 * f64::from(n), 0.5], &[0.2, 0.6]],
            )
        })
        .collect();
    let pictures = [
        picture(|| curves("t", &accuracy(), &lines)),
        picture(|| confusion("t", &[], &[vec![7, 3], vec![0, 9]])),
    ];
    for svg in pictures {
        let rules = style();
        assert!(svg.contains(&format!("<style>{rules}</style>")));
        let drawn = without_style(&svg);
        assert!(!drawn.contains("<style"));
        for property in ["fill", "stroke"] {
            let start = format!(" {property}=\"#");
            for colour in drawn.split(&start).skip(1) {
                let rule = format!("[{property}=\"#{}\"]", &colour[..6]);
                assert!(rules.contains(&rule), "no {rule}");
            }
        }
    }
}

#[test]
fn texts_have_room() {
    // Five digits, a title in two lines, and names in rows below.
    let axis = Axis {
        title: "images per second".to_string(),
        percent: false,
    };
    let names = ["a network with a long name", "another one with a long name"];
    let lines = names.map(|name| curve(name, &[&[12_000.0, 48_000.0]]));
    let title = "a title with so many words that it does not fit into a line";
    let svg = picture(|| curves(title, &axis, &lines));
    let found = texts(&svg);
    for text in ["40,000", "1 a network with a long name", "2"] {
        assert!(found.contains(&text), "no {text} in {found:?}");
    }
    assert!(!found.contains(&title));
    let x = |text: &str| -> f64 {
        let before = &svg[..svg.find(&format!("\n{text}\n")).unwrap()];
        let tag = &before[before.rfind("<text").unwrap()..];
        tag.split('"').nth(1).unwrap().parse().unwrap()
    };
    // The tick's text ends at its place; digits are at most 0.65 times as wide as high, and a comma half of that.
    assert!(x("40,000") - 5.5 * 13.0 * 0.65 > x("images per second") + 7.0);
}

#[test]
fn gradients_are_by_layer_on_a_logarithmic_axis() {
    let norms = [
        ("conv1.weight", 3.0),
        ("conv1.bias", 4.0),
        ("bn1.weight", 9.0),
        ("layer1.0.conv1.weight", 0.0),
        ("layer1.0.downsample.1.weight", 9.0),
        ("fc.weight", f64::NAN),
        ("fc.bias", 1.0),
    ];
    let record = GradientRow {
        epoch: 0,
        step: 0,
        steps: None,
        total: f64::NAN,
        norms: norms.map(|(name, norm)| (name.to_string(), norm)).to_vec(),
    };
    let layers = layers(&record);
    let expected = [
        ("conv1", Some(5.0)),
        ("layer1.0.conv1", Some(0.0)),
        ("fc", None),
    ];
    assert_eq!(
        layers,
        expected.map(|(name, norm)| (name.to_string(), norm))
    );

    let line = (
        "cnn".to_string(),
        layers
            .into_iter()
            .map(|layer| layer.1)
            .chain([Some(2e-4)])
            .collect(),
    );
    let panels = [GradientPanel {
        title: "at the first step".to_string(),
        lines: vec![line],
    }];
    let svg = picture(|| gradients("t", &panels));
    let texts = texts(&svg);
    for text in [
        "at the first step",
        "cnn",
        "10⁻⁴",
        "10⁰",
        "10¹",
        "norm of the gradient",
    ] {
        assert!(texts.contains(&text), "no {text} in {texts:?}");
    }
    assert_eq!(svg.matches("<circle").count(), 2);
}

#[test]
fn histograms_share_an_axis() {
    let inputs = |from, to, counts: &[u64]| Inputs {
        mean: vec![-0.014, -0.001],
        std: vec![1.0, 0.5],
        histogram: Histogram {
            from,
            to,
            counts: counts.to_vec(),
        },
    };
    let (a, b) = (
        inputs(0.0, 1.0, &[1, 2, 0]),
        inputs(-2.0, 2.0, &[0, 5, 1, 0]),
    );
    let empty = inputs(0.0, 0.0, &[]);
    let rows = [
        ("none".to_string(), &a),
        ("half".to_string(), &b),
        ("void".to_string(), &empty),
    ];
    let svg = picture(|| histograms("t", &rows));
    let texts = texts(&svg);
    for text in ["none", "half", "mean −0.01 0.00, std 1.00 0.50", "−1.0"] {
        assert!(texts.contains(&text), "no {text} in {texts:?}");
    }
    assert!(!texts.contains(&"void"));
    assert_eq!(svg.matches("<polygon").count(), 2);
}

#[test]
fn range_tests_mark_the_suggestion() {
    let point = |i: i32| {
        let loss = 3.0 - f64::from(i) / 8.0;
        (10f64.powf(-8.0 + f64::from(i) / 4.0), loss + 0.1, loss)
    };
    let mut points: Vec<(f64, f64, f64)> = (0..32).map(point).collect();
    points[31].1 = f64::NAN;
    let svg = picture(|| lr_range("small: cnn", &points, Some(1e-3)));
    let found = texts(&svg);
    for text in [
        "small: cnn",
        "learning rate",
        "loss",
        "1e-8",
        "steepest descent: 1.00e-3",
    ] {
        assert!(found.contains(&text), "no {text} in {found:?}");
    }
    let without = picture(|| lr_range("small: cnn", &points, None));
    assert!(!texts(&without).contains(&"steepest descent: 1.00e-3"));
    assert!(matches!(
        lr_range("t", &[], None),
        Err(Error::NothingToDraw { .. })
    ));
}

#[test]
fn panels_share_their_axes() {
    let series = [
        ("constant", vec![1.0; 5]),
        ("linear", vec![1.0, 0.5, 0.0]),
        ("a & b", vec![0.25, f64::NAN, 0.5]),
        ("d", vec![0.1]),
        ("e", vec![0.2, 0.3]),
    ];
    let svg = picture(|| panels("rates", &series));
    let mut found = texts(&svg);
    // Ticks without labels.
    found.retain(|text| !text.is_empty());
    assert_eq!(
        found,
        ["rates", "constant", "linear", "a &amp; b", "d", "e"]
    );
    assert!(matches!(
        panels("t", &[("a", vec![])]),
        Err(Error::NothingToDraw { .. })
    ));
}
