//! Thread that adds buckets over the ranks while the rank computes.

use std::panic;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use super::communicator::Communicator;
use crate::error::{Error, Result};

/// Values that are added over the ranks at a time.
pub(super) enum Bucket {
    F32(Vec<f32>),
    F64(Vec<f64>),
}

impl Bucket {
    /// Sums over the ranks in place of the values.
    fn add_up(mut self, ranks: &dyn Communicator) -> Result<Self> {
        match &mut self {
            Self::F32(values) => ranks.all_reduce_f32(values)?,
            Self::F64(values) => ranks.all_reduce_f64(values)?,
        }
        Ok(self)
    }
}

/// Way of buckets to the other ranks. They are added one after another, by a thread that is started for the first one that is sent.
///
/// The communicator is the thread's from the first bucket until [`finish`](Self::finish), or until the link is dropped: nobody else may
/// use it meanwhile.
pub(super) struct Link {
    communicator: Arc<dyn Communicator>,
    running: Option<Running>,
}

struct Running {
    buckets: Sender<Bucket>,
    thread: JoinHandle<Result<Vec<Bucket>>>,
}

impl Link {
    pub fn new(communicator: Arc<dyn Communicator>) -> Self {
        Self {
            communicator,
            running: None,
        }
    }

    /// Sends a bucket on its way, and returns at once.
    ///
    /// # Errors
    /// That of a bucket before it.
    pub fn send(&mut self, bucket: Bucket) -> Result<()> {
        let running = match self.running.take() {
            Some(running) => running,
            None => Running::start(Arc::clone(&self.communicator))?,
        };
        match running.buckets.send(bucket) {
            Ok(()) => {
                self.running = Some(running);
                Ok(())
            }
            // The thread ends before its time by an error alone.
            Err(_) => running.join().map(drop),
        }
    }

    /// Sends the last buckets, waits, and returns the sums of all in the order in which they were sent.
    ///
    /// # Errors
    /// Those of the communicator.
    pub fn finish(mut self, last: Vec<Bucket>) -> Result<Vec<Bucket>> {
        if self.running.is_none() {
            let sums = last.into_iter().map(|b| b.add_up(&*self.communicator));
            return sums.collect();
        }
        for bucket in last {
            self.send(bucket)?;
        }
        self.running
            .take()
            .map_or_else(|| Ok(Vec::new()), Running::join)
    }
}

impl Drop for Link {
    /// After an error or a panic of the step: waits for the buckets that were sent, in which the others have their part.
    fn drop(&mut self) {
        if let Some(Running { buckets, thread }) = self.running.take() {
            drop(buckets);
            // The step's own error or panic is the first one.
            let _ = thread.join();
        }
    }
}

impl Running {
    fn start(communicator: Arc<dyn Communicator>) -> Result<Self> {
        let (buckets, sent) = channel();
        let thread = thread::Builder::new().name("tallow-gradients".to_string());
        let thread = thread.spawn(move || add_up(&*communicator, sent));
        let thread = thread.map_err(|error| {
            Error::Ranks(format!(
                "the thread that adds gradients over the ranks cannot be started: {error}"
            ))
        })?;
        Ok(Self { buckets, thread })
    }

    /// Sums of all buckets. A panic of the thread goes on in this one.
    fn join(self) -> Result<Vec<Bucket>> {
        drop(self.buckets);
        let joined = self.thread.join();
        joined.unwrap_or_else(|panicked| panic::resume_unwind(panicked))
    }
}

/// Adds each bucket over the ranks, until no more can come.
fn add_up(ranks: &dyn Communicator, sent: Receiver<Bucket>) -> Result<Vec<Bucket>> {
    sent.into_iter()
        .map(|bucket| bucket.add_up(ranks))
        .collect()
}
