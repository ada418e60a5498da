//! Waiting with a limit.

use std::thread;
use std::time::{Duration, Instant};

use super::error::Error;

/// Time in which the thread stays awake: messages between GPUs take less.
const AWAKE: Duration = Duration::from_millis(2);
/// Nap afterwards.
const NAP: Duration = Duration::from_micros(100);
/// Time after which a warning names the rank that waits.
const WARNING: Duration = Duration::from_secs(30);

/// Wait of a rank for the others.
pub(crate) struct Patience {
    call: &'static str,
    rank: usize,
    limit: Duration,
    started: Instant,
    warned: bool,
}

impl Patience {
    /// Wait that begins now and may take so long; `call` is what is waited for.
    pub(crate) fn new(call: &'static str, rank: usize, limit: Duration) -> Self {
        Self {
            call,
            rank,
            limit,
            started: Instant::now(),
            warned: false,
        }
    }

    /// A moment before the next look.
    ///
    /// # Errors
    /// [`Error::Silent`] when the time is over.
    pub(crate) fn wait(&mut self) -> Result<(), Error> {
        let waited = self.started.elapsed();
        let (call, rank, seconds) = (self.call, self.rank, waited.as_secs());
        if waited >= self.limit {
            return Err(Error::Silent {
                call,
                rank,
                seconds,
            });
        }
        if waited >= WARNING && !self.warned {
            self.warned = true;
            tracing::warn!("rank {rank} has waited {seconds} s for the other GPUs ({call})");
        }
        if waited < AWAKE {
            thread::yield_now();
        } else {
            thread::sleep(NAP);
        }
        Ok(())
    }
}
