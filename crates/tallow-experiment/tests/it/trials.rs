//! Trials before a run, and the teacher of a distillation.

use std::fs;

use tallow_experiment::{Experiment, NoProgress, StopFlag};
use tallow_record::{Run, find_runs};
use tallow_train::LrFinder;

use crate::support::{SMALL, experiment, runner, train};

/// One variant of the small experiment.
fn cnn(sets: &[&str]) -> Experiment {
    let mut cnn = experiment(SMALL, sets);
    cnn.keep_only(&["cnn".to_string()]).unwrap();
    cnn
}

#[test]
fn range_tests_write_a_plot_and_no_record() {
    let dir = tempfile::tempdir().unwrap();
    let finder = LrFinder {
        min_lr: 1e-6,
        steps: 40,
        beta: 0.9,
        ..LrFinder::default()
    };
    let mut runner = runner(dir.path());
    let found = runner.find_lr(&experiment(SMALL, &[]), &finder, &mut NoProgress);
    let found = found.unwrap().unwrap();
    let names: Vec<&str> = found.iter().map(|test| test.variant.as_str()).collect();
    assert_eq!(names, ["mlp", "cnn"]);
    for test in &found {
        assert_eq!((test.seed, test.lr), (3, 0.005));
        let suggestion = test.range.suggestion.unwrap();
        // Where the loss falls, before it is at its lowest.
        let points = &test.range.points;
        let lowest = points
            .iter()
            .min_by(|a, b| a.smoothed.total_cmp(&b.smoothed));
        let lowest = lowest.unwrap().lr;
        assert!(
            1e-6 < suggestion && suggestion <= lowest,
            "{suggestion} {lowest}"
        );
        let svg = fs::read_to_string(test.folder.join("lr-find.svg")).unwrap();
        assert!(svg.contains("steepest descent"));
        let json = fs::read_to_string(test.folder.join("lr-find.json")).unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(
            json["points"].as_array().unwrap().len(),
            test.range.points.len()
        );
        assert_eq!(json["suggestion"], suggestion);
    }
    assert!(
        found[0]
            .folder
            .starts_with(dir.path().join("small/lr-find"))
    );
    assert!(find_runs(dir.path(), None).unwrap().is_empty());
    let again = runner.find_lr(&experiment(SMALL, &[]), &finder, &mut NoProgress);
    assert_eq!(again.unwrap().unwrap(), found);
}

#[test]
fn one_batch_is_learnt_by_heart() {
    let dir = tempfile::tempdir().unwrap();
    // What would keep the loss up is left out.
    let sets = [
        "train.augment=[{name=\"random-horizontal-flip\"}]",
        "train.mix={mixup_alpha=1.0,cutmix_alpha=1.0}",
        "train.loss={name=\"cross-entropy\",label_smoothing=0.3}",
    ];
    let found = runner(dir.path()).overfit(&experiment(SMALL, &sets), 1, &mut NoProgress);
    for trial in found.unwrap().unwrap() {
        assert!(trial.learnt && trial.steps < 500, "{trial:?}");
        assert!(trial.last_loss <= 0.01 * trial.first_loss, "{trial:?}");
        assert_eq!((trial.batches, trial.images), (1, 32));
    }
    // Another softmax before the loss has a floor.
    let softmax = cnn(&["train.loss={name=\"softmax-cross-entropy\"}"]);
    let found = runner(dir.path()).overfit(&softmax, 2, &mut NoProgress);
    let trial = &found.unwrap().unwrap()[0];
    assert!(!trial.learnt, "{trial:?}");
    assert_eq!((trial.images, trial.steps), (64, 500));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn trials_stop_when_they_are_asked_to() {
    let dir = tempfile::tempdir().unwrap();
    let mut runner = runner(dir.path());
    let stop = StopFlag::new();
    stop.request();
    runner.options_mut().stop = stop;
    let small = experiment(SMALL, &[]);
    let found = runner.overfit(&small, 1, &mut NoProgress).unwrap();
    assert_eq!(found, None);
    let found = runner.find_lr(&small, &LrFinder::default(), &mut NoProgress);
    assert_eq!(found.unwrap(), None);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// 75 steps in an epoch. The weights are found to be too few only when the loss is computed.
#[test]
fn faults_show_before_the_first_record_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let sets = [
        "train.batch_size=4",
        "train.loss={name=\"binary-cross-entropy\",pos_weight=[1.0]}",
    ];
    let error = runner(dir.path()).run(&cnn(&sets), "test", &mut NoProgress);
    let message = error.unwrap_err().message();
    assert!(
        message.starts_with("variant `cnn`: loss.pos_weight: 1 weights, but the model has 10"),
        "{message}"
    );
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_student_learns_from_the_run_of_a_teacher() {
    let dir = tempfile::tempdir().unwrap();
    let outcome = train(&cnn(&[]), dir.path());
    let teacher = outcome.runs[0].display().to_string();
    let loss = format!("train.loss={{name=\"distillation\",teacher={teacher:?},alpha=0.9}}");
    let student = ["model.name=\"mlp\"", "train.epochs=1", loss.as_str()];
    let outcome = train(&cnn(&student), dir.path());
    let record = Run::read(&outcome.runs[0]).unwrap();
    let loss = record.config["train"]["loss"].as_table().unwrap();
    assert_eq!(loss["teacher"].as_str(), Some(teacher.as_str()));
    // The teacher makes a difference.
    let alone = train(&cnn(&student[..2]), dir.path());
    let losses = [&outcome, &alone].map(|outcome| {
        let run = Run::read(&outcome.runs[0]).unwrap();
        run.epochs[0].train_loss
    });
    assert!(losses[0] != losses[1], "{losses:?}");

    let refused = |sets: &[&str], expected: &str| {
        let run = runner(dir.path()).run(&cnn(sets), "test", &mut NoProgress);
        let message = run.unwrap_err().message();
        assert!(message.contains(expected), "{message}");
    };
    let other = "data.transforms=[{name=\"to-tensor\"}]";
    refused(
        &[student[2], other],
        "the teacher was trained with data.transforms",
    );
    let missing = loss_of("nowhere");
    refused(
        &[missing.as_str()],
        "train.loss.teacher = \"nowhere\": there is no such folder",
    );
}

fn loss_of(teacher: &str) -> String {
    format!("train.loss={{name=\"distillation\",teacher={teacher:?}}}")
}
