//! Sweeps: killed and continued, in shards, by successive halving.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::{Sandbox, stderr, stdout};

/// A tiny network on a few images, with a checkpoint every few steps.
const BASE: &str = r#"
    question = "Which settings are best?"
    seeds = [0]

    [data]
    dataset = "fashion-mnist-sample"
    train_samples = 300
    test_samples = 200
    validation = 0.2
    transforms = [{ name = "to-tensor" }, { name = "normalize", mean = [0.286], std = [0.353] }]

    [train]
    epochs = 3
    batch_size = 16
    checkpoint = { every_steps = 3 }
    optimizer = { name = "sgd", lr = 0.05, momentum = 0.9 }

    [[variants]]
    name = "mlp"
    model = { name = "mlp", hidden = [16] }
"#;

const RANDOM: &str = r#"
    [sweep]
    method = "random"
    trials = 12
    seed = 5
    parameters = [
        { key = "train.optimizer.lr", log_uniform = [0.001, 0.1] },
        { key = "train.optimizer.momentum", uniform = [0.0, 0.8] },
        { key = "train.batch_size", integers = [12, 20] },
        { key = "model.hidden", values = [[8], [16, 12]] },
    ]
"#;

const HALVING: &str = r#"
    [sweep]
    method = "halving"
    trials = 9
    parameters = [{ key = "train.optimizer.lr", log_uniform = [0.0005, 0.05] }]
"#;

/// Arguments for the same bits on every machine.
const THREADS: [&str; 2] = ["--threads", "1"];

fn sandbox(sweep: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path().join("exp.toml"), format!("{BASE}{sweep}")).unwrap();
    sandbox
}

/// `sweep` of the experiment with these arguments; it must end with this code.
fn sweep(sandbox: &Sandbox, args: &[&str], code: i32) -> Output {
    let all = [&["sweep", "exp.toml"][..], &THREADS, args].concat();
    let output = sandbox.process(&all).output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(code),
        "{args:?}: {}",
        stderr(&output)
    );
    output
}

/// Table below `out` without the folders of the records.
fn table(sandbox: &Sandbox, out: &str) -> Value {
    let path = sandbox.path().join(out).join("exp/sweep.json");
    let text = fs::read(path).unwrap();
    let mut table: Value = serde_json::from_slice(&text).unwrap();
    for trial in table["trials"].as_array_mut().unwrap() {
        let runs = trial.as_object_mut().unwrap().remove("runs").unwrap();
        assert_eq!(runs.as_array().unwrap().len(), 1);
    }
    table
}

fn is_finished(record: &Path) -> bool {
    record.join("summary.json").is_file()
}

/// Whether a run below `out` was cut off after a checkpoint.
fn is_cut(sandbox: &Sandbox, out: &str) -> bool {
    let has_checkpoint = |record: &PathBuf| {
        let entries = fs::read_dir(record.join("checkpoint"));
        let mut names = entries
            .into_iter()
            .flatten()
            .flatten()
            .map(|e| e.file_name());
        names.any(|name| {
            let name = name.to_string_lossy();
            name.starts_with("epoch-") && !name.ends_with(".unfinished")
        })
    };
    (sandbox.records(out).iter()).any(|record| !is_finished(record) && has_checkpoint(record))
}

fn spawn(sandbox: &Sandbox, args: &[&str]) -> Child {
    let all = [&["sweep", "exp.toml"][..], &THREADS, args].concat();
    let log = File::create(sandbox.path().join("log")).unwrap();
    sandbox
        .process(&all)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// Waits until `reached`; the process must not end before.
fn wait(sandbox: &Sandbox, child: &mut Child, reached: impl Fn() -> bool) {
    let started = Instant::now();
    while !reached() {
        let log = || fs::read_to_string(sandbox.path().join("log")).unwrap();
        assert!(child.try_wait().unwrap().is_none(), "it ended: {}", log());
        assert!(started.elapsed() < Duration::from_secs(600), "{}", log());
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Table of the random sweep, trained without a disturbance.
static STRAIGHT: LazyLock<Value> = LazyLock::new(|| {
    let sandbox = sandbox(RANDOM);
    let output = sweep(&sandbox, &[], 0);
    let text = stdout(&output);
    assert!(
        text.contains("validation accuracy") && text.contains("best: trial"),
        "{text}"
    );
    let page = fs::read_to_string(sandbox.path().join("runs/exp/sweep.html")).unwrap();
    assert!(page.contains("id=\"sweep\"") && page.contains("Exp: trials"));
    let table = table(&sandbox, "runs");
    let trials = table["trials"].as_array().unwrap();
    assert_eq!((trials.len(), sandbox.records("runs").len()), (12, 12));
    let values: Vec<f64> = trials
        .iter()
        .map(|t| t["value"].as_f64().unwrap())
        .collect();
    assert!(values.is_sorted_by(|a, b| a >= b), "{values:?}");
    // Settings that make no difference would compare nothing.
    assert!(values[0] > values[11] + 0.05, "{values:?}");
    assert!(
        trials
            .iter()
            .all(|t| t["metrics"]["test_accuracy"].is_f64())
    );
    table
});

#[test]
fn a_sweep_that_was_killed_ends_with_the_table_of_an_undisturbed_one() {
    let sandbox = sandbox(RANDOM);
    let count = || {
        sandbox
            .records("killed")
            .iter()
            .filter(|r| is_finished(r))
            .count()
    };
    for _ in 0..3 {
        let before = count();
        let mut child = spawn(&sandbox, &["--out", "killed"]);
        wait(&sandbox, &mut child, || {
            count() >= before + 2 && is_cut(&sandbox, "killed")
        });
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let (done, cut) = (count(), is_cut(&sandbox, "killed"));
    assert!((6..12).contains(&done), "{done}");
    let text = stderr(&sweep(&sandbox, &["--out", "killed"], 0));
    let kept = format!("{done} of 12 runs had finished before and are kept");
    assert!(text.contains(&kept), "{text}");
    // The last kill may have come between two trials.
    assert!(!cut || text.contains("continues in killed/exp/"), "{text}");
    assert_eq!(table(&sandbox, "killed"), *STRAIGHT);
    assert_eq!(sandbox.records("killed").len(), 12);

    // Nothing is left to train.
    let text = stderr(&sweep(&sandbox, &["--out", "killed"], 0));
    assert!(text.contains("12 of 12 runs had finished before"), "{text}");
    assert_eq!(sandbox.records("killed").len(), 12);
}

#[cfg(unix)]
#[test]
fn ctrl_c_prints_the_command_that_continues() {
    let sandbox = sandbox(RANDOM);
    let all = [
        "sweep",
        "exp.toml",
        "--threads",
        "1",
        "--out",
        "killed",
        "--shard",
        "1/2",
    ];
    let child = sandbox
        .process(&all)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let started = Instant::now();
    while !is_cut(&sandbox, "killed") {
        assert!(
            started.elapsed() < Duration::from_secs(600),
            "no checkpoint"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
    let id = child.id().to_string();
    let sent = std::process::Command::new("kill")
        .args(["-INT", &id])
        .status()
        .unwrap();
    assert!(sent.success());
    let output = child.wait_with_output().unwrap();
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(130), "{text}");
    assert!(output.stdout.is_empty());
    let command = text
        .lines()
        .find_map(|line| line.strip_prefix("to continue: tallow "));
    let command = command.unwrap_or_else(|| panic!("{text}"));
    assert_eq!(
        command,
        "sweep exp.toml --out killed --threads 1 --shard 1/2"
    );
    let words: Vec<&str> = command.split(' ').collect();
    let output = sandbox.process(&words).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(sandbox.records("killed").len(), 6);
    assert!(sandbox.records("killed").iter().all(|r| is_finished(r)));
}

#[test]
fn two_shards_merged_give_the_same_table() {
    let sandbox = sandbox(RANDOM);
    let text = stderr(&sweep(&sandbox, &["--shard", "1/2", "--out", "a"], 0));
    assert!(
        text.contains("lacks the trials 2, 4, 6, 8, 10, 12, of other shards"),
        "{text}"
    );
    // Half of it is no whole table.
    let output = sweep(&sandbox, &["--collect", "a", "--out", "half"], 2);
    let text = stdout(&output);
    assert!(
        text.contains("no result yet: trials 2, 4, 6, 8, 10, 12"),
        "{text}"
    );

    sweep(&sandbox, &["--shard", "2/2", "--out", "b"], 0);
    let output = sweep(
        &sandbox,
        &["--collect", "a", "b", "--out", "merged", "--json"],
        0,
    );
    assert_eq!(table(&sandbox, "merged"), *STRAIGHT);
    let printed: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(printed["trials"].as_array().unwrap().len(), 12);
    assert!(sandbox.records("merged").is_empty());
    let text = stderr(&sweep(&sandbox, &["--collect", "a", "c"], 2));
    assert!(text.contains("c/exp: no such folder"), "{text}");
    // Other settings are other trials.
    let set = [
        "--collect",
        "a",
        "b",
        "--set",
        "train.epochs=2",
        "--out",
        "other",
    ];
    let text = stdout(&sweep(&sandbox, &set, 2));
    assert!(text.contains("no result yet: trials 1, 2, 3,"), "{text}");
}

/// Halving with nine epochs at most.
fn halving(sandbox: &Sandbox, args: &[&str], code: i32) -> Output {
    sweep(
        sandbox,
        &[args, &["--set", "train.epochs=9"]].concat(),
        code,
    )
}

#[test]
fn halving_continues_the_best_trials_from_their_checkpoints() {
    let sandbox = sandbox(HALVING);
    let text = stderr(&halving(&sandbox, &["--out", "straight"], 0));
    let continued = text.matches(" continues in straight/exp/").count();
    assert_eq!(continued, 3 + 1, "{text}");
    let straight = table(&sandbox, "straight");
    let of = |key: &str| -> Vec<String> {
        let trials = straight["trials"].as_array().unwrap().iter();
        trials.map(|trial| trial[key].to_string()).collect()
    };
    assert_eq!(of("epochs"), ["9", "3", "3", "1", "1", "1", "1", "1", "1"]);
    assert_eq!(of("rung"), ["3", "2", "2", "1", "1", "1", "1", "1", "1"]);
    let states = of("state");
    assert_eq!(states[0], "\"finished\"");
    assert!(
        states[1..].iter().all(|state| state == "\"pruned\""),
        "{states:?}"
    );

    // The best trial has the bits of a run that was never paused, whose command was printed.
    let command = text
        .lines()
        .find_map(|line| line.strip_prefix("the best by itself: tallow "));
    let command = command.unwrap_or_else(|| panic!("{text}"));
    let lr = &straight["trials"][0]["settings"]["train.optimizer.lr"];
    assert_eq!(
        command,
        format!(
            "run exp.toml --set train.optimizer.lr={lr} --set train.epochs=9 --out straight --threads 1"
        )
    );
    let plain = command.replace("--out straight", "--out plain");
    let args: Vec<&str> = plain.split(' ').collect();
    let output = sandbox.process(&args).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let weights = |record: &Path| fs::read(record.join("model.safetensors")).unwrap();
    let records_of = |out| sandbox.records(out);
    assert_eq!(records_of("straight").len(), 9);
    let whole = records_of("straight")
        .into_iter()
        .filter(|r| is_finished(r));
    let whole: Vec<PathBuf> = whole.collect();
    assert_eq!(whole.len(), 1);
    assert!(
        weights(&whole[0]) == weights(&records_of("plain")[0]),
        "other weights"
    );
    let rows = fs::read_to_string(whole[0].join("metrics.jsonl")).unwrap();
    assert_eq!(rows.lines().count(), 9);

    // Killed after the first rung.
    let mut child = spawn(&sandbox, &["--out", "killed", "--set", "train.epochs=9"]);
    let promoted = || {
        let rows = |record: &PathBuf| fs::read_to_string(record.join("metrics.jsonl"));
        let lines = |record: &PathBuf| rows(record).map_or(0, |text: String| text.lines().count());
        records_of("killed").iter().any(|record| lines(record) > 1)
    };
    wait(&sandbox, &mut child, promoted);
    child.kill().unwrap();
    child.wait().unwrap();
    let text = stderr(&halving(&sandbox, &["--out", "killed"], 0));
    assert!(text.contains(" continues in killed/exp/"), "{text}");
    assert_eq!(table(&sandbox, "killed"), straight);
    assert_eq!(records_of("killed").len(), 9);

    // In two shards, which take turns: a rung needs the results of both.
    let shard = |n: &str| stderr(&halving(&sandbox, &["--shard", n, "--out", "shards"], 0));
    let text = shard("1/2");
    let waits = "rung 1 of 3 is not complete: it waits for the trials 2, 4, 6, 8, of other shards";
    assert!(text.contains(waits), "{text}");
    for turn in 0.. {
        let texts = [shard("2/2"), shard("1/2")];
        if !texts[1].contains("is not complete") {
            break;
        }
        assert!(turn < 3, "{texts:?}");
    }
    assert_eq!(table(&sandbox, "shards"), straight);
    assert_eq!(records_of("shards").len(), 9);
}

#[test]
fn a_trial_whose_loss_is_not_finite_does_not_end_the_sweep() {
    let sandbox = sandbox(
        r#"
        [sweep]
        method = "grid"
        metric = "validation_loss"
        mode = "min"
        parameters = [{ key = "train.optimizer.lr", values = [1e30, 0.05] }]
        "#,
    );
    sweep(&sandbox, &[], 0);
    let first = table(&sandbox, "runs");
    let of = |key: &str| [0usize, 1].map(|n| first["trials"][n][key].to_string());
    assert_eq!(of("trial"), ["2", "1"]);
    assert_eq!(of("state"), ["\"finished\"", "\"diverged\""]);
    assert_eq!(first["trials"][1]["value"], Value::Null);
    // It is not tried again.
    let text = stderr(&sweep(&sandbox, &[], 0));
    assert!(text.contains("2 of 2 runs had finished before"), "{text}");
    assert_eq!(table(&sandbox, "runs"), first);
    sweep(&sandbox, &["--fresh"], 0);
    assert_eq!(table(&sandbox, "runs"), first);
    assert_eq!(sandbox.records("runs").len(), 4);
}

#[test]
fn trials_are_chosen_on_the_test_data_with_a_warning() {
    let grid = "[sweep]\nmethod = \"grid\"\nparameters = [{ key = \"train.optimizer.lr\", values = [0.01, 0.05] }]\n";
    let sandbox = Sandbox::new();
    let base = BASE.replace("validation = 0.2", "");
    fs::write(sandbox.path().join("exp.toml"), format!("{base}{grid}")).unwrap();
    // Two seeds: the metric is their mean.
    let output = sandbox
        .process(&["sweep", "exp.toml", "--seeds", "0,1", "--json"])
        .output()
        .unwrap();
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(
        text.contains("warning: sweep.metric chooses the trial by test_accuracy"),
        "{text}"
    );
    let results: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(results["metric"], "test_accuracy");
    for trial in results["trials"].as_array().unwrap() {
        let runs = trial["runs"].as_array().unwrap();
        let accuracy = |run: &Value| {
            let path = sandbox
                .path()
                .join(run.as_str().unwrap())
                .join("summary.json");
            let summary: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
            summary["metrics"]["test_accuracy"].as_f64().unwrap()
        };
        let mean = runs.iter().map(accuracy).sum::<f64>() / 2.0;
        assert_eq!(runs.len(), 2);
        assert!((trial["value"].as_f64().unwrap() - mean).abs() < 1e-12);
    }
}

#[test]
fn trials_are_listed_without_training() {
    let sandbox = sandbox(RANDOM);
    let list = |args: &[&str]| stdout(&sweep(&sandbox, &[&["--list"][..], args].concat(), 0));
    assert_eq!(list(&[]), list(&[]));
    assert!(list(&[]).contains("12 trials"), "{}", list(&[]));
    let json = |args: &[&str]| -> Vec<Value> {
        serde_json::from_str(&list(&[&["--json"][..], args].concat())).unwrap()
    };
    let all = json(&[]);
    assert_eq!(all.len(), 12);
    let mut shards = [json(&["--shard", "2/2"]), json(&["--shard", "1/2"])].concat();
    shards.sort_by_key(|trial| trial["trial"].as_u64());
    assert_eq!(shards, all);
    for trial in &all {
        let settings = &trial["settings"];
        let lr = settings["train.optimizer.lr"].as_f64().unwrap();
        assert!((0.001..=0.1).contains(&lr), "{lr}");
        assert!((12..=20).contains(&settings["train.batch_size"].as_u64().unwrap()));
    }
    assert!(!sandbox.path().join("runs").exists());

    fs::write(sandbox.path().join("exp.toml"), format!("{BASE}{HALVING}")).unwrap();
    let text = list(&["--set", "train.epochs=9"]);
    assert!(
        text.contains("rung 2: 3 of the trials up to epoch 3"),
        "{text}"
    );
}

#[test]
fn jobs_of_other_systems_are_written() {
    let sandbox = sandbox(RANDOM);
    let script = stdout(&sweep(&sandbox, &["--slurm", "--shards", "4"], 0));
    assert!(script.contains("#SBATCH --array=1-4\n"), "{script}");
    let command = "exec tallow sweep exp.toml --threads 1 --shard \"$SLURM_ARRAY_TASK_ID/4\"\n";
    assert!(script.ends_with(command), "{script}");
    sweep(&sandbox, &["--slurm=job.sh", "--shards", "4"], 0);
    let path = sandbox.path().join("job.sh");
    assert_eq!(fs::read_to_string(&path).unwrap(), script);
    #[cfg(unix)]
    {
        let checked = std::process::Command::new("bash")
            .arg("-n")
            .arg(&path)
            .status()
            .unwrap();
        assert!(checked.success());
    }

    // No job is without a trial, and a limit on those that run at once is Slurm's own.
    let args = ["--slurm", "--shards", "40", "--at-once", "3"];
    let output = sweep(&sandbox, &args, 0);
    assert!(stdout(&output).contains("#SBATCH --array=1-12%3\n"));
    let text = stderr(&output);
    assert!(text.contains("12 trials: 12 jobs, not 40"), "{text}");
    // More than most clusters allow.
    let many = RANDOM.replace("trials = 12", "trials = 1001");
    fs::write(sandbox.path().join("exp.toml"), format!("{BASE}{many}")).unwrap();
    let output = sweep(&sandbox, &["--slurm"], 0);
    assert!(stdout(&output).contains("#SBATCH --array=1-1001\n"));
    assert!(stderr(&output).contains("MaxArraySize"));
    let output = sweep(&sandbox, &["--slurm", "--shards", "1000"], 0);
    assert!(!stderr(&output).contains("MaxArraySize"));
    fs::write(sandbox.path().join("exp.toml"), format!("{BASE}{RANDOM}")).unwrap();

    let matrix: Value =
        serde_json::from_str(&stdout(&sweep(&sandbox, &["--github-matrix"], 0))).unwrap();
    let shards = matrix["shard"].as_array().unwrap();
    assert_eq!((shards.len(), &shards[11]), (12, &"12/12".into()));
    assert!(!sandbox.path().join("runs").exists());
}

#[test]
fn what_is_wrong_is_refused() {
    let sandbox = sandbox(RANDOM);
    let refused = |args: &[&str], expected: &str| {
        let output = sweep(&sandbox, args, 2);
        let text = stderr(&output);
        assert!(text.contains(expected), "{args:?}: {text}");
        assert!(output.stdout.is_empty());
    };
    refused(&["--shard", "0/4"], "from 1");
    refused(&["--shard", "5/4"], "from 1");
    refused(&["--shards", "4"], "--shard I/N");
    refused(&["--at-once", "4"], "--slurm");
    refused(
        &["--set", "train.optimizer.lr=0.1"],
        "leave one of the two out",
    );
    refused(&["--set", "train.optimizer.nesterof=true"], "did you mean");
    refused(&["--collect", "nowhere"], "nowhere/exp: no such folder");
    let write = |text: &str| fs::write(sandbox.path().join("exp.toml"), text).unwrap();
    let many = RANDOM.replace("trials = 12", "trials = 300");
    write(&format!("{BASE}{many}"));
    refused(
        &["--github-matrix"],
        "300 jobs, and GitHub Actions allows 256",
    );
    write(BASE);
    refused(&[], "exp.toml: it has no table [sweep]");
    write(&format!("{BASE}{HALVING}"));
    refused(&["--github-matrix"], "share no folder");
    write(&format!(
        "{BASE}{}",
        RANDOM.replace("trials = 12", "trials = 10001")
    ));
    refused(&[], "the sweep has 10001 trials, expected at most 10000");
    write(&format!(
        "{BASE}{}",
        RANDOM.replace("train.optimizer.lr", "train.optimizer.rate")
    ));
    refused(&[], "unknown key `train.optimizer.rate`");
    // A network that does not exist, in the last trial alone, is found before the first is trained.
    let grid = "[sweep]\nmethod = \"grid\"\nparameters = [{ key = \"model.name\", values = [\"mlp\", \"mpl\"] }]\n";
    write(&format!("{BASE}{grid}"));
    refused(&[], "mpl");
    assert!(!sandbox.path().join("runs").exists());
}
