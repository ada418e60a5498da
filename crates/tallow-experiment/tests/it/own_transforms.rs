//! Transforms of training and of test images of their own.

use std::fs;

use candle_core::Device;
use tallow_experiment::{Experiment, Predictor, Registry, Tier};
use tallow_record::Run;

use crate::support::{SMALL, experiment, train};

const NORMALIZE: &str = "{ name = \"normalize\", mean = [0.286], std = [0.353] }";

/// One variant with this text in `[data]` in place of its transforms.
fn with(data: &str) -> String {
    let (before, rest) = SMALL.split_once("transforms = [").unwrap();
    let (_, after) = rest.split_once('\n').unwrap();
    let text = format!("{before}{data}\n{after}");
    let (text, _) = text.split_once("[[variants]]\n    name = \"mlp\"").unwrap();
    let text = text.replace(
        "claims = [\"mlp.parameters > 5\", \"cnn.parameters < 5\"]",
        "",
    );
    format!("{text}[[variants]]\nname = \"cnn\"\nmodel.name = \"cnn\"\n")
}

fn pipelines(train: &str, test: &str) -> String {
    format!(
        "train_transforms = [{train}{{ name = \"to-tensor\" }}, {NORMALIZE}]\n    test_transforms = [{test}{{ name = \"to-tensor\" }}, {NORMALIZE}]"
    )
}

fn refusal(data: &str, sets: &[&str]) -> String {
    let sets: Vec<String> = sets.iter().map(|set| set.to_string()).collect();
    let error = Experiment::parse("small", &with(data), Tier::Full, &sets).unwrap_err();
    error.message()
}

/// Weights and predictions of the only run.
fn run(text: &str, sets: &[&str]) -> (Vec<u8>, Run, std::path::PathBuf, tempfile::TempDir) {
    let out = tempfile::tempdir().unwrap();
    train(&experiment(text, sets), out.path());
    let folder = fs::read_dir(out.path().join("small")).unwrap();
    let mut folders = folder
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("summary.json").is_file());
    let dir = folders.next().unwrap();
    let weights = fs::read(dir.join("model.safetensors")).unwrap();
    (weights, Run::read(&dir).unwrap(), dir, out)
}

/// A random crop in training and a central one in testing, which `train.augment` and `data.transforms` cannot say together.
#[test]
fn training_and_testing_have_pipelines_of_their_own() {
    let resize = "{ name = \"resize\", size = 32 }, ";
    let own = pipelines(
        &format!("{resize}{{ name = \"random-crop\", size = 28 }}, "),
        &format!("{resize}{{ name = \"center-crop\", size = 28 }}, "),
    );
    let (weights, record, dir, _out) = run(&with(&own), &[]);
    // The same pipelines as two lists that share an end.
    let shared = format!("transforms = [{{ name = \"to-tensor\" }}, {NORMALIZE}]");
    let augment = "train.augment=[{name=\"resize\",size=32},{name=\"random-crop\",size=28}]";
    let (same, ..) = run(&with(&shared), &[augment]);
    assert_eq!(weights, same, "the training images are the same");
    // The record has both, and a prediction is made with those of testing.
    let data = record.config["data"].as_table().unwrap();
    assert_eq!(data["train_transforms"].as_array().unwrap().len(), 4);
    let predictor = Predictor::from_run(&dir, &Device::Cpu, &Registry::default()).unwrap();
    let names: Vec<&str> = predictor
        .transforms()
        .transforms()
        .map(|transform| transform.name())
        .collect();
    assert_eq!(names, ["resize", "center-crop", "to-tensor", "normalize"]);
}

#[test]
fn one_list_of_its_own_stands_beside_the_shared_one() {
    let shared = format!("transforms = [{{ name = \"to-tensor\" }}, {NORMALIZE}]");
    let flipped = format!(
        "{shared}\n    train_transforms = [{{ name = \"random-horizontal-flip\", p = 1.0 }}, {{ name = \"to-tensor\" }}, {NORMALIZE}]"
    );
    let recipe = &experiment(&with(&flipped), &[]).variants[0].recipe;
    assert_eq!(
        (
            recipe.train_transforms().len(),
            recipe.test_transforms().len()
        ),
        (3, 2)
    );
    let tested = format!(
        "{shared}\n    test_transforms = [{{ name = \"center-crop\", size = 28 }}, {{ name = \"to-tensor\" }}, {NORMALIZE}]"
    );
    let augment = ["train.augment=[{name=\"random-horizontal-flip\"}]"];
    let recipe = &experiment(&with(&tested), &augment).variants[0].recipe;
    let names = |list: &[tallow_transforms::TransformConfig]| {
        list.iter().map(|t| t.name()).collect::<Vec<_>>()
    };
    assert_eq!(
        names(&recipe.train_transforms()),
        ["random-horizontal-flip", "to-tensor", "normalize"]
    );
    assert_eq!(
        names(recipe.test_transforms()),
        ["center-crop", "to-tensor", "normalize"]
    );
}

#[test]
fn lists_that_contradict_each_other_are_refused() {
    let own = pipelines("", "");
    let augment = ["train.augment=[{name=\"random-horizontal-flip\"}]"];
    let message = refusal(&own, &augment);
    assert!(
        message.contains("data.train_transforms and train.augment"),
        "{message}"
    );
    let message = refusal(
        &format!("{own}\n    transforms = [{{ name = \"to-tensor\" }}]"),
        &[],
    );
    assert!(
        message.contains("data.transforms has no effect"),
        "{message}"
    );
    let (train_alone, test_alone) = own.split_once('\n').unwrap();
    let message = refusal(train_alone, &[]);
    assert!(
        message.contains("no transforms of test images"),
        "{message}"
    );
    let message = refusal(test_alone, &[]);
    assert!(
        message.contains("no transforms of training images"),
        "{message}"
    );
    let message = refusal("", &[]);
    assert!(message.contains("missing key `transforms`"), "{message}");
}

#[test]
fn images_of_training_and_testing_have_one_shape() {
    let own = pipelines("{ name = \"resize\", size = [20, 20] }, ", "");
    let out = tempfile::tempdir().unwrap();
    let mut runner = crate::support::runner(out.path());
    let outcome = runner.run(
        &experiment(&with(&own), &[]),
        "test",
        &mut tallow_experiment::NoProgress,
    );
    let message = outcome.err().unwrap().message();
    assert!(
        message.contains("(1, 20, 20)") && message.contains("(1, 28, 28)"),
        "{message}"
    );
}
