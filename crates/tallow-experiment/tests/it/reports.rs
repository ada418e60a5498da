//! Selection of the runs of a report, and runs whose pictures or report cannot be written.

use std::fs;
use std::path::{Path, PathBuf};

use tallow_experiment::{NoProgress, Progress, report};
use tallow_record::{Run, RunInfo, runs_of};
use tallow_train::Callback;

use crate::support::{SMALL, experiment, runner, train};

/// Makes folders where the run's pictures and the report are to be written, and notes what it is told.
struct Obstacle {
    notes: Vec<String>,
    folder: Option<PathBuf>,
}

struct Nothing;

impl Callback for Nothing {}

impl Progress for Obstacle {
    fn note(&mut self, text: &str) {
        self.notes.push(text.to_string());
    }

    fn run<'a>(&'a mut self, _: &RunInfo, folder: &Path) -> Box<dyn Callback + 'a> {
        for path in [
            folder.join("samples.png/x"),
            folder.parent().unwrap().join("report.html/x"),
        ] {
            fs::create_dir_all(path).unwrap();
        }
        self.folder = Some(folder.to_path_buf());
        Box::new(Nothing)
    }
}

#[test]
fn a_run_finishes_where_its_pictures_and_report_cannot_be_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut experiment = experiment(SMALL, &["train.epochs=1"]);
    experiment.keep_only(&["mlp".to_string()]).unwrap();
    let mut progress = Obstacle {
        notes: Vec::new(),
        folder: None,
    };
    let outcome = runner(dir.path()).run(&experiment, "test", &mut progress);
    let outcome = outcome.unwrap().unwrap();
    assert_eq!(outcome.variants.len(), 1);
    let folder = progress.folder.unwrap();
    let run = Run::read(&folder).unwrap();
    assert!(run.summary.is_some() && folder.join("model.safetensors").is_file());
    let warned = |words: &str| progress.notes.iter().any(|note| note.contains(words));
    assert!(warned("some pictures are missing"), "{:?}", progress.notes);
    assert!(warned("there is no report"), "{:?}", progress.notes);
    for place in [&folder, folder.parent().unwrap()] {
        let entries = fs::read_dir(place).unwrap().flatten();
        let names = entries.map(|entry| entry.file_name().into_string().unwrap());
        let unfinished: Vec<String> = names
            .filter(|name| name.ends_with(".tmp") || name.ends_with(".partial"))
            .collect();
        assert!(unfinished.is_empty(), "{unfinished:?}");
    }
}

/// Runs of some variants: the report keeps the others, but not those of another recipe.
#[test]
fn a_report_of_some_variants_has_the_last_runs_of_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let page = || fs::read_to_string(dir.path().join("small/report.html")).unwrap();
    let whole = experiment(SMALL, &["train.epochs=1"]);
    train(&whole, dir.path());
    let cells = |page: &str, variant: &str| page.contains(&format!(">{variant}<"));
    assert!(cells(&page(), "mlp") && cells(&page(), "cnn"), "{}", page());

    let only = |sets: &[&str]| {
        let mut some = experiment(SMALL, sets);
        some.keep_only(&["mlp".to_string()]).unwrap();
        let outcome = runner(dir.path()).run(&some, "test", &mut NoProgress);
        let outcome = outcome.unwrap().unwrap();
        assert_eq!(outcome.variants.len(), 1, "the result is of what was run");
    };
    only(&["train.epochs=1"]);
    assert!(cells(&page(), "mlp") && cells(&page(), "cnn"), "{}", page());
    only(&["train.epochs=1", "train.batch_size=64"]);
    assert!(cells(&page(), "mlp") && !cells(&page(), "cnn"));

    // A report of all records names what differs from the file.
    let folders = runs_of(dir.path().join("small")).unwrap();
    assert_eq!(folders.len(), 4);
    let runs: Vec<Run> = folders.iter().map(|dir| Run::read(dir).unwrap()).collect();
    let path = dir.path().join("all.html");
    report::write_page(&path, &runs, None).unwrap();
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains("mlp with train.epochs 2 -&gt; 1"), "{text}");
    assert!(text.contains("train.batch_size 32 -&gt; 64"));
}
