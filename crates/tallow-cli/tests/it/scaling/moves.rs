//! A run that goes on with other numbers of processes.

use std::fs;

use super::jobs::{LONGEST, continuation, records, signal, under_way};
use crate::common::{Sandbox, stderr};
use crate::launcher::Launcher;
use crate::resume::assert_same;

/// Everything that depends on the position of a run or on chunks: dropout, mixup and CutMix, an average of the weights, momentum, a schedule by step,
/// augmentation, a short last batch, validation and the best weights.
const EXPERIMENT: &str = r#"
    question = "Does it go on?"
    seeds = [0]

    [data]
    dataset = "fashion-mnist-sample"
    train_samples = 650
    test_samples = 200
    transforms = [{ name = "to-tensor" }, { name = "normalize", mean = [0.286], std = [0.353] }]
    validation = 0.1

    [train]
    epochs = 40
    batch_size = 64
    chunks = 4
    restore_best = true
    evaluate_every = 4
    checkpoint = { every_steps = 5 }
    augment = [{ name = "random-crop", size = 28, padding = 2 }]
    optimizer = { name = "sgd", lr = 0.05, momentum = 0.9 }
    schedule = { curve = { name = "cosine" }, per = "step", warmup = { steps = 10 } }
    mix = { mixup_alpha = 0.4, cutmix_alpha = 1.0 }
    ema = { decay = 0.98, every = 2 }

    [[variants]]
    name = "mlp"
    model = { name = "mlp", dropout = 0.2 }
"#;

/// Sandbox with the experiment, which a single process has trained with the folder `alone`.
pub fn trained() -> Sandbox {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path().join("exp.toml"), EXPERIMENT).unwrap();
    let args = ["run", "exp.toml", "--threads", "1", "--out", "alone"];
    let output = sandbox.tallow().args(args).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    sandbox
}

/// Continues the run below `out` in a single process, up to its end, and checks that it is that of `alone`.
pub fn finish(sandbox: &Sandbox, out: &str) {
    let args = ["run", "--resume", "--out", out];
    let output = sandbox.tallow().args(args).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let found = records(sandbox, out);
    let [record] = &found[..] else {
        panic!("{found:?}")
    };
    assert_same(&records(sandbox, "alone")[0], record);
}

/// Each time the launcher is told to stop, by the signal that it passes on to all processes.
#[test]
fn a_run_moves_from_four_processes_to_two_to_one() {
    let launchers = Launcher::all();
    if launchers.is_empty() {
        return;
    }
    let sandbox = trained();
    for launcher in launchers {
        let out = launcher.name();
        let first = ["run", "exp.toml", "--threads", "1", "--out", out];
        let mut args: Vec<String> = first.map(String::from).to_vec();
        for processes in [4, 2] {
            let now: Vec<&str> = args.iter().map(String::as_str).collect();
            let Some(job) = under_way(&launcher, processes, &sandbox, (&now, out)) else {
                return;
            };
            signal("-USR1", job.id());
            let Some(ended) = job.end(LONGEST) else {
                return;
            };
            let text = &ended.text;
            assert_eq!(ended.code, Some(130), "{out}, {processes}: {text}");
            args = continuation(text);
            let record = records(&sandbox, out).pop().unwrap();
            let name = record.file_name().unwrap().to_str().unwrap();
            let expected = format!("{out}/exp/{name}");
            assert_eq!(args, ["run", "--resume", &expected]);
        }
        finish(&sandbox, out);
    }
}
