//! Guards and their children, without a launcher.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use super::failure::{AT_ONCE, assert_ends};
use super::jobs::signal;
use super::sandbox;
use crate::common::{Sandbox, stderr};

/// Arguments of the program.
const ARGUMENTS: [&str; 4] = ["run", "exp.toml", "--rank-logs", "logs"];

/// Variables of the second of two processes.
const RANK: [(&str, &str); 2] = [("OMPI_COMM_WORLD_SIZE", "2"), ("OMPI_COMM_WORLD_RANK", "1")];

const SIGUSR1: i32 = 10;
const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

/// Guard whose child waits forever, before MPI has started.
struct Guarded {
    sandbox: Sandbox,
    guard: Child,
    child: u32,
}

/// Signal by which a guard has ended, what both have printed, and their log.
struct Ended {
    signal: Option<i32>,
    text: String,
    log: String,
}

/// Makes a pipe to which nobody writes: who opens it waits.
fn make_pipe(path: &Path) {
    let made = Command::new("mkfifo").arg(path).status().unwrap();
    assert!(made.success(), "{}", path.display());
}

/// Process that this one has started.
fn child_of(parent: u32) -> Option<u32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let mut ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.find(|id| {
        let text = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // State and parent are the words after the name, which is in brackets.
        let words = text.rsplit(')').next().unwrap_or_default();
        let found = words.split_whitespace().nth(1);
        found.and_then(|word| word.parse::<u32>().ok()) == Some(parent)
    })
}

impl Guarded {
    fn start(sandbox: Sandbox) -> Self {
        let library = sandbox.path().join("library");
        make_pipe(&library);
        let mut command = sandbox.process(&ARGUMENTS);
        command
            .envs(RANK)
            .env("TALLOW_MPI", &library)
            .stderr(File::create(sandbox.path().join("text")).unwrap());
        let guard = command.spawn().unwrap();
        let started = Instant::now();
        let child = loop {
            if let Some(child) = child_of(guard.id()) {
                break child;
            }
            assert!(started.elapsed() < AT_ONCE, "the guard has no child");
            thread::sleep(Duration::from_millis(5));
        };
        Self {
            sandbox,
            guard,
            child,
        }
    }

    /// Waits for the end of both.
    fn end(mut self) -> Ended {
        let started = Instant::now();
        let status = loop {
            if let Some(status) = self.guard.try_wait().unwrap() {
                break status;
            }
            assert!(started.elapsed() < AT_ONCE, "the guard is left");
            thread::sleep(Duration::from_millis(5));
        };
        assert_ends(self.child);
        let read = |name: &str| fs::read_to_string(self.sandbox.path().join(name)).unwrap();
        Ended {
            signal: status.signal(),
            text: read("text"),
            log: read("logs/rank-1.log"),
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // Ended already, unless the test has failed. A guard that is killed takes its child with it.
        let _ = self.guard.kill();
        let _ = self.guard.wait();
    }
}

/// Checks that one process is named, with the word that the run continues.
#[track_caller]
fn assert_named(text: &str, id: u32, what: &str) {
    assert_eq!(text.matches("error: ").count(), 1, "{text}");
    let begin = format!("error: rank 1 (process {id} on ");
    let named = |line: &str| line.starts_with(&begin) && line.contains(what);
    assert!(text.lines().any(named), "{text}");
    assert!(text.contains("the same command again"), "{text}");
}

#[test]
fn a_guard_names_a_child_that_is_killed() {
    let guarded = Guarded::start(sandbox());
    let child = guarded.child;
    signal("-KILL", child);
    let ended = guarded.end();
    assert_eq!(ended.signal, Some(SIGKILL));
    assert_named(&ended.text, child, "was ended by SIGKILL");
    assert_named(&ended.log, child, "was ended by SIGKILL");
}

/// The child may not have looked at it yet.
#[test]
fn a_child_names_a_guard_that_is_killed() {
    let guarded = Guarded::start(sandbox());
    let guard = guarded.guard.id();
    signal("-KILL", guard);
    let ended = guarded.end();
    assert_eq!(ended.signal, Some(SIGKILL));
    assert_named(&ended.text, guard, "was killed");
    assert_named(&ended.log, guard, "was killed");
}

/// Signals come as soon as there is a child, which does not listen yet.
#[test]
fn a_process_that_is_asked_to_end_is_no_death() {
    for (name, number) in [("-TERM", SIGTERM), ("-USR1", SIGUSR1)] {
        let guarded = Guarded::start(sandbox());
        signal(name, guarded.guard.id());
        let ended = guarded.end();
        assert_eq!(ended.signal, Some(number), "{}", ended.text);
        assert_eq!((&*ended.text, &*ended.log), ("", ""));
    }
}

/// The guard is gone before its child has begun.
#[test]
fn a_child_whose_guard_is_gone_does_not_go_on() {
    let sandbox = sandbox();
    let mut gone = Command::new("true").spawn().unwrap();
    gone.wait().unwrap();
    let output = sandbox
        .process(&ARGUMENTS)
        .envs(RANK)
        .env("TALLOW_GUARD", gone.id().to_string())
        .env("TALLOW_MPI", "libno-such-library.so")
        .output()
        .unwrap();
    assert_eq!(output.status.signal(), Some(SIGKILL));
    assert_named(&stderr(&output), gone.id(), "was killed");
}

/// The folder of the records is on a disk that does not answer.
#[test]
fn a_child_is_named_though_the_disk_stands_still() {
    let sandbox = sandbox();
    let folder = sandbox.out().join("exp");
    fs::create_dir_all(&folder).unwrap();
    make_pipe(&folder.join("unfinished-20260131T000000Z.json"));
    let guarded = Guarded::start(sandbox);
    let child = guarded.child;
    signal("-KILL", child);
    let ended = guarded.end();
    assert_eq!(ended.signal, Some(SIGKILL));
    assert_named(&ended.text, child, "was ended by SIGKILL");
}
