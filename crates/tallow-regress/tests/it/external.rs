//! Results of other programs: reading, making a baseline, comparing.

use std::fs;
use std::path::{Path, PathBuf};

use tallow_regress::{
    Direction, Directions, ExternalBaseline, ExternalResults, Judgement, Selection,
    compare_external, junit, table,
};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }
}

fn read(paths: &[&Path]) -> ExternalResults {
    ExternalResults::read(paths).unwrap()
}

fn error(path: &Path) -> String {
    ExternalResults::read(&[path]).unwrap_err().to_string()
}

/// A CSV file with these accuracies, seed by seed.
fn csv(accuracies: &[f64]) -> String {
    let lines = accuracies.iter().enumerate();
    let lines =
        lines.map(|(seed, value)| format!("{seed},acc,{value}\n{seed},loss,{}\n", 1.0 - value));
    format!("seed,metric,value\n{}", lines.collect::<String>())
}

const ACCURACIES: [f64; 10] = [0.94, 0.95, 0.93, 0.96, 0.94, 0.95, 0.94, 0.93, 0.95, 0.94];

fn baseline(folder: &Folder) -> ExternalBaseline {
    let results = read(&[&folder.write("baseline.csv", &csv(&ACCURACIES))]);
    let path = folder.path("baseline.json");
    let new = ExternalBaseline::new(&results, &Selection::default(), None, "first", None).unwrap();
    new.write(&path).unwrap();
    let read = ExternalBaseline::read(&path).unwrap().unwrap();
    assert_eq!(read, new);
    read
}

#[test]
fn folders_of_runs() {
    let folder = Folder::new();
    // Rows of an own loop, a seed in a config, one in the rows, and one in the folder's name.
    folder.write(
        "out/a/metrics.jsonl",
        "{\"epoch\": 0, \"val_loss\": 0.5}\n{\"epoch\": 1, \"val_loss\": 0.25}\n",
    );
    folder.write("out/a/config.json", "{\"seed\": 1, \"lr\": 0.1}");
    folder.write("out/b/metrics.jsonl", "{\"seed\": 2, \"val_loss\": 0.5}\n");
    folder.write("out/seed-3/summary.json", "{\"val_loss\": NaN}");
    folder.write("out/c/config.toml", "seed = 4\n");
    folder.write(
        "out/c/summary.json",
        "{\"metrics\": {\"val_loss\": 1}, \"stopped\": null}",
    );
    let results = read(&[&folder.path("out")]);
    assert_eq!(results.variants.len(), 1);
    let variant = &results.variants[0];
    assert_eq!(
        (&*variant.name, &variant.seeds[..]),
        ("default", &[1, 2, 3, 4][..])
    );
    assert_eq!(variant.metrics.len(), 1);
    assert_eq!(
        variant.metrics["val_loss"],
        [Some(0.25), Some(0.5), None, Some(1.0)]
    );

    // Variants by the folders above the seed; the same of files that are named one by one.
    for (variant, value) in [("cnn", 0.9), ("fc", 0.8)] {
        let text = format!("{{\"acc\": {value}}}\n");
        folder.write(&format!("runs/{variant}/seed-0/metrics.jsonl"), &text);
    }
    let results = read(&[&folder.path("runs")]);
    let names: Vec<&str> = results.variants.iter().map(|v| &*v.name).collect();
    assert_eq!(names, ["cnn", "fc"]);
    let file = folder.path("runs/cnn/seed-0/metrics.jsonl");
    assert!(
        error(&file).contains("the seed is unknown"),
        "{}",
        error(&file)
    );
    let file = folder.write("seed_5.jsonl", "{\"acc\": 1}\n");
    assert_eq!(read(&[&file]).variants[0].seeds, [5]);
}

/// The summary and rows of a run record of Tallow.
#[test]
fn run_records() {
    let folder = Folder::new();
    let run = r#"{"experiment": "e", "variant": "cnn", "seed": 7, "model": "cnn", "parameters": 10,
        "dataset": {"name": "mnist", "provenance": "", "digest": ""}}"#;
    folder.write(
        "e/x/environment.json",
        &format!("{{\"run\": {run}, \"environment\": {{}}}}"),
    );
    folder.write(
        "e/x/metrics.jsonl",
        "{\"epoch\":0,\"train_loss\":0.5,\"train_accuracy\":0.8,\"lr\":0.1,\"seconds\":2,\"images_per_second\":100}\n",
    );
    assert!(error(&folder.path("e")).contains("the run has not finished"));
    let summary = r#""epochs": 1, "stopped": null, "seconds": 2.5, "confusion": [[1]], "per_class": null,
        "metrics": {"train_loss": 0.5, "test_accuracy": 0.9, "parameters": 10, "steps": 3}"#;
    folder.write(
        "e/x/summary.json",
        &format!("{{\"run\": {run}, {summary}}}"),
    );
    let results = read(&[&folder.path("e")]);
    let variant = &results.variants[0];
    assert_eq!((&*variant.name, &variant.seeds[..]), ("cnn", &[7][..]));
    let names: Vec<&str> = variant.metrics.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "images_per_second",
            "parameters",
            "seconds",
            "steps",
            "test_accuracy",
            "train_accuracy",
            "train_loss"
        ]
    );
    assert_eq!(variant.metrics["seconds"], [Some(2.5)]);
}

#[test]
fn what_cannot_be_read_is_named() {
    let folder = Folder::new();
    fs::create_dir(folder.path("empty")).unwrap();
    assert!(error(&folder.path("empty")).contains("expected folders of runs"));
    assert!(error(&folder.path("none")).starts_with("cannot read"));
    assert!(
        error(&folder.write("r.txt", "")).contains("expected a folder of runs, or a file .csv")
    );
    assert!(error(&folder.write("r.csv", "seed,metric,value\n")).contains("expected results"));
    let text = error(&folder.write("x/seed-1/metrics.jsonl", "{\"a\": 1}\n{\"a\" 2}\n"));
    assert!(
        text.contains("metrics.jsonl, line 2: expected a JSON object"),
        "{text}"
    );
    let text = error(&folder.write("seed-1.json", "{\"seed\": \"one\"}"));
    assert!(
        text.contains("expected `seed` to be an integer of at least 0, found \"one\""),
        "{text}"
    );

    folder.write("y/a/summary.json", "{\"seed\": 1, \"acc\": 1}");
    folder.write("y/b/summary.json", "{\"seed\": 1, \"acc\": 1}");
    let text = error(&folder.path("y"));
    assert!(
        text.contains("seed 1 of the variant `default` is also in"),
        "{text}"
    );
}

#[test]
fn a_baseline_and_what_is_judged_by_it() {
    let folder = Folder::new();
    let baseline = baseline(&folder);
    assert_eq!(baseline.better["acc"], Direction::Higher);
    assert_eq!(baseline.better["loss"], Direction::Lower);
    let judged = |accuracies: &[f64]| {
        let results = read(&[&folder.write("now.csv", &csv(accuracies))]);
        compare_external("mine", &baseline, &results, &Selection::default()).unwrap()
    };

    let fine = judged(&[0.94, 0.95, 0.93]);
    assert!(fine.passed && !fine.refused());
    assert_eq!(fine.level, Some(0.005));
    assert_eq!(fine.experiments[0].variants[0].rows.len(), 2);

    let worse = judged(&[0.90, 0.91, 0.90]);
    assert!(!worse.passed && !worse.refused());
    assert_eq!(worse.experiments[0].verdict, Judgement::Regression);
    let document = junit(&worse).unwrap();
    assert!(document.contains("name=\"default.acc\""), "{document}");
    assert_eq!(document.matches("<failure").count(), 2, "{document}");
    let text = table::markdown(&worse);
    assert!(
        text.contains("| mine | default | acc | 0.9430 ± 0.0095 | 0.9033 ± 0.0058 |"),
        "{text}"
    );
    assert!(
        text.contains("- a regression has p < 0.005, and most of its seeds"),
        "{text}"
    );

    // One seed that is worse, of three, is suspicious and no regression.
    let suspicious = judged(&[0.94, 0.94, 0.90]);
    assert!(suspicious.passed);
    let notes = table::notes(&suspicious);
    assert!(
        notes
            .iter()
            .any(|n| n.contains("metrics pass with p < 0.02")),
        "{notes:?}"
    );

    let better = judged(&[0.99, 0.99, 0.99]);
    assert!(better.passed);
    assert_eq!(better.experiments[0].verdict, Judgement::Better);
}

#[test]
fn directions_can_be_given() {
    let folder = Folder::new();
    let results = read(&[&folder.write("b.csv", &csv(&ACCURACIES))]);
    let lower = Selection {
        directions: Directions {
            lower: vec!["acc".to_string()],
            higher: Vec::new(),
        },
        metrics: vec!["acc".to_string()],
        no_speed: false,
    };
    let baseline = ExternalBaseline::new(&results, &lower, None, "first", None).unwrap();
    assert_eq!(baseline.better.len(), 1);
    let now = read(&[&folder.write("now.csv", &csv(&[0.99, 0.99, 0.99]))]);
    let judged = |selection: &Selection| {
        let found = compare_external("mine", &baseline, &now, selection).unwrap();
        found.experiments[0].verdict
    };
    // As recorded, and turned around.
    assert_eq!(judged(&Selection::default()), Judgement::Regression);
    let mut higher = lower.clone();
    std::mem::swap(&mut higher.directions.lower, &mut higher.directions.higher);
    assert_eq!(judged(&higher), Judgement::Better);

    let mut unknown = lower.clone();
    unknown.metrics = vec!["acuracy".to_string()];
    let error = compare_external("mine", &baseline, &now, &unknown).unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no metric `acuracy`; expected one of acc"
    );
    let mut both = lower.clone();
    both.directions.higher = vec!["acc".to_string()];
    let error = ExternalBaseline::new(&results, &both, None, "", None).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("`acc` is given as --lower and as --higher")
    );
}

#[test]
fn other_variants_and_metrics_are_refused() {
    let folder = Folder::new();
    let baseline = baseline(&folder);
    let reason = |text: &str| {
        let results = read(&[&folder.write("now.csv", text)]);
        let found = compare_external("mine", &baseline, &results, &Selection::default()).unwrap();
        assert!(found.refused() && !found.passed);
        assert!(junit(&found).unwrap().contains("<error"));
        found.experiments[0].reason.clone().unwrap()
    };
    assert_eq!(
        reason("seed,metric,value\n0,acc,0.9\n"),
        "the results of `default` have no finite `loss`, which is in the baseline"
    );
    assert_eq!(
        reason("seed,metric,value,variant\n0,acc,0.9,cnn\n"),
        "the variant `cnn` is not in the baseline; the variant `default` of the baseline is not in the results"
    );
}

#[test]
fn a_baseline_needs_seeds_and_numbers() {
    let folder = Folder::new();
    let of = |text: &str| {
        let results = read(&[&folder.write("b.csv", text)]);
        let new = ExternalBaseline::new(&results, &Selection::default(), None, "why", None);
        new.map_err(|error| error.to_string())
    };
    let one = of("seed,metric,value\n0,acc,0.9\n").unwrap_err();
    assert!(one.contains("`default` has one seed"), "{one}");
    let missing = of("seed,metric,value\n0,acc,0.9\n1,acc,nan\n").unwrap_err();
    assert!(
        missing.contains("`acc` of `default` is missing or not finite for seed 1"),
        "{missing}"
    );
    let neither = of("seed,metric,value\n0,input_mean,0.9\n1,input_mean,0.8\n").unwrap_err();
    assert!(neither.contains("no metric has a direction"), "{neither}");

    let first = of(&csv(&ACCURACIES)).unwrap();
    let results = read(&[&folder.path("b.csv")]);
    let commit = Some("abc".to_string());
    let second = ExternalBaseline::new(
        &results,
        &Selection::default(),
        Some(&first),
        "again",
        commit,
    )
    .unwrap();
    let reasons: Vec<&str> = second.updates.iter().map(|u| &*u.reason).collect();
    assert_eq!(reasons, ["why", "again"]);
    assert_eq!(second.updates[1].commit.as_deref(), Some("abc"));
}

#[test]
fn damaged_baselines_are_named() {
    let folder = Folder::new();
    let error = |text: &str| {
        let path = folder.write("baseline.json", text);
        ExternalBaseline::read(&path).unwrap_err().to_string()
    };
    assert!(error("{").contains("baseline.json, line 1: "));
    assert!(error("{\"experiment\": \"guard\"}").contains("unknown field `experiment`"));
    let text = |values: &str, better: &str| {
        format!(
            r#"{{"updates": [], "better": {{{better}}}, "variants": [{{"name": "a", "seeds": [0, 1],
            "metrics": {{"acc": {{"mean": 1, "std": 0, "values": {values}}}}}}}]}}"#
        )
    };
    let message = error(&text("[1]", "\"acc\": \"higher\""));
    assert!(
        message.contains("`acc` of `a`: expected 2 values, one per seed; found 1"),
        "{message}"
    );
    assert!(error(&text("[1, 1]", "")).contains("expected a direction of `acc`"));
    assert!(error(&text("[1, 1]", "\"acc\": \"up\"")).contains("unknown variant `up`"));
    assert_eq!(
        ExternalBaseline::read(&folder.path("none.json")).unwrap(),
        None
    );
}

/// Speeds of another machine say nothing of the code.
#[test]
fn speeds_can_be_left_out() {
    let folder = Folder::new();
    let text = |seconds: f64| {
        let lines =
            (0..10).map(|seed| format!("{seed},acc,0.9{seed}\n{seed},epoch_seconds,{seconds}\n"));
        format!("seed,metric,value\n{}", lines.collect::<String>())
    };
    let results = read(&[&folder.write("b.csv", &text(10.0))]);
    let baseline =
        ExternalBaseline::new(&results, &Selection::default(), None, "first", None).unwrap();
    let slow = read(&[&folder.write("slow.csv", &text(20.0))]);
    let judged = |no_speed| {
        let selection = Selection {
            no_speed,
            ..Selection::default()
        };
        compare_external("mine", &baseline, &slow, &selection).unwrap()
    };
    assert!(!judged(false).passed);
    assert!(judged(true).passed);
}
