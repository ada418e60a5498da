//! Thread that adds buckets over the ranks while the rank computes.

use std::panic;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use candle_core::Tensor;

use super::communicator::Communicator;
use super::device_sums::{DeviceSum, DeviceSums};
use crate::error::{Error, Result};

/// Values that are added over the ranks at a time.
pub(super) enum Bucket {
    F32(Vec<f32>),
    F64(Vec<f64>),
    /// Values on a device, whose sum has begun.
    Device(DeviceSum),
}

/// Sums of the values of a bucket over the ranks.
pub(super) enum Sums {
    F32(Vec<f32>),
    F64(Vec<f64>),
    Device(Tensor),
}

impl Bucket {
    fn add_up(self, ranks: &dyn Communicator) -> Result<Sums> {
        Ok(match self {
            Self::F32(mut values) => {
                ranks.all_reduce_f32(&mut values)?;
                Sums::F32(values)
            }
            Self::F64(mut values) => {
                ranks.all_reduce_f64(&mut values)?;
                Sums::F64(values)
            }
            Self::Device(sum) => Sums::Device(sum()?),
        })
    }
}

/// Way of buckets to the other ranks. They are added one after another, by a thread that is started for the first one that is sent.
///
/// The communicator is the thread's from the first bucket until [`finish`](Self::finish), or until the link is dropped: nobody else may
/// use it meanwhile.
pub(super) struct Link {
    ways: Ways,
    running: Option<Running>,
}

/// Ways to add values over the ranks.
#[derive(Clone)]
struct Ways {
    communicator: Arc<dyn Communicator>,
    /// Sums in the memory of a device.
    device: Option<Arc<dyn DeviceSums>>,
}

struct Running {
    buckets: Sender<Bucket>,
    thread: JoinHandle<Result<Vec<Sums>>>,
}

impl Link {
    /// Way of the buckets of this communicator, and of those on the device if it has sums there.
    pub fn new(communicator: Arc<dyn Communicator>, device: Option<Arc<dyn DeviceSums>>) -> Self {
        Self {
            ways: Ways {
                communicator,
                device,
            },
            running: None,
        }
    }

    /// Sends a bucket on its way, and returns at once.
    ///
    /// # Errors
    /// The error of a bucket before it.
    pub fn send(&mut self, bucket: Bucket) -> Result<()> {
        let running = match self.running.take() {
            Some(running) => running,
            None => Running::start(self.ways.clone())?,
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
    pub fn finish(mut self, last: Vec<Bucket>) -> Result<Vec<Sums>> {
        if self.running.is_none() {
            return self.ways.add_up(last);
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
    fn start(ways: Ways) -> Result<Self> {
        let (buckets, sent): (_, Receiver<Bucket>) = channel();
        let thread = thread::Builder::new().name("tallow-gradients".to_string());
        let thread = thread.spawn(move || ways.add_up(sent));
        let thread = thread.map_err(|error| {
            Error::Ranks(format!(
                "the thread that adds gradients over the ranks cannot be started: {error}"
            ))
        })?;
        Ok(Self { buckets, thread })
    }

    /// Sums of all buckets. A panic of the thread goes on in this one.
    fn join(self) -> Result<Vec<Sums>> {
        drop(self.buckets);
        let joined = self.thread.join();
        joined.unwrap_or_else(|panicked| panic::resume_unwind(panicked))
    }
}

impl Ways {
    /// Adds each bucket over the ranks, until no more can come, and waits for the sums on the device.
    fn add_up(&self, buckets: impl IntoIterator<Item = Bucket>) -> Result<Vec<Sums>> {
        let sums = buckets.into_iter();
        let sums = sums.map(|bucket| bucket.add_up(&*self.communicator));
        let sums: Vec<Sums> = sums.collect::<Result<_>>()?;
        let any = sums.iter().any(|sums| matches!(sums, Sums::Device(_)));
        if let Some(device) = self.device.as_ref().filter(|_| any) {
            device.wait()?;
        }
        Ok(sums)
    }
}
