//! Weights of a run are evaluated as the run evaluated them.

use candle_core::Device;
use tallow_experiment::evaluate::{Request, RunRequest, evaluate, evaluate_run};
use tallow_experiment::{NoProgress, Progress, Registry};
use tallow_models::LoadWeights;
use tallow_record::Run;

use crate::support::{SMALL, experiment, train};

#[test]
fn the_figures_are_those_of_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let mut experiment = experiment(SMALL, &["train.epochs=1"]);
    experiment.keep_only(&["mlp".to_string()]).unwrap();
    let outcome = train(&experiment, dir.path());
    let run = Run::read(&outcome.runs[0]).unwrap();
    let weights = run.dir.join("model.safetensors").display().to_string();
    let request = Request {
        model: "mlp".to_string(),
        weights: weights.into(),
        dataset: "fashion-mnist-sample".to_string(),
        data: None,
        batch: 200,
        given: None,
        // Dropout is part of the model, though it does nothing here.
        sets: vec![
            "model.hidden=[24,16]".to_string(),
            "model.dropout=0.25".to_string(),
        ],
        device: Device::Cpu,
        registry: Registry::default(),
        load: LoadWeights::default(),
    };
    let evaluation = evaluate(&request, &mut NoProgress).unwrap();
    assert!(evaluation.transforms_source.contains("config.toml"));
    let last = run.epochs.last().unwrap();
    assert_eq!(Some(evaluation.accuracy), last.test_accuracy);
    assert!((evaluation.loss - last.test_loss.unwrap()).abs() < 1e-5);
    let total: u64 = evaluation.confusion.iter().flatten().sum();
    assert_eq!(total, evaluation.total);

    let other = Request {
        sets: vec!["data.transforms=[{name=\"to-tensor\"}]".to_string()],
        given: Some((vec![0.5], vec![0.5])),
        ..request
    };
    let error = evaluate(&other, &mut NoProgress).unwrap_err();
    assert!(error.message().contains("give one of them"), "{error}");
}

/// Notes of an evaluation.
#[derive(Default)]
struct Notes(Vec<String>);

impl Progress for Notes {
    fn note(&mut self, text: &str) {
        self.0.push(text.to_string());
    }
}

/// The record of a run in `bf16` comes from a GPU; here its recipe is written by hand.
#[test]
fn a_run_in_a_precision_that_the_device_lacks_is_evaluated_in_f32() {
    let dir = tempfile::tempdir().unwrap();
    let mut experiment = experiment(SMALL, &["train.epochs=1"]);
    experiment.keep_only(&["mlp".to_string()]).unwrap();
    let outcome = train(&experiment, dir.path());
    let request = RunRequest {
        run: outcome.runs[0].clone(),
        dataset: None,
        data: None,
        batch: 200,
        device: Device::Cpu,
        registry: Registry::default(),
    };
    let mut notes = Notes::default();
    let plain = evaluate_run(&request, &mut notes).unwrap();
    let said = |notes: &Notes| notes.0.iter().any(|note| note.contains("in bf16"));
    assert!(!said(&notes));

    let path = request.run.join("config.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    let changed = config.replacen("\n[train]\n", "\n[train]\nprecision = \"bf16\"\n", 1);
    assert_ne!(changed, config);
    std::fs::write(&path, changed).unwrap();
    let evaluation = evaluate_run(&request, &mut notes).unwrap();
    assert!(said(&notes), "{:?}", notes.0);
    assert_eq!(evaluation.loss.to_bits(), plain.loss.to_bits());
}
