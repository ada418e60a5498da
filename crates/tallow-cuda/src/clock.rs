//! Events before and after the work of a device.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use candle_core::cuda_backend::cudarc::driver::sys::CUevent_flags;
use candle_core::cuda_backend::cudarc::driver::{CudaEvent, CudaStream};

use crate::error::{Result, driver};

/// Work between two events.
pub(crate) struct Span {
    pub(crate) name: String,
    pub(crate) start: CudaEvent,
    pub(crate) end: CudaEvent,
}

/// Clock of a device.
#[derive(Default)]
pub(crate) struct Clock {
    runs: AtomicBool,
    spans: Mutex<Vec<Span>>,
}

impl Clock {
    /// Begins anew.
    pub(crate) fn start(&self) {
        self.take();
        self.runs.store(true, Ordering::Relaxed);
    }

    /// True between [`start`](Self::start) and [`stop`](Self::stop).
    pub(crate) fn is_running(&self) -> bool {
        self.runs.load(Ordering::Relaxed)
    }

    /// Ends, and returns what was timed.
    pub(crate) fn stop(&self) -> Vec<Span> {
        self.runs.store(false, Ordering::Relaxed);
        self.take()
    }

    fn take(&self) -> Vec<Span> {
        std::mem::take(&mut *self.spans.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Calls `queue`, with an event before and after what it queues if the clock runs.
    pub(crate) fn time<R>(
        &self,
        stream: &CudaStream,
        name: impl FnOnce() -> String,
        queue: impl FnOnce() -> Result<R>,
    ) -> Result<R> {
        if !self.is_running() {
            return queue();
        }
        let event = || {
            let event = stream.record_event(Some(CUevent_flags::CU_EVENT_DEFAULT));
            driver("cuEventRecord", event)
        };
        let start = event()?;
        let queued = queue()?;
        let span = Span {
            name: name(),
            start,
            end: event()?,
        };
        let mut spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        spans.push(span);
        Ok(queued)
    }
}
