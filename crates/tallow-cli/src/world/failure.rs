//! End of processes that train together, by an error or a panic of one of them.

use std::any::Any;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Error;
use tallow_train::Communicator;

use crate::continuation::Continuation;
use crate::ending::FAILED;
use crate::{console, interrupt, output};

/// Time in which the guard of a process that has died may tell it, before the first process tells what it has seen of that.
const GUARD_SPEAKS: Duration = Duration::from_secs(1);

/// Time in which the first process may tell what all have seen, as most errors are, before another one tells it.
const FIRST_SPEAKS: Duration = Duration::from_secs(2);

/// Time for which a process waits for each one before it, of at most so many, where the first one may be the one that has died.
const NEXT_SPEAKS: Duration = Duration::from_millis(500);
const WAITED_FOR: usize = 20;

/// Time in which a launcher that ends the job kills this process.
const LAUNCHER_ENDS: Duration = Duration::from_secs(5);

/// Time between two looks whether the launcher ends the job.
const LOOK: Duration = Duration::from_millis(10);

/// Exit code of a program in Rust that has panicked.
const PANICKED: u8 = 101;

/// Reason for which a process ends all.
pub struct Failure {
    message: String,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Error of this process, or of all.
    Error,
    /// Another process has ended, or does not answer, as the others see too.
    OfRanks,
    Panic,
}

impl Failure {
    /// Error of this process, with its message for the user.
    pub fn of_error(error: &Error, message: String) -> Self {
        let kind = if is_of_ranks(error) {
            Kind::OfRanks
        } else {
            Kind::Error
        };
        Self { message, kind }
    }

    /// Panic of this process.
    pub fn of_panic(panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Self {
            message: text.unwrap_or("without a message").to_string(),
            kind: Kind::Panic,
        }
    }

    /// Tells it, and ends all processes.
    pub fn end(&self, ranks: &dyn Communicator, continuation: &Continuation) -> ! {
        self.tell(ranks.rank(), continuation);
        let code = match self.kind {
            Kind::Panic => PANICKED,
            Kind::Error | Kind::OfRanks => FAILED,
        };
        ranks.abort(code.into(), &self.message);
        end_process(code)
    }

    /// Tells it to the user as this rank, when those who know better have had the time to.
    fn tell(&self, rank: usize, continuation: &Continuation) {
        if asked_within(self.turn(rank), interrupt::requested) {
            // One of them has told it and ended, and the launcher kills this process too. A user who has asked is told all the same.
            thread::sleep(LAUNCHER_ENDS);
        }
        let continuation = (self.kind != Kind::Error).then(|| continuation.clone());
        console::last_words(&self.text(rank), move || continuation?.known(), None);
    }

    fn text(&self, rank: usize) -> String {
        let message = &self.message;
        match (self.kind, rank) {
            (Kind::Panic, rank) => {
                format!("error: rank {rank} has panicked: {message}; all processes end with it")
            }
            (_, 0) => format!("error: {message}"),
            (_, rank) => format!("rank {rank}: error: {message}"),
        }
    }

    /// Time that a rank leaves to those before it.
    fn turn(&self, rank: usize) -> Duration {
        match (rank, self.kind) {
            (0, Kind::OfRanks) => GUARD_SPEAKS,
            (0, _) => Duration::ZERO,
            (rank, Kind::OfRanks) => FIRST_SPEAKS + NEXT_SPEAKS * (rank - 1).min(WAITED_FOR) as u32,
            _ => FIRST_SPEAKS,
        }
    }
}

/// Error of the start of MPI, for the caller. One that the processes have since another one has ended, this one included, is told here, and
/// ends it.
pub fn before_the_world(error: Error, rank: usize, continuation: &Continuation) -> Error {
    if !is_of_ranks(&error) {
        return error;
    }
    let message = output::message(&error);
    Failure::of_error(&error, message).tell(rank, continuation);
    end_process(FAILED)
}

/// Ends this process at once, without what libraries have registered for its end: it may wait for processes that are gone.
fn end_process(code: u8) -> ! {
    #[cfg(unix)]
    signal_hook::low_level::exit(code.into());
    #[cfg(not(unix))]
    std::process::exit(code.into())
}

/// Waits so long, or until this process is asked to end, as launchers do when they have noticed that another one has ended. Whether it is. One that
/// was asked before is not asked again.
fn asked_within(time: Duration, is_asked: impl Fn() -> bool) -> bool {
    let (started, before) = (Instant::now(), is_asked());
    while started.elapsed() < time {
        thread::sleep(LOOK);
        if !before && is_asked() {
            return true;
        }
    }
    false
}

/// Whether the processes could not go on together: one of them has ended, or does not answer.
fn is_of_ranks(error: &Error) -> bool {
    use tallow_mpi::Error::{Call, Ranks, Thread};
    // At the start and at the end.
    if let Some(error) = error.downcast_ref::<tallow_mpi::Error>() {
        return matches!(error, Call { .. } | Ranks(_) | Thread(_));
    }
    let is_of_ranks = |error: &tallow_train::Error| matches!(error, tallow_train::Error::Ranks(_));
    if let Some(error) = error.downcast_ref::<tallow_train::Error>() {
        return is_of_ranks(error);
    }
    let mut found = error.downcast_ref::<tallow_experiment::Error>();
    while let Some(tallow_experiment::Error::Context { source, .. }) = found {
        found = Some(source);
    }
    match found {
        Some(tallow_experiment::Error::Train(error)) => is_of_ranks(error),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn an_error_of_the_ranks_is_known_wherever_it_is_from() {
        let ranks = || tallow_train::Error::Ranks("rank 1 has ended".to_string());
        let trained = || tallow_experiment::Error::from(ranks());
        let below = tallow_experiment::Error::Context {
            context: "[1/2] cnn seed 0".to_string(),
            source: Box::new(trained()),
        };
        assert!(is_of_ranks(&trained().into()));
        assert!(is_of_ranks(&below.into()));
        assert!(is_of_ranks(&ranks().into()));
        assert!(is_of_ranks(&Error::from(ranks()).context("at the end")));
        let call = tallow_mpi::Error::Call {
            function: "MPI_Test",
            code: 15,
            text: String::new(),
        };
        assert!(is_of_ranks(&call.into()));
        assert!(is_of_ranks(&tallow_mpi::Error::from(ranks()).into()));
        let others: [Error; 4] = [
            tallow_mpi::Error::NoLibrary { tried: Vec::new() }.into(),
            tallow_train::Error::custom("another one").into(),
            tallow_experiment::Error::Data("empty".to_string()).into(),
            anyhow::anyhow!("another one"),
        ];
        for other in others {
            assert!(!is_of_ranks(&other), "{other}");
        }
    }

    #[test]
    fn those_who_know_better_speak_first() {
        let of = |kind| Failure {
            message: "the disk is full".to_string(),
            kind,
        };
        let turns = |kind| [0, 1, 2, 1000].map(|rank| of(kind).turn(rank).as_millis());
        assert_eq!(turns(Kind::Error), [0, 2000, 2000, 2000]);
        assert_eq!(turns(Kind::Panic), [0, 2000, 2000, 2000]);
        // The guard of a process that has died, the first process, and the others one by one.
        assert_eq!(turns(Kind::OfRanks), [1000, 2000, 2500, 12_000]);
        assert_eq!(of(Kind::Error).text(0), "error: the disk is full");
        assert_eq!(of(Kind::OfRanks).text(2), "rank 2: error: the disk is full");
    }

    #[test]
    fn a_panic_is_told_with_its_rank() {
        for rank in [0, 3] {
            let panic = std::panic::catch_unwind(|| panic!("at step {}", 7)).unwrap_err();
            let expected =
                format!("error: rank {rank} has panicked: at step 7; all processes end with it");
            assert_eq!(Failure::of_panic(&*panic).text(rank), expected);
        }
        let plain = std::panic::catch_unwind(|| panic!("plain")).unwrap_err();
        assert_eq!(Failure::of_panic(&*plain).message, "plain");
    }

    #[test]
    fn a_wait_ends_when_the_launcher_asks() {
        let long = Duration::from_secs(600);
        let looks = AtomicU32::new(0);
        assert!(asked_within(long, || looks.fetch_add(1, Ordering::SeqCst) == 3));
        // It was asked before: that is no word of another one.
        assert!(!asked_within(3 * LOOK, || true));
        assert!(!asked_within(3 * LOOK, || false));
    }
}
