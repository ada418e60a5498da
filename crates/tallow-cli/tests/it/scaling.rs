//! `tallow run` on several processes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command as Process;

use crate::common::{Sandbox, skipped, stderr};

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

#[test]
fn a_launcher_without_a_library_is_an_error_that_says_what_to_do() {
    let sandbox = sandbox();
    let mut command = sandbox.tallow();
    command
        .args(["run", "exp.toml"])
        .env("OMPI_COMM_WORLD_SIZE", "2")
        .env("TALLOW_MPI", "libno-such-library.so");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    assert!(text.contains("no MPI library was found"), "{text}");
    assert!(text.contains("TALLOW_MPI"), "{text}");
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

/// Job of so many processes of the program, with its exit code and standard error; `None` where there is no MPI.
fn mpirun(sandbox: &Sandbox, processes: usize, args: &[&str]) -> Option<(Option<i32>, String)> {
    let mpirun = std::env::var("TALLOW_MPIRUN").unwrap_or_else(|_| "mpirun".to_string());
    let mut command = Process::new(&mpirun);
    command
        .args(["-n", &processes.to_string()])
        .arg(assert_cmd::cargo::cargo_bin!("tallow"))
        .args(args)
        .current_dir(sandbox.path())
        .envs(sandbox.environment())
        // A container's user is root, and has few processors.
        .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
        .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
        .env("OMPI_MCA_rmaps_base_oversubscribe", "1")
        .env("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe")
        .env("OMPI_MCA_hwloc_base_binding_policy", "none");
    match command.output() {
        Err(error) => {
            skipped(&format!("{mpirun}: {error}"));
            None
        }
        Ok(output) if stderr(&output).contains("no MPI library was found") => {
            skipped("mpirun is there, but not its library; TALLOW_MPI may name it");
            None
        }
        Ok(output) => Some((output.status.code(), stderr(&output))),
    }
}

/// Records of a run, by their variants.
fn records(sandbox: &Sandbox, out: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(sandbox.path().join(out).join("exp")).unwrap();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.join("environment.json").is_file());
    found.sort_by_key(|path| path.to_string_lossy().contains("mlp"));
    found
}

fn weights(record: &Path) -> Vec<u8> {
    fs::read(record.join("model.safetensors")).unwrap()
}

#[test]
fn processes_train_the_weights_of_one() {
    let sandbox = sandbox();
    let arguments = |out: &'static str| ["run", "exp.toml", "--threads", "1", "--out", out];
    let output = sandbox.tallow().args(arguments("alone")).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let alone = records(&sandbox, "alone");
    for (processes, out) in [(2, "two"), (4, "four")] {
        let Some((code, text)) = mpirun(&sandbox, processes, &arguments(out)) else {
            return;
        };
        assert_eq!(code, Some(0), "{text}");
        let shared = records(&sandbox, out);
        assert_eq!(shared.len(), 2, "{text}");
        for (a, b) in alone.iter().zip(&shared) {
            assert!(weights(a) == weights(b), "{}: other weights", b.display());
        }
        let environment = fs::read_to_string(shared[0].join("environment.json")).unwrap();
        let environment: serde_json::Value = serde_json::from_str(&environment).unwrap();
        assert_eq!(environment["environment"]["world"]["ranks"], processes);
    }
}

#[test]
fn an_error_of_all_processes_is_told_once_with_its_exit_code() {
    let sandbox = sandbox();
    let args = [
        "run",
        "exp.toml",
        "--threads",
        "1",
        "--set",
        "train.chunks=3",
    ];
    let Some((code, text)) = mpirun(&sandbox, 2, &args) else {
        return;
    };
    assert_eq!(code, Some(2), "{text}");
    assert_eq!(
        text.matches("2 ranks cannot share 3 chunks").count(),
        1,
        "{text}"
    );
}
