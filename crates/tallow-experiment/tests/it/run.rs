//! A runner trains, records, judges and reports; it stops when it is asked to.

use std::fs;
use std::path::Path;

use candle_core::Device;
use tallow_experiment::data::Splits;
use tallow_experiment::{
    Error, Experiment, NoProgress, Outcome, PlannedRun, Predictor, Progress, Registry, StopFlag,
    Tier, report, results,
};
use tallow_models::ModelConfig;
use tallow_models::nn::Sequential;
use tallow_ops::ParamPath;
use tallow_record::{Results, Run, RunInfo, Summary};
use tallow_train::{BatchEnd, CONTINUE, Callback, Flow};

use crate::support::{SMALL, experiment, runner, train};

/// Notes the calls it gets, and sets a flag after the first batch if there is one.
#[derive(Default)]
struct Recorder {
    calls: Vec<String>,
    batches: usize,
    stop: Option<StopFlag>,
}

impl Progress for Recorder {
    fn note(&mut self, text: &str) {
        let word = text.split([':', ' ']).next().unwrap_or_default();
        self.calls.push(format!("note {word}"));
    }

    fn loaded(&mut self, splits: &Splits) {
        self.calls
            .push(format!("loaded {}", splits.train.info().name));
    }

    fn begin(&mut self, experiment: &Experiment, runs: &[PlannedRun]) {
        assert!(runs.iter().all(|run| run.work > 0.0));
        self.calls
            .push(format!("begin {} {}", experiment.name, runs.len()));
    }

    fn run<'a>(&'a mut self, info: &RunInfo, folder: &Path) -> Box<dyn Callback + 'a> {
        assert!(folder.join("config.toml").is_file());
        self.calls
            .push(format!("run {} {}", info.variant, info.seed));
        Box::new(Batches(self))
    }

    fn run_ended(&mut self, summary: &Summary) {
        self.calls.push(format!("ended {}", summary.epochs));
    }

    fn run_failed(&mut self, folder: &Path, reason: &str) {
        assert!(folder.is_dir() && reason.starts_with("[1/2] mlp seed 3: "));
        self.calls.push("failed".to_string());
    }

    fn stopped(&mut self, reason: &str) {
        let reason = reason.split(':').next().unwrap_or_default();
        self.calls.push(format!("stopped {reason}"));
    }

    fn close(&mut self) {
        self.calls.push("close".to_string());
    }

    fn judged(&mut self, outcome: &Outcome) {
        self.calls.push(format!("judged {}", outcome.claims.len()));
    }
}

struct Batches<'a>(&'a mut Recorder);

impl Callback for Batches<'_> {
    fn on_batch_end(&mut self, _batch: &BatchEnd) -> Flow {
        self.0.batches += 1;
        if let Some(stop) = &self.0.stop {
            stop.request();
        }
        CONTINUE
    }
}

/// A model of the user's own program, named in a recipe.
#[test]
fn a_registered_model_is_trained_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let mut runner = runner(dir.path());
    let models = &mut runner.options_mut().registry;
    let build = |p: &ParamPath, config: &ModelConfig| {
        Sequential::build(p, config.input_shape)
            .conv2d("conv1", 4, 3)
            .relu()
            .max_pool2d(2)
            .flatten()
            .linear("fc", config.classes)
            .finish()
    };
    models.register("my-net", build).unwrap();
    let experiment = experiment(SMALL, &["model.name=my-net", "train.epochs=1"]);
    let outcome = runner.run(&experiment, "test", &mut NoProgress);
    let outcome = outcome.unwrap().unwrap();
    assert_eq!(outcome.variants[1].model, "my-net");
    let parameters = 4 * 9 + 4 + 4 * 13 * 13 * 10 + 10;
    assert_eq!(outcome.variants[1].parameters, parameters);

    let registry = &runner.options().registry;
    let predictor = Predictor::from_run(&outcome.runs[1], &Device::Cpu, registry).unwrap();
    assert_eq!(predictor.classes().len(), 10);
    let unknown = Predictor::from_run(&outcome.runs[1], &Device::Cpu, &Registry::default());
    let message = unknown.err().unwrap().to_string();
    assert!(message.contains("my-net"), "{message}");
}

#[test]
fn an_experiment_of_a_file_is_trained_recorded_and_judged() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("clothes.toml");
    fs::write(&path, SMALL).unwrap();
    let experiment = Experiment::read(&path, Tier::Full, &[]).unwrap();
    let mut runner = runner(&dir.path().join("runs"));
    runner.options_mut().results = Some(dir.path().join("results"));
    let mut recorder = Recorder::default();
    let outcome = runner.run(&experiment, "tallow run clothes.toml", &mut recorder);
    let outcome = outcome.unwrap().unwrap();

    assert_eq!(
        recorder.calls,
        [
            "loaded fashion-mnist-sample",
            "begin clothes 2",
            "run mlp 3",
            "ended 2",
            "run cnn 3",
            "ended 2",
            "close",
            "note report",
            "judged 2",
            "note results",
        ]
    );
    assert_eq!(recorder.batches, 2 * 2 * 10);
    let holds: Vec<_> = outcome.claims.iter().map(|claim| claim.holds).collect();
    assert_eq!(holds, [Some(true), Some(false)]);
    assert!(outcome.failed());
    assert_eq!(outcome.variants[0].metrics["steps"].mean, 20.0);

    let run = Run::read(&outcome.runs[0]).unwrap();
    assert_eq!((run.info.variant.as_str(), run.epochs.len()), ("mlp", 2));
    assert_eq!(run.config["model"]["dropout"].as_float(), Some(0.25));
    for file in [
        "model.safetensors",
        "predictions.json",
        "layers.json",
        "pictures.json",
        "samples.png",
        "shapes.json",
    ] {
        assert!(run.dir.join(file).is_file(), "{file}");
    }
    // The report is made again without the file of the experiment.
    fs::remove_file(&path).unwrap();
    let page = dir.path().join("again.html");
    report::write_page(&page, std::slice::from_ref(&run), None).unwrap();
    let page = fs::read_to_string(page).unwrap();
    assert!(page.contains("Is a convolution of any help?") && page.contains("cnn.parameters"));

    let written = results::path(&dir.path().join("results"), "clothes", Tier::Full);
    let read = Results::read(&written).unwrap();
    assert_eq!(read.command, "tallow run clothes.toml");
    assert_eq!(read.variants[1].runs[0].epochs.len(), 2);
    assert!(read.variants[0].runs[0].gradients.as_ref().unwrap().len() == 2);
    // It is of no built-in experiment and keeps its verdicts.
    assert_eq!(results::judged_anew(&written).unwrap(), None);
}

#[test]
fn weights_repeat_to_the_bit() {
    let dir = tempfile::tempdir().unwrap();
    let weights = |sets: &[&str]| {
        let mut experiment = experiment(SMALL, sets);
        experiment.keep_only(&["mlp".to_string()]).unwrap();
        let outcome = train(&experiment, dir.path());
        fs::read(outcome.runs[0].join("model.safetensors")).unwrap()
    };
    let first = weights(&["train.epochs=1"]);
    assert!(first == weights(&["train.epochs=1", "train.workers=0"]));
    assert!(first != weights(&["train.epochs=1", "train.shuffle=false"]));
}

#[test]
fn a_flag_stops_it_after_the_batch() {
    let dir = tempfile::tempdir().unwrap();
    let mut runner = runner(dir.path());
    let stop = runner.options().stop.clone();
    let mut recorder = Recorder {
        stop: Some(stop.clone()),
        ..Recorder::default()
    };
    let outcome = runner.run(&experiment(SMALL, &[]), "", &mut recorder);
    assert!(outcome.unwrap().is_none());
    assert_eq!(recorder.batches, 1);
    assert_eq!(recorder.calls.last().unwrap(), "stopped interrupted");
    assert!(stop.requested() && stop.request());
}

#[test]
fn a_run_that_diverges_is_an_error_or_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let mut diverging = experiment(SMALL, &["train.optimizer={name=\"sgd\",lr=1e30}"]);
    diverging.claims.clear();
    let mut recorder = Recorder::default();
    let error = runner(dir.path()).run(&diverging, "", &mut recorder);
    let error = error.unwrap_err();
    assert!(error.is_non_finite_loss(), "{error:?}");
    assert!(error.message().starts_with("[1/2] mlp seed 3: the loss is"));
    assert_eq!(recorder.calls.last().unwrap(), "stopped [1/2] mlp seed 3");

    let calm = experiment(SMALL, &[]);
    diverging.variants[1] = calm.variants[1].clone();
    let mut runner = runner(dir.path());
    runner.options_mut().skip_diverged = true;
    let mut recorder = Recorder::default();
    let outcome = runner.run(&diverging, "", &mut recorder).unwrap().unwrap();
    assert_eq!((outcome.diverged.len(), outcome.runs.len()), (1, 2));
    assert_eq!(outcome.variants.len(), 1);
    let unfinished = Run::read(&outcome.runs[0]).unwrap();
    assert!(unfinished.summary.is_none());
    assert_eq!(recorder.calls[3..5], ["failed", "note [1/2]"]);
}

#[test]
fn mistakes_show_before_anything_is_trained() {
    let dir = tempfile::tempdir().unwrap();
    let fail = |sets: &[&str]| {
        let mut recorder = Recorder::default();
        let error = runner(dir.path())
            .run(&experiment(SMALL, sets), "", &mut recorder)
            .unwrap_err();
        assert_eq!(recorder.batches, 0);
        error.message()
    };
    assert!(fail(&["model.name=cnnn"]).contains("`cnn`"));
    assert!(fail(&["data.dataset=fashion-mnist-sampel"]).contains("did you mean"));
    assert!(fail(&["model.weights=no-such-file"]).contains("no-such-file"));
    let message = fail(&["model.width_divisor=2"]);
    assert!(
        message.starts_with("variant `mlp`: ") && message.contains("width_divisor"),
        "{message}"
    );
    let mut no_data = runner(dir.path());
    no_data.options_mut().data = Some(dir.path().join("nowhere"));
    let error = no_data.run(&experiment(SMALL, &[]), "", &mut NoProgress);
    assert!(matches!(error.unwrap_err(), Error::Data(_)));
}

/// Keeps the notes.
#[derive(Default)]
struct Notes(Vec<String>);

impl Progress for Notes {
    fn note(&mut self, text: &str) {
        self.0.push(text.to_string());
    }
}

#[test]
fn settings_without_effect_are_said_before_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let sets = [
        "train.epochs=1",
        "train.max_steps=2",
        r#"train.schedule={curve={name="step",size=30}}"#,
        r#"train.loss={name="cross-entropy",class_weights="balanced"}"#,
    ];
    let experiment = experiment(SMALL, &sets);
    let mut notes = Notes::default();
    runner(dir.path())
        .run(&experiment, "test", &mut notes)
        .unwrap()
        .unwrap();
    for (variant, note) in ["mlp", "cnn"].into_iter().zip(&notes.0) {
        let expected = format!(
            "warning: variant `{variant}`: schedule: the learning rate is 0.005 throughout the run, which has 1 epoch"
        );
        assert!(note.starts_with(&expected), "{note}");
    }
}

/// Both are refused before anything is trained: no record is written.
#[test]
fn runs_that_would_stop_in_the_middle_are_refused_before_the_first() {
    let norm = |p: &ParamPath, config: &ModelConfig| {
        Sequential::build(p, config.input_shape)
            .conv2d("conv1", 4, 28)
            .batch_norm2d("bn1")
            .relu()
            .flatten()
            .linear("fc", config.classes)
            .finish()
    };
    let message = |sets: &[&str]| {
        let dir = tempfile::tempdir().unwrap();
        let mut runner = runner(dir.path());
        let models = &mut runner.options_mut().registry;
        models.register("one-by-one", norm).unwrap();
        let sets = [sets, &["model.name=one-by-one", "train.epochs=1"]].concat();
        let result = runner.run(&experiment(SMALL, &sets), "test", &mut NoProgress);
        let error = result.err().map(|error| error.message());
        assert_eq!(error.is_none(), dir.path().join("small").exists());
        error.unwrap_or_default()
    };
    let error = message(&["data.train_samples=289"]);
    assert!(
        error.starts_with("variant `mlp`: the last batch of an epoch has one sample"),
        "{error}"
    );
    assert!(error.contains("set `drop_last` to true"), "{error}");
    assert_eq!(
        message(&["data.train_samples=289", "train.drop_last=true"]),
        ""
    );
    let error = message(&["train.chunks=32"]);
    assert!(
        error.starts_with("variant `mlp`: chunks: 32 chunks leave one of a single sample"),
        "{error}"
    );
    let weights = r#"train.loss={name="cross-entropy",class_weights=[1,2]}"#;
    let error = message(&[weights]);
    assert!(
        error.contains("2 weights, but the dataset has 10 classes"),
        "{error}"
    );
}
