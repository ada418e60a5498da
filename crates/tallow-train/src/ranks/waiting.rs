//! Time that a rank waits for the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Time that a rank waits for the others in training steps. All clones count together.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiting(Arc<AtomicU64>);

impl Waiting {
    /// Counts the time of `wait`.
    pub fn during<R>(&self, wait: impl FnOnce() -> R) -> R {
        let started = Instant::now();
        let result = wait();
        let spent = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.0.fetch_add(spent, Ordering::Relaxed);
        result
    }

    /// Time since the last call.
    pub fn take(&self) -> Duration {
        Duration::from_nanos(self.0.swap(0, Ordering::Relaxed))
    }
}
