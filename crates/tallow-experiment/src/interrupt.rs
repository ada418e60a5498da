//! Flag that asks a runner to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Flag that asks a runner to stop after its current batch. Clones share one flag.
#[derive(Clone, Debug, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// Flag that is not set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks to stop. Returns whether that was asked before.
    pub fn request(&self) -> bool {
        self.0.swap(true, Ordering::SeqCst)
    }

    /// Whether somebody asked to stop.
    pub fn requested(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
