//! Iterator over the batches of one epoch, made by this thread or by workers.

use std::iter::FusedIterator;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

use crate::error::{Error, Result};
use crate::loader::batch::Batch;
use crate::loader::plan::Plan;

/// Iterator over the batches of one epoch, in order: [`DataLoader::epoch`](crate::DataLoader::epoch).
///
/// The first error ends the epoch. Dropping the iterator stops the workers at their next sample and waits
/// for them.
pub struct Epoch {
    plan: Arc<Plan>,
    next: usize,
    scratch: Vec<u8>,
    workers: Option<Workers>,
    failure: Option<Error>,
}

impl Epoch {
    /// Epoch from batch `first` on.
    pub(super) fn start(plan: Arc<Plan>, first: usize, workers: usize, prefetch: usize) -> Self {
        let mut epoch = Self {
            next: first.min(plan.batches()),
            plan,
            scratch: Vec::new(),
            workers: None,
            failure: None,
        };
        let first = epoch.next;
        let count = workers.min(epoch.plan.batches() - first);
        if count > 0 {
            match Workers::start(&epoch.plan, first, count, prefetch) {
                Ok(workers) => epoch.workers = Some(workers),
                Err(error) => {
                    epoch.failure = Some(Error::Loader(format!("cannot start a thread: {error}")))
                }
            }
        }
        epoch
    }

    fn make(&mut self) -> Result<Batch> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        match &self.workers {
            None => self.plan.batch(self.next, &mut self.scratch),
            Some(workers) => workers.receive(self.next),
        }
    }
}

impl Iterator for Epoch {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        let batches = self.plan.batches();
        if self.next == batches {
            return None;
        }
        let batch = self.make();
        self.next = if batch.is_ok() {
            self.next + 1
        } else {
            batches
        };
        if self.next == batches {
            self.workers = None;
        }
        Some(batch)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.plan.batches() - self.next;
        (left.min(1), Some(left))
    }
}

impl FusedIterator for Epoch {}

/// Threads of which number `i` of `n` makes the batches `first + i`, `first + i + n`, `first + i + 2n`, ... and sends them through a bounded
/// channel of its own. Taking from the channels in turn gives the batches in order, with nothing to sort or to wait
/// for but the next one.
struct Workers {
    plan: Arc<Plan>,
    first: usize,
    channels: Vec<Receiver<Result<Batch>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    fn start(
        plan: &Arc<Plan>,
        first: usize,
        count: usize,
        prefetch: usize,
    ) -> std::io::Result<Self> {
        let mut workers = Self {
            plan: plan.clone(),
            first,
            channels: Vec::new(),
            threads: Vec::new(),
        };
        for worker in 0..count {
            let (sender, receiver) = sync_channel(prefetch);
            let plan = plan.clone();
            let thread = Builder::new().name(format!("tallow-loader-{worker}"));
            workers.channels.push(receiver);
            workers
                .threads
                .push(thread.spawn(move || work(&plan, first + worker, count, &sender))?);
        }
        Ok(workers)
    }

    fn receive(&self, number: usize) -> Result<Batch> {
        let channel = &self.channels[(number - self.first) % self.channels.len()];
        channel.recv().unwrap_or_else(|_| {
            Err(Error::Loader(format!(
                "the worker for batch {number} has stopped"
            )))
        })
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.plan.stop();
        // Wakes the workers that wait for room in a channel.
        self.channels.clear();
        for thread in self.threads.drain(..) {
            // Panics are caught where they happen and have arrived as errors.
            let _ = thread.join();
        }
    }
}

/// Makes batch `first` and every `workers`-th after it.
fn work(plan: &Plan, first: usize, workers: usize, channel: &SyncSender<Result<Batch>>) {
    let mut scratch = Vec::new();
    for number in (first..plan.batches()).step_by(workers) {
        let batch = plan.batch(number, &mut scratch);
        let failed = batch.is_err();
        if channel.send(batch).is_err() || failed {
            return;
        }
    }
}
