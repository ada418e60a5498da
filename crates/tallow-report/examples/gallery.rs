//! Writes every chart with what is hard to draw, such as long names, large numbers and many lines, as SVG files into a folder:
//!
//!     cargo run --package tallow-report --example gallery -- /tmp/gallery && .ci/browser.py /tmp/gallery
//!
//! With folders of runs as further arguments, also a report of these.

use std::error::Error;
use std::path::Path;

use tallow_record::{Calibration, CalibrationBin, Histogram, Inputs, Run, Statistic};
use tallow_report::charts::{
    Axis, Bar, Coordinate, CoordinateKind, Curve, GradientPanel, Step, bars, confusion, curves,
    gradients, histograms, lr_range, panels, parallel, reliability, waterfall,
};
use tallow_report::html::{Report, page};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("a folder is expected")?;
    std::fs::create_dir_all(&folder)?;
    let write = |name: &str, svg: String| std::fs::write(Path::new(&folder).join(name), svg);
    let axis = |title: &str, percent| Axis {
        title: title.to_string(),
        percent,
    };
    let accuracy = axis("test accuracy", true);
    let title = "an-experiment-with-a-long-name: a title of more words than fit into a line";

    let falling = |scale: f64, epochs: usize| -> Vec<Option<f64>> {
        let value = |epoch: usize| scale / (epoch + 1) as f64;
        (0..epochs).map(|epoch| Some(value(epoch))).collect()
    };
    let line = |label: &str, scale, epochs| Curve {
        label: label.to_string(),
        runs: vec![falling(scale, epochs), falling(1.1 * scale, epochs)],
    };
    let few = [line("cnn", 0.9, 100), line("fc", 0.8, 60)];
    write("curves.svg", curves("short", &accuracy, &few)?)?;
    let names = |n: usize| format!("variant {n} with a rather long name");
    let many: Vec<Curve> = (0..20)
        .map(|n| line(&names(n), 60_000.0 - n as f64, 30))
        .collect();
    let speed = axis("images per second", false);
    write("curves-many.svg", curves(title, &speed, &many)?)?;
    let small = [line("学习率", 0.000_012, 1_000)];
    write(
        "curves-small.svg",
        curves("lr", &axis("learning rate", false), &small)?,
    )?;

    let bar = |label: String, values: &[f64]| Bar {
        label,
        value: Statistic::of(values),
        published: vec![0.99],
    };
    let rows = [
        bar(names(1), &[0.98, 1.0]),
        bar("none".into(), &[]),
        bar("fc".into(), &[0.01]),
    ];
    write("bars.svg", bars(title, &accuracy, &rows)?)?;
    let rows = [
        bar("minus".into(), &[-12_345.6, -9_000.0]),
        bar("plus".into(), &[99_999.0]),
    ];
    write(
        "bars-negative.svg",
        bars("t", &axis("figure", false), &rows)?,
    )?;
    let step = |label: String, value| Step { label, value };
    let steps = [0.6, 0.65, 0.64, 0.9].map(|value| step(names(2), Some(value)));
    write("waterfall.svg", waterfall(title, &accuracy, &steps)?)?;

    for (size, length) in [(2, 40), (10, 9), (20, 5), (37, 14), (100, 12), (1000, 30)] {
        let classes: Vec<String> = (0..size)
            .map(|n| {
                format!("{n} {}", "abcdefghij".repeat(4))
                    .chars()
                    .take(length)
                    .collect()
            })
            .collect();
        let cell = |row: usize, column: usize| match (row == column, (row * 7 + column) % 11) {
            (true, _) => 920,
            (false, 3) => (row * 13 % 29) as u64,
            (false, _) => 0,
        };
        let counts: Vec<Vec<u64>> = (0..size)
            .map(|row| (0..size).map(|column| cell(row, column)).collect())
            .collect();
        write(
            &format!("confusion-{size}.svg"),
            confusion(title, &classes, &counts)?,
        )?;
    }

    let norms = |scale: f64| -> Vec<Option<f64>> {
        (0..54).map(|n| Some(scale * 1.2f64.powi(n))).collect()
    };
    let panel = |label: String| GradientPanel {
        title: "at the first step".to_string(),
        lines: vec![(label, norms(1e-9)), (names(2), norms(1e-3))],
    };
    let both = [panel(names(1)), panel(names(3))];
    write("gradients.svg", gradients(title, &both)?)?;
    let one = [GradientPanel {
        title: "at the first step".to_string(),
        lines: vec![(String::new(), norms(1e-3))],
    }];
    write("gradients-one.svg", gradients("t", &one)?)?;

    let inputs = |channels: usize| Inputs {
        mean: vec![-0.12; channels],
        std: vec![1.02; channels],
        histogram: Histogram {
            from: -2.0,
            to: 2.5,
            counts: (0..60).map(|n| n * (60 - n)).collect(),
        },
    };
    let (rgb, bands) = (inputs(3), inputs(13));
    let rows = [(names(1), &rgb), ("bands".to_string(), &bands)];
    write("inputs.svg", histograms(title, &rows)?)?;

    let bin = |n: u64| CalibrationBin {
        lower: n as f64 / 15.0,
        upper: (n + 1) as f64 / 15.0,
        count: n * n,
        accuracy: n as f64 / 16.0,
        confidence: n as f64 / 15.0,
    };
    let calibration = Calibration {
        error: 0.0312,
        max_error: 0.1,
        samples: 1015,
        bins: (0..15).map(bin).collect(),
    };
    write("reliability.svg", reliability(title, &calibration)?)?;

    let point = |n: i32| {
        let loss = 3.0 - f64::from(n) / 20.0;
        (10f64.powf(-8.0 + f64::from(n) / 4.0), loss + 0.1, loss)
    };
    let points: Vec<(f64, f64, f64)> = (0..40).map(point).collect();
    write("lr-range.svg", lr_range(title, &points, Some(1e-8))?)?;
    let series =
        ["constant", "sequence: constant, cosine and more"].map(|name| (name, vec![0.1, 0.9]));
    write("panels.svg", panels(title, &series)?)?;

    let coordinate = |title: &str, kind| Coordinate {
        title: title.to_string(),
        kind,
    };
    let words = (0..9).map(names).collect();
    let axes = [
        coordinate("train.optimizer.lr", CoordinateKind::Logarithmic),
        coordinate("train.optimizer.name", CoordinateKind::Words(words)),
        coordinate("train.optimizer.weight_decay", CoordinateKind::Linear),
        coordinate("validation accuracy (%)", CoordinateKind::Percent),
    ];
    let trial = |n: usize| {
        let x = (n * 37 % 100) as f64 / 100.0;
        let lr = 10f64.powf(-4.0 * x);
        vec![Some(lr), Some((n % 9) as f64), Some(x * x), Some(1.0 - x)]
    };
    let trials: Vec<Vec<Option<f64>>> = (0..60).map(trial).collect();
    write("parallel.svg", parallel(title, &axes, &trials)?)?;

    let runs: Vec<Run> = std::env::args()
        .skip(2)
        .map(Run::read)
        .collect::<Result<_, _>>()?;
    if !runs.is_empty() {
        let report = Report {
            title: "A report".to_string(),
            question: Some(
                "Do the charts follow the theme, and is their text legible?".to_string(),
            ),
            claims: Vec::new(),
            statements: Vec::new(),
            published: Default::default(),
            runs: &runs,
            command: None,
            sweep: None,
        };
        write("report.html", page(&report)?)?;
    }
    Ok(())
}
