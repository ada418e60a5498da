//! Device for tests: memory of the host, behind a queue whose work is done some time later by a thread of its own.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use candle_core::{CpuStorage, Device, InplaceOp1, Layout, Tensor};

use super::communicator::{Communicator, exchange};
use super::device_sums::{DeviceSum, DeviceSums};
use super::sum::{self, Messages, Transport};
use super::threads::Threads;
use crate::elements::slice;
use crate::error::{Error, Result};

/// Ranks with a device each, which takes the tensors of the CPU for its own.
#[derive(Debug)]
pub(super) struct FakeRanks {
    ranks: Threads,
    sums: Arc<FakeSums>,
}

#[derive(Debug)]
struct FakeSums {
    place: (usize, usize),
    bucket_bytes: usize,
    work: Sender<Work>,
}

/// Work in the queue of a device.
enum Work {
    Scatter(Tensor, Messages),
    Add(Vec<(usize, usize)>, usize),
    Gather(Tensor, Messages),
    Wait(Sender<Result<()>>),
}

impl FakeRanks {
    /// All ranks of a new world, whose buckets have so many bytes.
    pub fn world(ranks: usize, bucket_bytes: usize) -> Vec<Self> {
        let links = Threads::world(ranks).into_iter();
        let hosts = Threads::world(ranks).into_iter();
        let ranks = hosts.zip(links).map(|(host, link)| {
            let (work, queue) = channel();
            let place = (host.rank(), host.world());
            thread::spawn(move || run(&link, &queue));
            Self {
                ranks: host.with_bucket_bytes(bucket_bytes),
                sums: Arc::new(FakeSums {
                    place,
                    bucket_bytes,
                    work,
                }),
            }
        });
        ranks.collect()
    }
}

impl Communicator for FakeRanks {
    fn rank(&self) -> usize {
        self.ranks.rank()
    }

    fn world(&self) -> usize {
        self.ranks.world()
    }

    fn all_to_all(&self, parts: &[&[u8]]) -> Result<Vec<Vec<u8>>> {
        self.ranks.all_to_all(parts)
    }

    fn abort(&self, code: i32, why: &str) {
        self.ranks.abort(code, why);
    }

    fn bucket_bytes(&self) -> usize {
        self.ranks.bucket_bytes()
    }

    fn device_sums(&self, _: &Device) -> Option<Arc<dyn DeviceSums>> {
        Some(self.sums.clone())
    }
}

impl DeviceSums for FakeSums {
    fn begin(&self, values: Tensor) -> Result<DeviceSum> {
        let mut queue = Queue {
            work: self.work.clone(),
            values,
        };
        let place = self.place;
        Ok(Box::new(move || -> Result<Tensor> {
            let len = queue.values.elem_count();
            sum::all_reduce(&mut queue, place, len)?;
            Ok(queue.values)
        }))
    }

    fn wait(&self) -> Result<()> {
        let (answer, answered) = channel();
        put(&self.work, Work::Wait(answer))?;
        answered.recv().map_err(|_| ended())?
    }

    fn library(&self) -> String {
        "a fake device".to_string()
    }

    fn bucket_bytes(&self) -> usize {
        self.bucket_bytes
    }
}

/// Queue of the work on some values.
struct Queue {
    work: Sender<Work>,
    values: Tensor,
}

impl Transport for Queue {
    fn scatter(&mut self, messages: &Messages) -> Result<()> {
        put(
            &self.work,
            Work::Scatter(self.values.clone(), copy(messages)),
        )
    }

    fn add(&mut self, pairs: &[(usize, usize)], len: usize) -> Result<()> {
        put(&self.work, Work::Add(pairs.to_vec(), len))
    }

    fn gather(&mut self, messages: &Messages) -> Result<()> {
        put(
            &self.work,
            Work::Gather(self.values.clone(), copy(messages)),
        )
    }
}

fn put(queue: &Sender<Work>, work: Work) -> Result<()> {
    queue.send(work).map_err(|_| ended())
}

fn ended() -> Error {
    Error::Ranks("the device has ended".to_string())
}

fn copy(Messages { sent, received }: &Messages) -> Messages {
    let (sent, received) = (sent.clone(), received.clone());
    Messages { sent, received }
}

/// Does the work of a queue, the one later than the other. The first error is that of each wait after it.
fn run(link: &Threads, queue: &Receiver<Work>) {
    let (mut terms, mut failed) = (Vec::new(), None);
    for (number, work) in queue.iter().enumerate() {
        let nap = (number * 37 + link.rank() * 11) % 101;
        thread::sleep(Duration::from_micros(nap as u64));
        let done = match work {
            Work::Wait(answer) => {
                let result = match failed.take() {
                    Some(error) => Err(error),
                    None => Ok(()),
                };
                // The one who asked may be gone.
                let _ = answer.send(result);
                continue;
            }
            _ if failed.is_some() => continue,
            Work::Scatter(values, messages) => scatter(link, &values, &messages, &mut terms),
            Work::Add(pairs, len) => {
                sum::add(&mut terms, &pairs, len);
                Ok(())
            }
            Work::Gather(values, messages) => gather(link, &values, &messages, &terms),
        };
        failed = done.err();
    }
}

fn scatter(
    link: &Threads,
    values: &Tensor,
    messages: &Messages,
    terms: &mut Vec<f32>,
) -> Result<()> {
    let room = messages.received.iter().map(|(_, part)| part.end).max();
    // What is not received shows.
    *terms = vec![f32::NAN; room.unwrap_or(0)];
    slice(values, |values: &[f32]| {
        exchange(link, messages, values, terms)
    })?
}

fn gather(link: &Threads, values: &Tensor, messages: &Messages, terms: &[f32]) -> Result<()> {
    let mut sums = vec![f32::NAN; values.elem_count()];
    exchange(link, messages, terms, &mut sums)?;
    Ok(values.inplace_op1(&Write(sums))?)
}

/// Writes values into the memory of a tensor, as a device does.
struct Write(Vec<f32>);

impl InplaceOp1 for Write {
    fn name(&self) -> &'static str {
        "write"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        match (storage, layout.contiguous_offsets()) {
            (CpuStorage::F32(all), Some((start, end))) => {
                all[start..end].copy_from_slice(&self.0);
                Ok(())
            }
            _ => candle_core::bail!("expected a contiguous tensor of f32"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENS: [usize; 6] = [1, 1000, 5, 2, 7, 4096];

    /// Values over many magnitudes, whose sums depend on the order.
    fn values(rank: usize, len: usize) -> Vec<f32> {
        let value = |i: usize| {
            let sign = if (i + rank).is_multiple_of(3) {
                -1.0
            } else {
                1.0
            };
            sign * ((i * 37 + rank * 11) % 101) as f32 / 7.0 * 2f32.powi((rank * 5 % 24) as i32)
        };
        (0..len).map(value).collect()
    }

    fn bits(values: &[f32]) -> Vec<u32> {
        values.iter().map(|x| x.to_bits()).collect()
    }

    fn join<R: Send>(world: Vec<FakeRanks>, work: impl Fn(FakeRanks) -> R + Sync) -> Vec<R> {
        thread::scope(|scope| {
            let work = &work;
            let threads: Vec<_> = (world.into_iter())
                .map(|ranks| scope.spawn(move || work(ranks)))
                .collect();
            let joined = threads.into_iter().map(|thread| thread.join().unwrap());
            joined.collect()
        })
    }

    /// Several sums begin before the first one is made, and are made by another thread.
    #[test]
    fn sums_on_a_device_have_the_bits_of_those_on_the_host() {
        for world in [1, 2, 3, 4, 6] {
            join(FakeRanks::world(world, 64), |ranks| {
                let sums = ranks.device_sums(&Device::Cpu).unwrap();
                let own = LENS.map(|len| values(ranks.rank(), len));
                let begun = own.clone().map(|own| {
                    let len = own.len();
                    sums.begin(Tensor::from_vec(own, len, &Device::Cpu).unwrap())
                });
                let made = thread::spawn(move || begun.map(|sum| (sum.unwrap())().unwrap()));
                let made = made.join().unwrap();
                sums.wait().unwrap();
                for (made, mut own) in made.into_iter().zip(own) {
                    ranks.all_reduce_f32(&mut own).unwrap();
                    let made = made.to_vec1::<f32>().unwrap();
                    assert_eq!(bits(&made), bits(&own), "{world} ranks");
                }
            });
        }
    }

    /// The sum of a rank that ends before it never comes, which the others are told when they wait.
    #[test]
    fn an_error_on_the_device_is_told_by_the_wait() {
        let errors = join(FakeRanks::world(2, 64), |ranks| {
            if ranks.rank() == 1 {
                return None;
            }
            let sums = ranks.device_sums(&Device::Cpu).unwrap();
            let values = Tensor::new(&[1f32, 2.0], &Device::Cpu).unwrap();
            let made = (sums.begin(values).unwrap())();
            made.unwrap();
            Some(sums.wait().unwrap_err().to_string())
        });
        let error = errors[0].as_deref().unwrap_or_default();
        assert!(error.contains("has ended before the others"), "{error}");
    }
}
