//! Recordings of CUDA graphs on a device.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::call::Address;

/// Recordings of a device. A clone is another handle to the same.
#[derive(Clone, Default)]
pub(crate) struct Recordings(Arc<State>);

#[derive(Default)]
struct State {
    /// Address of the number that moves the masks of dropout, while a graph is recorded; else 0.
    moved: AtomicU64,
    /// Whether a graph has been recorded, which may have the addresses of scratch memory.
    any: AtomicBool,
}

impl Recordings {
    /// Begins or ends the recording of a graph, whose masks of dropout are moved by the number at an address.
    pub(crate) fn set(&self, moved: Option<Address>) {
        self.0.any.fetch_or(moved.is_some(), Ordering::Relaxed);
        self.0.moved.store(moved.unwrap_or(0), Ordering::Relaxed);
    }

    /// Address of the number that moves the masks of dropout, while a graph is recorded.
    pub(crate) fn now(&self) -> Option<Address> {
        Some(self.0.moved.load(Ordering::Relaxed)).filter(|&moved| moved != 0)
    }

    /// Whether a graph has been recorded.
    pub(crate) fn any(&self) -> bool {
        self.0.any.load(Ordering::Relaxed)
    }
}
