//! Weights of a run are evaluated as the run evaluated them.

use candle_core::Device;
use tallow_experiment::evaluate::{Request, evaluate};
use tallow_experiment::{NoProgress, Registry};
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
