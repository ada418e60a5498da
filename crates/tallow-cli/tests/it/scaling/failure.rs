//! Processes that are killed or stopped.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::jobs::{continuation, program, signal, under_way, until, within};
use super::moves::{finish, trained};
use super::sandbox;
use crate::launcher::Launcher;

/// Time in which a job must end when one of its processes has died.
pub const AT_ONCE: Duration = Duration::from_secs(10);

/// Variables by which launchers tell a process its rank.
const RANKS: [&str; 2] = ["OMPI_COMM_WORLD_RANK", "PMI_RANK"];

/// Process of a rank.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    /// The one that trains.
    Child,
    /// The one that the launcher has started.
    Guard,
}

/// Id of the process of a rank of the job that was started in this folder.
fn process(folder: &Path, rank: usize, part: Part) -> u32 {
    let folder = folder.canonicalize().unwrap();
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let found = entries.filter_map(|entry| {
        let id: u32 = entry.file_name().to_str()?.parse().ok()?;
        let path = entry.path();
        let here = fs::read_link(path.join("cwd")).ok()? == folder;
        let is_program = fs::read_to_string(path.join("comm")).ok()?.trim() == "tallow";
        let environment = fs::read(path.join("environ")).ok()?;
        let variables = || environment.split(|&byte| byte == 0);
        let of_rank = RANKS.iter().any(|name| {
            let expected = format!("{name}={rank}").into_bytes();
            variables().any(|variable| variable == expected)
        });
        let is_child = variables().any(|variable| variable.starts_with(b"TALLOW_GUARD="));
        let wanted = is_child == (part == Part::Child);
        (here && is_program && of_rank && wanted).then_some(id)
    });
    let found: Vec<u32> = found.collect();
    let [id] = found[..] else {
        panic!("{part:?} of rank {rank}: {found:?}")
    };
    id
}

/// Whether a process has ended; its parent may not have noticed it yet.
fn has_ended(id: u32) -> bool {
    let Ok(text) = fs::read_to_string(format!("/proc/{id}/stat")) else {
        return true;
    };
    // The state is the word after the name, which is in brackets.
    let state = text.rsplit(')').next().unwrap_or_default();
    state.trim_start().starts_with('Z')
}

pub fn assert_ends(id: u32) {
    let started = Instant::now();
    while !has_ended(id) {
        assert!(started.elapsed() < AT_ONCE, "process {id} is left");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Processes are killed in turn, and the run continues each time by the command that was told, with another number of them.
#[test]
fn a_killed_process_is_named_and_the_run_continues_with_the_same_bits() {
    let launchers = Launcher::all();
    if launchers.is_empty() {
        return;
    }
    let sandbox = trained();
    for launcher in launchers {
        let out = launcher.name();
        let first = ["run", "exp.toml", "--threads", "1", "--out", out];
        let mut args: Vec<String> = first.map(String::from).to_vec();
        for (processes, rank, part) in [
            (4, 1, Part::Child),
            (2, 0, Part::Child),
            (4, 3, Part::Guard),
            (2, 0, Part::Guard),
        ] {
            let logs = format!("{out}-logs-{processes}");
            args.extend(["--rank-logs".to_string(), logs.clone()]);
            let now: Vec<&str> = args.iter().map(String::as_str).collect();
            let Some(job) = under_way(&launcher, processes, &sandbox, (&now, out)) else {
                return;
            };
            let case = format!("{out}, {part:?} of rank {rank} of {processes}");
            let killed = process(sandbox.path(), rank, part);
            let all: Vec<u32> = (0..processes)
                .flat_map(|rank| {
                    [Part::Child, Part::Guard].map(|part| process(sandbox.path(), rank, part))
                })
                .collect();
            signal("-KILL", killed);
            let Some(ended) = job.end(AT_ONCE) else {
                return;
            };
            let text = &ended.text;
            assert_ne!(ended.code, Some(0), "{case}: {text}");
            let named = format!("error: rank {rank} (process {killed} on ");
            assert_eq!(text.matches(&named).count(), 1, "{case}: {text}");
            // No other one is said to have died.
            assert_eq!(text.matches("error: rank ").count(), 1, "{case}: {text}");
            let log = sandbox.path().join(&logs).join(format!("rank-{rank}.log"));
            let log = fs::read_to_string(log).unwrap();
            assert!(log.contains(&named), "{case}: {log}");
            all.into_iter().for_each(assert_ends);
            args = continuation(text);
        }
        finish(&sandbox, out);
    }
}

/// Before the first checkpoint, and most often before the first step. No other process tells an error, though all lose one.
#[test]
fn a_process_that_is_killed_at_the_start_is_named_alone() {
    for launcher in Launcher::all() {
        let sandbox = sandbox();
        let args = ["run", "exp.toml", "--threads", "1", "--rank-logs", "logs"];
        let log = sandbox.path().join("logs/rank-0.log");
        let joined = || {
            let text = fs::read_to_string(&log).unwrap_or_default();
            text.contains("2 processes on one machine")
        };
        let command = within(launcher.start(2, program()), &sandbox, &args);
        let Some(job) = until(command, joined) else {
            continue;
        };
        let killed = process(sandbox.path(), 1, Part::Child);
        signal("-KILL", killed);
        let Some(ended) = job.end(AT_ONCE) else {
            continue;
        };
        let (name, text) = (launcher.name(), &ended.text);
        assert_ne!(ended.code, Some(0), "{name}: {text}");
        let errors = text.lines().filter(|line| {
            let line = line.trim_start();
            line.starts_with("error: ") || line.starts_with("rank 0: error: ")
        });
        let errors: Vec<&str> = errors.collect();
        let [error] = errors[..] else {
            panic!("{name}: {text}")
        };
        let named = format!("error: rank 1 (process {killed} on ");
        assert!(error.trim_start().starts_with(&named), "{name}: {text}");
        assert!(text.contains("to continue"), "{name}: {text}");
    }
}

/// No launcher notices it.
#[test]
fn a_stopped_process_ends_the_job_after_the_limit() {
    for launcher in Launcher::all() {
        let sandbox = trained();
        for (rank, limit) in [(1, 5), (0, 2)] {
            let out = format!("stopped-{rank}");
            let limit_text = limit.to_string();
            let args = ["run", "exp.toml", "--threads", "1", "--out", &out];
            let args = [&args[..], &["--comm-timeout", &limit_text]].concat();
            let Some(job) = under_way(&launcher, 2, &sandbox, (&args, &out)) else {
                break;
            };
            let stopped = process(sandbox.path(), rank, Part::Child);
            signal("-STOP", stopped);
            let Some(ended) = job.end(Duration::from_secs(limit) + AT_ONCE) else {
                break;
            };
            let (name, text) = (launcher.name(), &ended.text);
            assert_ne!(ended.code, Some(0), "{name}: {text}");
            let told = format!("s for rank {rank}: it has stopped");
            assert!(text.contains(&told), "{name}: {text}");
            continuation(text);
            assert_ends(stopped);
            finish(&sandbox, &out);
        }
    }
}

/// A job that is asked to end does so without a word on a death.
#[test]
fn a_launcher_that_is_told_to_end_is_no_death() {
    for launcher in Launcher::all() {
        let sandbox = trained();
        let args = ["run", "exp.toml", "--threads", "1", "--out", "told"];
        let Some(job) = under_way(&launcher, 2, &sandbox, (&args, "told")) else {
            continue;
        };
        signal("-TERM", job.id());
        let Some(ended) = job.end(AT_ONCE) else {
            continue;
        };
        let (name, text) = (launcher.name(), &ended.text);
        assert_ne!(ended.code, Some(0), "{name}: {text}");
        assert!(!text.contains("error: rank "), "{name}: {text}");
        finish(&sandbox, "told");
    }
}

/// The guard passes signals on, and has the exit code of its child.
#[test]
fn a_guard_stands_for_its_child() {
    for launcher in Launcher::all() {
        let sandbox = trained();
        let args = ["run", "exp.toml", "--threads", "1", "--out", "asked"];
        let Some(job) = under_way(&launcher, 2, &sandbox, (&args, "asked")) else {
            continue;
        };
        signal("-USR1", process(sandbox.path(), 1, Part::Guard));
        let Some(ended) = job.end(AT_ONCE) else {
            continue;
        };
        assert_eq!(ended.code, Some(130), "{}: {}", launcher.name(), ended.text);
        finish(&sandbox, "asked");
    }
}
