//! Guard of a process of several: it tells which one has died, and how the run is continued.
//!
//! A launcher kills all processes of a job when one has died, and some name another one than the one that has died. So the process that the
//! launcher has started is a guard: it starts the program once more as its child, which trains, and waits for it. When the child is killed,
//! by the system where memory runs out, for one, the guard tells it before the launcher knows of it. A guard that is killed itself is
//! told by its child, which ends too.

use std::ffi::c_int;
use std::os::unix::process::{CommandExt, ExitStatusExt, parent_id};
use std::path::PathBuf;
use std::process::{self, Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use std::{env, io};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use signal_hook::consts::{SIGINT, SIGKILL, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;
use signal_hook::low_level::{emulate_default_handler, signal_name};
use sysinfo::System;

use crate::continuation::{self, Continuation};
use crate::ending::FAILED;
use crate::{console, interrupt, rank_log};

/// Variable by which the child knows its guard: the id of that process.
const VARIABLE: &str = "TALLOW_GUARD";

/// Time between two looks of the child at its guard.
const LOOK: Duration = Duration::from_millis(100);

/// Looks at a process that may have ended a moment ago, and the time between them.
const LOOKS: u32 = 10;
const SOON: Duration = Duration::from_millis(10);

/// Process of several that is guarded.
#[derive(Clone, Debug)]
pub struct Guarded {
    /// Its rank.
    pub rank: usize,
    /// Folder of the logs of the processes.
    pub rank_logs: Option<PathBuf>,
    /// Command that continues the run.
    pub continuation: Continuation,
}

impl Guarded {
    /// Makes this process a guard, which ends as its child does. Returns in the child; and without a guard where no child can be started.
    pub fn stand(self) {
        if let Some(folder) = &self.rank_logs {
            // Now, since the disk may be the reason for an end. What is wrong with the folder is told when the child opens it.
            let _ = rank_log::open(folder, self.rank);
        }
        let parent = parent_id();
        let named: Option<u32> = env::var(VARIABLE).ok().and_then(|id| id.parse().ok());
        match named {
            Some(guard) if guard == parent => {
                thread::spawn(move || self.look_at(guard));
                return;
            }
            // Before the child could look at it. One that lives is that of a process in which this job was started.
            Some(guard) if has_ended(guard) => self.follow(guard),
            _ => {}
        }
        // Before there is a child, which would lose its guard by a signal that comes in between.
        let signals = Signals::new([SIGINT, SIGTERM, SIGUSR1]);
        match child() {
            Ok(child) => process::exit(self.watch(child, signals)),
            Err(error) => tracing::debug!("rank {} has no guard: {error}", self.rank),
        }
    }

    /// Waits for the child; its exit code. Ends by the signal that has ended the child, so that the launcher sees it too.
    fn watch(&self, mut child: Child, signals: io::Result<Signals>) -> c_int {
        let asked = pass_on(&child, signals);
        let Ok(status) = child.wait() else {
            return FAILED.into();
        };
        if let Some(code) = status.code() {
            return code;
        }
        let signal = status.signal().unwrap_or(SIGKILL);
        // A launcher that ends the job asks first, and kills then. A child that does not listen yet ends by what it is asked by.
        let by_launcher =
            asked.load(Ordering::SeqCst) || matches!(signal, SIGINT | SIGTERM | SIGUSR1);
        if !by_launcher {
            let name = signal_name(signal).map_or_else(|| format!("signal {signal}"), String::from);
            let why = match signal {
                SIGKILL => ", as the system ends programs where memory runs out",
                _ => "",
            };
            self.tell(child.id(), &format!("was ended by {name}{why}"));
        }
        let _ = emulate_default_handler(signal);
        128 + signal
    }

    /// Looks at the guard of this process until it is gone, and ends then.
    fn look_at(&self, guard: u32) {
        let mut asked = false;
        while parent_id() == guard {
            asked = interrupt::requested();
            thread::sleep(LOOK);
        }
        // A launcher that ends the job asks first, and kills then.
        if asked {
            die();
        }
        self.follow(guard)
    }

    /// Tells that the guard is gone, and ends too.
    fn follow(&self, guard: u32) -> ! {
        self.tell(guard, "was killed");
        die()
    }

    /// Tells what has happened to the process of this rank.
    fn tell(&self, id: u32, what: &str) {
        let host = System::host_name().unwrap_or_else(|| "this machine".to_string());
        let text = format!(
            "error: rank {} (process {id} on {host}) {what}; all processes end with it",
            self.rank
        );
        let found = self.continuation.clone();
        let next = move || Some(found.line());
        console::last_words(&text, next, Some(continuation::SAME));
    }
}

/// Ends this process as one that was killed.
fn die() -> ! {
    let _ = emulate_default_handler(SIGKILL);
    // The first process of a container does not die by that.
    process::exit(FAILED.into())
}

/// Whether there is no process of this id. One that has ended is there until its parent has taken note, which takes a moment.
fn has_ended(id: u32) -> bool {
    let id = i32::try_from(id).ok().and_then(Pid::from_raw);
    id.is_some_and(|id| {
        (0..LOOKS).any(|look| {
            if look > 0 {
                thread::sleep(SOON);
            }
            test_kill_process(id) == Err(Errno::SRCH)
        })
    })
}

/// This program with the same arguments, as a child that has this process for its guard.
fn child() -> io::Result<Child> {
    let mut arguments = env::args_os();
    let mut command = Command::new(env::current_exe()?);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    command
        .args(arguments)
        .env(VARIABLE, process::id().to_string())
        .spawn()
}

/// Passes signals on to the child, which knows what they mean. Launchers send them to both, which does no harm. Returns whether one of them
/// has asked the child to end.
fn pass_on(child: &Child, signals: io::Result<Signals>) -> Arc<AtomicBool> {
    let asked = Arc::new(AtomicBool::new(false));
    let Ok(mut signals) = signals else {
        return asked;
    };
    let (child, note) = (Pid::from_child(child), asked.clone());
    thread::spawn(move || {
        for signal in signals.forever() {
            note.fetch_or(signal != SIGUSR1, Ordering::SeqCst);
            if let Some(signal) = Signal::from_named_raw(signal) {
                let _ = kill_process(child, signal);
            }
        }
    });
    asked
}
