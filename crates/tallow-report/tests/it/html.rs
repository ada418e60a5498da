//! HTML page of synthetic run records.

use std::fs;
use std::path::Path;
use std::time::Instant;

use serde_json::json;
use tallow_record::{
    ClaimResult, Difference, Run, SweepParameter, SweepResults, SweepScale, SweepState, SweepTrial,
};
use tallow_report::html::{Report, page};

const CLASSES: usize = 10;

/// Record of this many epochs, with all files that a run writes.
fn record(dir: &Path, variant: &str, seed: u64, epochs: usize, png: &[u8]) -> Run {
    let dir = dir.join(format!("20260131T120000Z-{variant}-s{seed}"));
    fs::create_dir_all(&dir).unwrap();
    let write = |name: &str, text: String| fs::write(dir.join(name), text).unwrap();
    let names: Vec<String> = (0..CLASSES).map(|c| format!("class {c}")).collect();
    write(
        "config.toml",
        "experiment = \"made up\"\n[train]\nepochs = 3\n".into(),
    );
    let run = json!({
        "experiment": "made up", "variant": variant, "seed": seed, "model": "cnn", "parameters": 6422,
        "dataset": { "name": "toy", "split": "train", "provenance": "toy <made up>", "digest": "0".repeat(64), "classes": names },
    });
    write(
        "environment.json",
        json!({
            "run": run,
            "environment": {
                "tallow": "0.1.0", "commit": null, "rustc": "rustc 1", "platform": "linux x86_64", "cpu": "a processor",
                "threads": 2, "device": "cpu", "command": ["xtask", "run", "made-up"],
            },
        })
        .to_string(),
    );
    let rows: Vec<String> = (0..epochs)
        .map(|epoch| {
            let x = (epoch + 1) as f64 + seed as f64 / 10.0;
            json!({
                "epoch": epoch, "train_loss": 2.0 / x, "train_accuracy": 1.0 - 0.9 / x, "test_loss": 2.1 / x,
                "test_accuracy": 1.0 - 0.95 / x, "lr": 0.1, "seconds": 1.5, "images_per_second": 1000.0 + x,
            })
            .to_string()
                + "\n"
        })
        .collect();
    write("metrics.jsonl", rows.concat());
    let confusion: Vec<Vec<u64>> = (0..CLASSES)
        .map(|row| {
            (0..CLASSES)
                .map(|c| if c == row { 90 } else { 1 })
                .collect()
        })
        .collect();
    let scores: Vec<_> = (0..CLASSES)
        .map(|c| json!({ "class": c, "precision": 0.9, "recall": 0.9, "f1": 0.9, "support": 99 }))
        .collect();
    write(
        "summary.json",
        json!({
            "run": run, "epochs": epochs, "stopped": null, "seconds": 1.5 * epochs as f64, "confusion": confusion, "per_class": scores,
            "metrics": { "test_accuracy": 0.875, "test_loss": 0.5, "train_accuracy": 0.9, "seconds": 12.0 },
        })
        .to_string(),
    );
    let bins: Vec<_> = (0..15)
        .map(|i| json!({ "lower": i as f64 / 15.0, "upper": (i + 1) as f64 / 15.0, "count": 10 * i, "accuracy": i as f64 / 16.0, "confidence": 0.5 }))
        .collect();
    write(
        "calibration.json",
        json!({ "error": 0.0312, "max_error": 0.1, "samples": 1050, "bins": bins }).to_string(),
    );
    let norms = |scale: f64| -> Vec<_> {
        (0..20)
            .map(|i| json!([format!("layer{i}.weight"), scale * (i + 1) as f64]))
            .collect()
    };
    write(
        "gradients.json",
        json!([
            { "epoch": 0, "step": 0, "steps": 1, "total": 2.0, "norms": norms(0.1) },
            { "epoch": 1, "step": 9, "steps": 10, "total": 1.0, "norms": norms(0.01) },
        ])
        .to_string(),
    );
    write(
        "inputs.json",
        json!({ "mean": [0.0], "std": [1.0], "histogram": { "from": -1.0, "to": 1.0, "counts": [1, 5, 3] } }).to_string(),
    );
    write(
        "mistakes.json",
        json!([
            { "index": 7, "label": 3, "top": [[5, 0.99], [3, 0.01]] },
            { "index": 8, "name": "crow/IMG_1.jpg", "label": 3, "top": [[5, 0.9], [3, 0.1]] },
        ])
        .to_string(),
    );
    write(
        "layers.json",
        json!([{ "name": "conv1", "kind": "Conv2d", "output_shape": [6, 24, 24], "parameters": 156, "multiply_adds": 86400 }]).to_string(),
    );
    write(
        "pictures.json",
        json!([{ "file": "samples.png", "text": "What it saw" }, { "file": "../outside.png", "text": "Not of this record" }]).to_string(),
    );
    fs::write(dir.join("samples.png"), png).unwrap();
    Run::read(&dir).unwrap()
}

fn report(runs: &[Run]) -> Report<'_> {
    Report {
        title: "made up".to_string(),
        question: Some("Is 1 < 2 & 2 > 1?".to_string()),
        claims: Vec::new(),
        statements: Vec::new(),
        published: Default::default(),
        runs,
        command: Some("cargo xtask run made-up".to_string()),
        sweep: None,
    }
}

#[test]
fn page_shows_the_records() {
    let dir = tempfile::tempdir().unwrap();
    let runs: Vec<Run> = (0..3)
        .map(|seed| record(dir.path(), "cnn", seed, 5, b"png"))
        .collect();
    let text = page(&report(&runs)).unwrap();
    for expected in [
        "<title>made up</title>",
        "Is 1 &lt; 2 &amp; 2 &gt; 1?",
        "toy &lt;made up&gt;",
        "87.50\u{a0}±\u{a0}0.00\u{a0}%",
        "expected calibration error 3.12 %",
        "data:image/png;base64,cG5n",
        "class 5",
        "cargo xtask run made-up",
        "alt=\"What it saw\"",
        "cnn: confusion matrix",
        "cnn: reliability diagram",
        "cnn: gradient norm of each layer",
        "cnn: network inputs",
        "Most confident mistakes",
        "<td>7</td>",
        "crow/IMG_1.jpg",
        "99.00\u{a0}%",
        "Conv2d",
        "Training loss",
        "Learning rate",
        "thousand images per second",
        "12 s",
    ] {
        assert!(text.contains(expected), "no {expected}");
    }
    assert!(!text.contains("Not of this record"));
    // Nothing that a browser would fetch, and nothing that runs.
    for outside in ["src=\"http", "href=\"http", "url(", "<script", "@import"] {
        assert!(!text.contains(outside), "{outside}");
    }
}

#[test]
fn the_answer_is_told_at_the_top() {
    let dir = tempfile::tempdir().unwrap();
    let runs = [
        record(dir.path(), "cnn", 0, 2, b"png"),
        record(dir.path(), "fc", 0, 2, b"png"),
        record(dir.path(), "fc", 1, 2, b"png"),
    ];
    // The second variant is better.
    for run in &runs[1..] {
        let path = run.dir.join("summary.json");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(path, text.replace("0.875", "0.9")).unwrap();
    }
    let runs: Vec<Run> = runs
        .iter()
        .map(|run| Run::read(&run.dir).unwrap())
        .collect();
    let claim = |holds, low: f64| ClaimResult {
        text: "fc > cnn".to_string(),
        holds,
        figures: "0.9000 > 0.8750".to_string(),
        differences: vec![Difference {
            mean: 0.025,
            interval: Some([low, 0.05]),
            seeds: 2,
        }],
    };
    let written = |claims: Vec<ClaimResult>| {
        let text = page(&Report {
            claims,
            ..report(&runs)
        });
        text.unwrap()
    };
    let answer = |claims: Vec<ClaimResult>| {
        let text = written(claims);
        let start = text.find("<p class=\"answer\">").unwrap();
        // Before anything else but heading and question.
        assert!(start < text.find("<nav").unwrap());
        let sentence = &text[start..];
        let sentence = &sentence[..sentence.find("</p>").unwrap()];
        let mut plain = String::new();
        for part in sentence.split('<') {
            plain.push_str(part.split_once('>').map_or("", |(_, text)| text));
        }
        plain.replace('\u{a0}', " ")
    };
    assert_eq!(
        answer(vec![claim(Some(true), 0.01), claim(None, -0.01)]),
        "Answer: Of 2 claims, 1 holds and 1 is undecided; the best test accuracy is that of fc, 90.00 ± 0.00 % over 2 seeds."
    );
    // Few claims are listed below it.
    let text = written(vec![claim(Some(true), 0.01), claim(None, -0.01)]);
    for item in [
        "<li><code>fc &gt; cnn</code> <span class=\"yes\">✓\u{a0}holds</span>: 0.9000 &gt; 0.8750 [0.0100, 0.0500]</li>",
        "<li><code>fc &gt; cnn</code> <span>undecided</span>: 0.9000 &gt; 0.8750 [-0.0100, 0.0500]</li>",
    ] {
        assert!(text.contains(item), "no {item}");
    }
    assert!(!written(vec![claim(Some(true), 0.01); 4]).contains("class=\"told\""));
    assert_eq!(
        answer(vec![claim(Some(true), 0.01); 4]),
        "Answer: All 4 claims hold; the best test accuracy is that of fc, 90.00 ± 0.00 % over 2 seeds."
    );
    assert_eq!(
        answer(Vec::new()),
        "Answer: The best test accuracy is that of fc, 90.00 ± 0.00 % over 2 seeds."
    );
}

#[test]
fn a_sweep_has_a_plot_and_a_table() {
    let dir = tempfile::tempdir().unwrap();
    let runs = [record(dir.path(), "trial-2", 0, 2, b"png")];
    let trial = |trial: usize, lr: f64, value: Option<f64>, state| SweepTrial {
        trial,
        name: format!("trial-{trial}"),
        settings: [
            ("train.optimizer.lr".to_string(), json!(lr)),
            ("train.optimizer.name".to_string(), json!("a<b")),
        ]
        .into(),
        state,
        rung: 1,
        epochs: 2,
        value,
        metrics: [("test_accuracy".to_string(), Some(0.75))].into(),
        runs: Vec::new(),
    };
    let parameter = |key: &str, scale, values| SweepParameter {
        key: key.to_string(),
        scale,
        values,
    };
    let results = SweepResults {
        experiment: "made up".to_string(),
        tier: "full".to_string(),
        question: String::new(),
        method: "random".to_string(),
        metric: "validation_accuracy".to_string(),
        parameters: vec![
            parameter("train.optimizer.lr", SweepScale::Logarithmic, Vec::new()),
            parameter("train.optimizer.name", SweepScale::List, vec![json!("a<b")]),
        ],
        trials: vec![
            trial(2, 0.1, Some(0.8), SweepState::Finished),
            trial(3, 0.01, Some(0.7), SweepState::Pruned),
            trial(1, 10.0, None, SweepState::Diverged),
        ],
        missing: vec![4],
    };
    let of = |results: &SweepResults| {
        page(&Report {
            sweep: Some(results),
            ..report(&runs)
        })
        .unwrap()
    };
    let text = of(&results);
    for expected in [
        "<a href=\"#sweep\">Sweep</a>",
        "Of 3 trials, trial 2 is the best, with <code>train.optimizer.lr = 0.1, train.optimizer.name = a&lt;b</code>: validation accuracy \
         80.00\u{a0}%, test accuracy 75.00\u{a0}%.",
        "1 of 3 trials were trained to their end. 1 ended with a loss that was not finite (not in the plot). 1 more have no result yet.",
        "<code>trial-2-s</code>",
        "Made up: trials",
        "validation accuracy (%)",
        "<td><code>0.01</code></td>",
        "<td class=\"number\">70.00\u{a0}%</td>",
        "<td>pruned</td>",
        "<td>diverged</td>",
    ] {
        assert!(text.contains(expected), "no {expected}");
    }
    for other in [
        "best of many tries",
        "lower is better",
        ">rung</th>",
        "Figures are means over",
    ] {
        assert!(!text.contains(other), "{other}");
    }
    // The answer is that of the sweep alone.
    assert_eq!(text.matches("Answer: ").count(), 1);

    let mut on_test = results.clone();
    on_test.metric = "test_accuracy".to_string();
    let on_test = of(&on_test);
    assert!(on_test.contains("best of many tries"));
    // The metric has one column, not a second one as the test accuracy.
    let columns = |text: &str| text.matches(">test accuracy</th>").count();
    assert_eq!(columns(&on_test), columns(&text));
    let mut halving = results.clone();
    halving.method = "halving".to_string();
    halving.metric = "validation_loss".to_string();
    halving.trials[0].runs = vec!["a".into(), "b".into()];
    let halving = of(&halving);
    for expected in [
        ">rung</th>",
        "lower is better",
        "those of its last rung",
        "means over 2 seeds",
    ] {
        assert!(halving.contains(expected), "no {expected}");
    }
    let mut none = results;
    none.trials.drain(..2);
    let text = of(&none);
    assert!(!text.contains("Answer: ") && text.contains("<td>diverged</td>"));
}

#[test]
fn mixed_recipes_are_marked() {
    let dir = tempfile::tempdir().unwrap();
    let runs: Vec<Run> = (0..3)
        .map(|seed| record(dir.path(), "cnn", seed, 2, b"png"))
        .collect();
    let other = record(dir.path(), "fc", 0, 2, b"png");
    assert!(!page(&report(&runs)).unwrap().contains("recipes"));

    // Seeds are no difference; settings are.
    let set = |run: &Run, text: &str| {
        fs::write(run.dir.join("config.toml"), text).unwrap();
        Run::read(&run.dir).unwrap()
    };
    let recipe =
        |seed, lr| format!("seed = {seed}\n[train]\nepochs = 3\n[train.optimizer]\nlr = {lr}\n");
    let same = [
        set(&runs[0], &recipe(0, 0.1)),
        set(&runs[1], &recipe(1, 0.1)),
    ];
    assert!(!page(&report(&same)).unwrap().contains("recipes"));
    let mixed = [
        same[0].clone(),
        same[1].clone(),
        set(&runs[2], &recipe(2, 0.01)),
        set(&other, &recipe(0, 0.5)),
    ];
    let text = page(&report(&mixed)).unwrap();
    for expected in [
        "cnn</a><span class=\"no\"> mixed recipes</span>",
        "Runs of one variant have different recipes.",
        "<code>train.optimizer.lr</code>",
        "<code>0.1</code>: seeds 0, 1",
        "<code>0.01</code>: seed 2",
        "Settings in which the variants differ (1)",
        "<code>0.5</code>: fc",
    ] {
        assert!(text.contains(expected), "no {expected}");
    }
    assert!(!text.contains("fc</a><span"));
}

#[test]
fn charts_follow_the_theme_with_one_style_sheet() {
    let dir = tempfile::tempdir().unwrap();
    let run = record(dir.path(), "cnn", 0, 2, b"png");
    let text = page(&report(&[run])).unwrap();
    assert!(text.matches("<svg").count() > 5);
    assert_eq!(text.matches("<style").count(), 1);
    assert!(text.contains(".chart [fill=\"#FFFFFF\"] { fill: "));
}

#[test]
fn runs_without_extras_or_summary_are_reported() {
    let dir = tempfile::tempdir().unwrap();
    let run = record(dir.path(), "cnn", 0, 2, b"png");
    for name in [
        "calibration",
        "gradients",
        "inputs",
        "mistakes",
        "layers",
        "pictures",
    ] {
        fs::remove_file(run.dir.join(format!("{name}.json"))).unwrap();
    }
    let other = record(dir.path(), "cnn", 1, 1, b"png");
    fs::remove_file(other.dir.join("summary.json")).unwrap();
    let runs = [run, Run::read(&other.dir).unwrap()];
    let text = page(&report(&runs)).unwrap();
    assert!(text.contains("1 of the runs did not finish"));
    assert!(!text.contains("<img"));
    assert!(page(&report(&[])).is_err());

    // No finished run: the curves are all there is to show.
    fs::remove_file(runs[0].dir.join("summary.json")).unwrap();
    let runs = [Run::read(&runs[0].dir).unwrap()];
    let text = page(&report(&runs)).unwrap();
    assert!(text.contains("Test accuracy"));
}

/// Figures that no run has get no column and no chart.
#[test]
fn the_page_has_no_empty_places() {
    let dir = tempfile::tempdir().unwrap();
    let one = [record(dir.path(), "cnn", 0, 1, b"png")];
    let text = page(&report(&one)).unwrap();
    assert!(!text.contains("published"), "a column without figures");
    assert!(text.contains("There are curves from the second epoch on."));
    assert!(!text.contains("Training loss") && !text.contains("Learning rate"));
    assert!(text.contains("One seed: another one gives other figures."));
    let mut published = report(&one);
    let source = tallow_record::Published {
        test_accuracy: 0.9,
        source: "the paper".to_string(),
    };
    published.published.insert("cnn".to_string(), vec![source]);
    let text = page(&published).unwrap();
    assert!(text.contains(">published</th>") && text.contains("90.00\u{a0}% [1]"));
}

#[test]
fn validation_has_curves() {
    let dir = tempfile::tempdir().unwrap();
    let run = record(dir.path(), "cnn", 0, 3, b"png");
    assert!(
        !page(&report(std::slice::from_ref(&run)))
            .unwrap()
            .contains("Validation")
    );
    let path = run.dir.join("metrics.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let text = text.replace("\"test_", "\"validation_");
    fs::write(path, text).unwrap();
    let text = page(&report(&[Run::read(&run.dir).unwrap()])).unwrap();
    assert!(text.contains("Validation loss") && text.contains("Validation accuracy"));
}

/// The first class has 0 in each score, the second has no samples.
#[test]
fn a_class_without_samples_has_dashes() {
    let dir = tempfile::tempdir().unwrap();
    let run = record(dir.path(), "cnn", 0, 2, b"png");
    let path = run.dir.join("summary.json");
    let mut summary: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    for (class, score, support) in [(0, json!(0.0), 99), (1, json!(null), 0)] {
        summary["per_class"][class] = json!({
            "class": class, "precision": score, "recall": score, "f1": score, "support": support
        });
    }
    fs::write(&path, summary.to_string()).unwrap();
    let text = page(&report(&[Run::read(&run.dir).unwrap()])).unwrap();
    let row = |class: &str| {
        let from = text.find(&format!("<td>{class}</td>")).unwrap();
        let row = &text[from..];
        row[..row.find("</tr>").unwrap()].matches('—').count()
    };
    assert_eq!((row("class 0"), row("class 1")), (0, 3));
}

#[test]
fn damaged_extras_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let run = record(dir.path(), "cnn", 0, 2, b"png");
    fs::write(run.dir.join("calibration.json"), "{\"error\": 1").unwrap();
    let error = page(&report(&[run])).unwrap_err().to_string();
    assert!(error.contains("calibration.json"), "{error}");
}

/// Noise does not compress: the largest pictures that runs on CIFAR-10 write, four of 16 images and two of 8, each of 32 x 32.
#[test]
fn twenty_runs_of_a_hundred_epochs_are_quick_and_small() {
    let dir = tempfile::tempdir().unwrap();
    let png: Vec<u8> = (0..5 * 16 * 32 * 32 * 3u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let runs: Vec<Run> = (0..20)
        .map(|i| record(dir.path(), &format!("v{i}"), 0, 100, &png))
        .collect();
    let folders: Vec<_> = runs.iter().map(|run| run.dir.clone()).collect();
    // Others may have the processors for a while.
    let seconds = (0..10).map(|_| {
        let started = Instant::now();
        let runs: Vec<Run> = folders.iter().map(|dir| Run::read(dir).unwrap()).collect();
        let text = page(&report(&runs)).unwrap();
        assert!(text.len() < 5_000_000, "{} bytes", text.len());
        started.elapsed().as_secs_f64()
    });
    let seconds: Vec<f64> = seconds.take_while(|seconds| *seconds >= 3.0).collect();
    assert!(seconds.len() < 10, "{seconds:?} s");
}
