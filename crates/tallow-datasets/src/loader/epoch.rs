//! Iterator over the batches of one epoch, made by this thread or by workers.

use std::iter::FusedIterator;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

use crate::error::{Error, Result};
use crate::loader::batch::Batch;
use crate::loader::plan::Plan;

/// Making of a batch by its number, with a buffer that may hold anything.
pub(super) type Make<B> = dyn Fn(&Plan, usize, &mut Vec<u8>) -> Result<B> + Send + Sync;

/// Iterator over the batches of one epoch, in order: [`DataLoader::epoch`](crate::DataLoader::epoch).
///
/// The first error ends the epoch. Dropping the iterator stops the workers at their next sample and waits
/// for them.
pub struct Epoch<B = Batch> {
    plan: Arc<Plan>,
    make: Arc<Make<B>>,
    next: usize,
    scratch: Vec<u8>,
    workers: Option<Workers<B>>,
    failure: Option<Error>,
}

impl<B: Send + 'static> Epoch<B> {
    /// Epoch from batch `first` on.
    pub(super) fn start(
        plan: Arc<Plan>,
        make: Arc<Make<B>>,
        first: usize,
        workers: usize,
        prefetch: usize,
    ) -> Self {
        let mut epoch = Self {
            next: first.min(plan.batches()),
            plan,
            make,
            scratch: Vec::new(),
            workers: None,
            failure: None,
        };
        let first = epoch.next;
        let count = workers.min(epoch.plan.batches() - first);
        if count > 0 {
            match Workers::start(&epoch.plan, &epoch.make, first, count, prefetch) {
                Ok(workers) => epoch.workers = Some(workers),
                Err(error) => {
                    epoch.failure = Some(Error::Loader(format!("cannot start a thread: {error}")))
                }
            }
        }
        epoch
    }

    fn produce(&mut self) -> Result<B> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        match &self.workers {
            None => (self.make)(&self.plan, self.next, &mut self.scratch),
            Some(workers) => workers.receive(self.next),
        }
    }
}

impl<B: Send + 'static> Iterator for Epoch<B> {
    type Item = Result<B>;

    fn next(&mut self) -> Option<Self::Item> {
        let batches = self.plan.batches();
        if self.next == batches {
            return None;
        }
        let batch = self.produce();
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

impl<B: Send + 'static> FusedIterator for Epoch<B> {}

/// Threads of which number `i` of `n` makes the batches `first + i`, `first + i + n`, `first + i + 2n`, ... and sends them through a bounded
/// channel of its own. Taking from the channels in turn gives the batches in order, with nothing to sort or to wait
/// for but the next one.
struct Workers<B> {
    plan: Arc<Plan>,
    first: usize,
    channels: Vec<Receiver<Result<B>>>,
    threads: Vec<JoinHandle<()>>,
}

impl<B: Send + 'static> Workers<B> {
    fn start(
        plan: &Arc<Plan>,
        make: &Arc<Make<B>>,
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
            let (plan, make) = (plan.clone(), make.clone());
            let thread = Builder::new().name(format!("tallow-loader-{worker}"));
            workers.channels.push(receiver);
            workers.threads.push(
                thread.spawn(move || work(&plan, make.as_ref(), first + worker, count, &sender))?,
            );
        }
        Ok(workers)
    }

    fn receive(&self, number: usize) -> Result<B> {
        let channel = &self.channels[(number - self.first) % self.channels.len()];
        channel.recv().unwrap_or_else(|_| {
            Err(Error::Loader(format!(
                "the worker for batch {number} has stopped"
            )))
        })
    }
}

impl<B> Drop for Workers<B> {
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
fn work<B>(
    plan: &Plan,
    make: &Make<B>,
    first: usize,
    workers: usize,
    channel: &SyncSender<Result<B>>,
) {
    let mut scratch = Vec::new();
    for number in (first..plan.batches()).step_by(workers) {
        let batch = make(plan, number, &mut scratch);
        let failed = batch.is_err();
        if channel.send(batch).is_err() || failed {
            return;
        }
    }
}
