//! Jobs of `tallow`, and what they leave.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::{Sandbox, newest_checkpoint};
use crate::launcher::{Ended, Job, Launcher, run};

/// Time after which a job that hangs is ended.
pub const LONGEST: Duration = Duration::from_secs(600);

/// The program.
pub fn program() -> &'static Path {
    assert_cmd::cargo::cargo_bin!("tallow")
}

/// Command of a launcher with the arguments of the program, in a sandbox.
pub fn within(mut command: Command, sandbox: &Sandbox, args: &[&str]) -> Command {
    command
        .args(args)
        .current_dir(sandbox.path())
        .envs(sandbox.environment());
    command
}

/// Job of so many processes on this machine, with its end; `None` where the library is missing.
pub fn together(
    launcher: &Launcher,
    processes: usize,
    sandbox: &Sandbox,
    args: &[&str],
) -> Option<Ended> {
    let command = launcher.start(processes, program());
    run(within(command, sandbox, args), LONGEST)
}

/// Starts a job of so many processes, and waits until it has written a new checkpoint below `out`. `None` where the library is missing.
pub fn under_way(
    launcher: &Launcher,
    processes: usize,
    sandbox: &Sandbox,
    (args, out): (&[&str], &str),
) -> Option<Job> {
    let newest = || newest_checkpoint(&records(sandbox, out));
    let before = newest();
    let command = launcher.start(processes, program());
    until(within(command, sandbox, args), || newest() > before)
}

/// Starts a job, and waits until it has come so far. `None` where the library is missing.
pub fn until(command: Command, is_so_far: impl Fn() -> bool) -> Option<Job> {
    let mut job = Job::start(command);
    let started = Instant::now();
    while !is_so_far() {
        if job.is_over() {
            let ended = job.end(LONGEST)?;
            panic!("it has ended before it came so far: {}", ended.text);
        }
        assert!(started.elapsed() < LONGEST, "not so far: {}", job.text());
        std::thread::sleep(Duration::from_millis(1));
    }
    Some(job)
}

/// Records below `out`, of whichever experiment.
pub fn records(sandbox: &Sandbox, out: &str) -> Vec<PathBuf> {
    let experiments = fs::read_dir(sandbox.path().join(out));
    let experiments = experiments.into_iter().flatten().flatten();
    let names = experiments.filter_map(|entry| entry.file_name().into_string().ok());
    let found = names.map(|name| sandbox.records_of(&name, out));
    found.flatten().collect()
}

/// A JSON file of a record.
pub fn json(record: &Path, name: &str) -> Value {
    serde_json::from_slice(&fs::read(record.join(name)).unwrap()).unwrap()
}

/// Final weights below `out`, by variant.
pub fn weights(sandbox: &Sandbox, out: &str) -> BTreeMap<String, Vec<u8>> {
    let weights = |record: &PathBuf| {
        let environment = json(record, "environment.json");
        let variant = environment["run"]["variant"].as_str().unwrap().to_string();
        (variant, fs::read(record.join("model.safetensors")).unwrap())
    };
    records(sandbox, out).iter().map(weights).collect()
}

/// Checks that the variants below two folders have the same weights, to the bit.
pub fn assert_same_weights(sandbox: &Sandbox, (expected, found): (&str, &str)) {
    let (before, after) = (weights(sandbox, expected), weights(sandbox, found));
    let variants =
        |weights: &BTreeMap<String, Vec<u8>>| -> Vec<String> { weights.keys().cloned().collect() };
    assert_eq!(variants(&before), variants(&after), "{found}");
    for (variant, weights) in &before {
        assert!(
            *weights == after[variant],
            "{found}, {variant}: other weights"
        );
    }
}

/// Sends a signal to a process.
pub fn signal(name: &str, process: u32) {
    let process = process.to_string();
    let sent = Command::new("kill").args([name, &process]).status();
    assert!(sent.unwrap().success(), "{name} to {process}");
}

/// The command that a message says continues the run, without the name of the program.
pub fn continuation(text: &str) -> Vec<String> {
    let mut lines = text.lines();
    let command = lines.find_map(|line| line.trim().strip_prefix("to continue: tallow "));
    let command = command.unwrap_or_else(|| panic!("no command that continues in: {text}"));
    command.split(' ').map(String::from).collect()
}
