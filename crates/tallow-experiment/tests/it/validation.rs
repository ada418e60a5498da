//! The validation split of a folder of one's own.

use std::fs;
use std::path::{Path, PathBuf};

use tallow_experiment::{Experiment, Progress};
use tallow_record::{Run, RunInfo};
use tallow_train::{CONTINUE, Callback, EpochEnd, Flow};

use crate::support::{experiment, runner};

const EPOCHS: usize = 2;

/// 60 steps in an epoch, so that one batch is tried before the run.
const EXPERIMENT: &str = r#"
    question = "Is the test data left alone?"
    seeds = [0]

    [data]
    dataset = "folder:PLACE"
    transforms = [{ name = "to-tensor" }]

    [train]
    epochs = 2
    batch_size = 1
    optimizer = { name = "sgd", lr = 0.01 }

    [[variants]]
    name = "mlp"
    model = { name = "mlp", hidden = [4] }
"#;

/// Pictures of two classes in the folder `split`: 30 each to train with, else 3 each.
fn pictures(root: &Path, split: &str) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for (class, shade) in [("dark", 20u8), ("light", 200)] {
        let folder = root.join(split).join(class);
        fs::create_dir_all(&folder).unwrap();
        for number in 0..if split == "train" { 30 } else { 3 } {
            let pixel = image::Rgb([shade + number, shade, shade]);
            let path = folder.join(format!("{number}.png"));
            image::RgbImage::from_pixel(4, 4, pixel)
                .save(&path)
                .unwrap();
            paths.push(path);
        }
    }
    paths
}

/// A folder with these splits. The pictures of the test split cannot be read until they are [revealed](Reveal).
fn folder(splits: &[&str]) -> (tempfile::TempDir, Reveal) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("pictures");
    let mut hidden = Vec::new();
    for split in splits {
        let paths = pictures(&root, split);
        if *split == "test" {
            hidden.extend(
                paths
                    .into_iter()
                    .map(|path| (path.clone(), fs::read(path).unwrap())),
            );
        }
    }
    for (path, _) in &hidden {
        fs::write(path, "no picture yet").unwrap();
    }
    let reveal = Reveal {
        hidden,
        notes: Vec::new(),
    };
    (dir, reveal)
}

/// Makes the pictures of the test split whole when the last epoch has ended, and keeps the notes.
struct Reveal {
    hidden: Vec<(PathBuf, Vec<u8>)>,
    notes: Vec<String>,
}

impl Progress for Reveal {
    fn note(&mut self, text: &str) {
        self.notes.push(text.to_string());
    }

    fn run<'a>(&'a mut self, _: &RunInfo, _: &Path) -> Box<dyn Callback + 'a> {
        Box::new(AtTheEnd(self))
    }
}

struct AtTheEnd<'a>(&'a Reveal);

impl Callback for AtTheEnd<'_> {
    fn on_epoch_end(&mut self, end: &EpochEnd) -> Flow {
        if end.row.epoch + 1 == EPOCHS {
            for (path, bytes) in &self.0.hidden {
                fs::write(path, bytes).unwrap();
            }
        }
        CONTINUE
    }
}

/// The experiment on the pictures in `dir`, with these changes.
fn on(dir: &tempfile::TempDir, sets: &[&str]) -> Experiment {
    let root = dir.path().join("pictures").display().to_string();
    experiment(&EXPERIMENT.replace("PLACE", &root), sets)
}

fn run(dir: &tempfile::TempDir, reveal: &mut Reveal, sets: &[&str]) -> Result<Run, String> {
    let outcome = runner(&dir.path().join("runs")).run(&on(dir, sets), "test", reveal);
    let outcome = outcome.map_err(|error| error.message())?.unwrap();
    Ok(Run::read(&outcome.runs[0]).unwrap())
}

#[test]
fn no_test_picture_of_a_folder_is_read_before_the_end() {
    let (dir, mut reveal) = folder(&["train", "val", "test"]);
    let record = run(&dir, &mut reveal, &["train.restore_best=true"]).unwrap();
    assert_eq!(record.epochs.len(), EPOCHS);
    for row in &record.epochs {
        assert!(row.validation_loss.is_some() && row.validation_accuracy.is_some());
        assert_eq!((row.test_loss, row.test_accuracy), (None, None));
    }
    let metrics = record.summary.unwrap().metrics;
    assert!(metrics["test_accuracy"].is_some());
    assert!(metrics["best_validation_accuracy"].is_some());
    // Chosen on the validation data, so that there is nothing to warn of.
    assert!(
        !reveal.notes.iter().any(|note| note.contains("unseen")),
        "{:?}",
        reveal.notes
    );

    // Without it the test data is read at once.
    let (dir, mut reveal) = folder(&["train", "test"]);
    let error = run(&dir, &mut reveal, &[]).unwrap_err();
    assert!(error.contains("test/dark/0.png: is no image"), "{error}");
}

#[test]
fn a_share_of_the_training_images_comes_before_the_folder() {
    let (dir, mut reveal) = folder(&["train", "val", "test"]);
    // The pictures of the folder are not read either.
    for class in ["dark", "light"] {
        fs::write(
            dir.path().join("pictures/val").join(class).join("0.png"),
            "no picture",
        )
        .unwrap();
    }
    let record = run(&dir, &mut reveal, &["data.validation=10"]).unwrap();
    assert!(record.epochs[0].validation_loss.is_some());
    let said = "data.validation takes the validation images from the training data, and the 6 images of the validation split of `pictures` are not used";
    assert!(
        reveal.notes.iter().any(|note| note.contains(said)),
        "{:?}",
        reveal.notes
    );
}

#[test]
fn monitors_are_checked_with_the_folder() {
    let (dir, mut reveal) = folder(&["train", "val", "test"]);
    let error = run(&dir, &mut reveal, &["train.monitor=test_loss"]).unwrap_err();
    assert!(error.contains("monitor validation_loss instead"), "{error}");
    let (dir, mut reveal) = folder(&["train", "test"]);
    let error = run(&dir, &mut reveal, &["train.monitor=validation_loss"]).unwrap_err();
    assert!(error.contains("there is no validation data"), "{error}");
}

/// As before there were validation splits.
#[test]
fn val_without_test_is_evaluated_after_each_epoch() {
    let (dir, mut reveal) = folder(&["train", "val"]);
    let record = run(&dir, &mut reveal, &[]).unwrap();
    for row in &record.epochs {
        assert!(row.test_accuracy.is_some() && row.validation_accuracy.is_none());
    }
}
