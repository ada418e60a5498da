//! `tallow run` on several processes.

#[cfg(target_os = "linux")]
mod failure;
#[cfg(target_os = "linux")]
mod guards;
#[cfg(unix)]
mod jobs;
#[cfg(unix)]
mod moves;
#[cfg(unix)]
mod recipes;
#[cfg(unix)]
mod time;

use std::fs;

use crate::common::{Sandbox, stderr};

const EXPERIMENT: &str = r#"
    question = "Does it scale?"
    seeds = [0]

    [data]
    dataset = "fashion-mnist-sample"
    train_samples = 300
    test_samples = 200
    transforms = [{ name = "to-tensor" }, { name = "normalize", mean = [0.286], std = [0.353] }]

    [train]
    epochs = 2
    batch_size = 48
    chunks = 4
    mix = { mixup_alpha = 0.4 }
    optimizer = { name = "sgd", lr = 0.1, momentum = 0.9 }

    [[variants]]
    name = "cnn"
    model.name = "cifar-cnn-bn"

    [[variants]]
    name = "mlp"
    model = { name = "mlp", dropout = 0.2 }
"#;

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path().join("exp.toml"), EXPERIMENT).unwrap();
    sandbox
}

/// Variables of a step of Slurm that does not know of MPI.
const STEP: [(&str, &str); 2] = [("SLURM_STEP_NUM_TASKS", "4"), ("SLURM_PROCID", "1")];

#[test]
fn processes_that_mpi_does_not_know_of_are_refused() {
    let sandbox = sandbox();
    let run = |args: &[&str]| {
        let mut command = sandbox.tallow();
        let command = command
            .args(["run", "exp.toml", "--threads", "1"])
            .args(args);
        command.envs(STEP).output().unwrap()
    };
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    assert!(text.contains("srun has started 4 processes"), "{text}");
    assert!(text.contains("--mpi=pmix"), "{text}");
    // Processes that have nothing to do with each other.
    let output = run(&["--mpi", "off", "--set", "train.epochs=1", "--only", "mlp"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[cfg(unix)]
#[test]
fn a_launcher_without_a_library_is_an_error_that_says_what_to_do() {
    let sandbox = sandbox();
    // A process that knows its rank has a guard, which has its exit code.
    for rank in [None, Some("1")] {
        let mut command = sandbox.tallow();
        command
            .args(["run", "exp.toml"])
            .env("OMPI_COMM_WORLD_SIZE", "2")
            .envs(rank.map(|rank| ("OMPI_COMM_WORLD_RANK", rank)))
            .env("TALLOW_MPI", "libno-such-library.so");
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let text = stderr(&output);
        assert_eq!(
            text.matches("no MPI library was found").count(),
            1,
            "{text}"
        );
        assert!(text.contains("TALLOW_MPI"), "{text}");
    }
}

/// Without MPI, processes find each other by a file, if each has a GPU.
#[test]
fn processes_without_mpi_need_a_place_and_a_gpu() {
    let sandbox = sandbox();
    let run = |args: &[&str], variables: &[(&str, &str)]| {
        let mut command = sandbox.tallow();
        let command = command.args(["run", "exp.toml", "--threads", "1"]);
        let output = command
            .args(args)
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2));
        stderr(&output)
    };
    let place = [("RANK", "0"), ("WORLD_SIZE", "2")];
    for (args, variables, expected) in [
        (
            &["--rendezvous", "file"][..],
            &place[..1],
            "WORLD_SIZE is not set",
        ),
        (
            &["--rendezvous", "file"][..],
            &place[..],
            "needs --device cuda",
        ),
        (
            &["--rendezvous", "file", "--mpi", "on"][..],
            &[][..],
            "cannot be used with",
        ),
        (
            &[][..],
            &[("TORCHELASTIC_RUN_ID", "none"), ("WORLD_SIZE", "2")][..],
            "torchrun has started 2 processes",
        ),
    ] {
        let text = run(args, variables);
        assert!(text.contains(expected), "{text}");
    }
    assert!(!sandbox.path().join("file").exists());
}

#[test]
fn commands_of_one_process_are_refused_under_a_launcher() {
    let sandbox = sandbox();
    for args in [&["train", "pictures"][..], &["lr-find", "exp.toml"]] {
        let mut command = sandbox.tallow();
        let output = command.args(args).env("PMI_SIZE", "3").output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let text = stderr(&output);
        let expected = format!("`tallow {}` works in one process", args[0]);
        assert!(text.contains(&expected), "{text}");
    }
}

/// As on a machine without a launcher.
#[test]
fn a_process_alone_has_a_log_too() {
    let sandbox = sandbox();
    let args = ["run", "exp.toml", "--threads", "1", "--only", "mlp"];
    let run = |logs: &str| {
        let mut command = sandbox.tallow();
        let command = command.args(args).args(["--set", "train.epochs=1"]);
        command.args(["--rank-logs", logs]).output().unwrap()
    };
    let output = run("logs");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let log = fs::read_to_string(sandbox.path().join("logs/rank-0.log")).unwrap();
    assert!(log.contains("mlp seed 0  epoch 1/1"), "{log}");
    // A second run goes on after it.
    run("logs");
    let longer = fs::read_to_string(sandbox.path().join("logs/rank-0.log")).unwrap();
    assert!(longer.len() > log.len() && longer.starts_with(&log));

    let output = run("exp.toml");
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    assert!(
        text.contains("--rank-logs: cannot create the folder exp.toml"),
        "{text}"
    );
}
