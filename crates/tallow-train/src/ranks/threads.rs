//! World of threads in one process.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::communicator::{BUCKET_BYTES, Communicator};
use crate::error::{Error, Result};

/// Time for which a rank waits for another one.
const LIMIT: Duration = Duration::from_secs(600);

/// Rank of a world of threads in one process, for tests of code that trains on several ranks, on any machine and without MPI.
///
/// ```
/// use std::thread;
///
/// use tallow_train::{Communicator, Threads};
///
/// let ranks = Threads::world(3).into_iter();
/// let threads = ranks.map(|rank| {
///     thread::spawn(move || {
///         let mut values = [rank.rank() as f32, 1.0];
///         rank.all_reduce_f32(&mut values).map(|()| values)
///     })
/// });
/// for thread in threads.collect::<Vec<_>>() {
///     assert_eq!(thread.join().unwrap()?, [3.0, 3.0]);
/// }
/// # Ok::<(), tallow_train::Error>(())
/// ```
///
/// A rank that is dropped has ended: calls of the others fail from then on.
#[derive(Debug)]
pub struct Threads {
    rank: usize,
    world: usize,
    limit: Duration,
    bucket_bytes: usize,
    /// Connections with all ranks; `None` after the end.
    links: Mutex<Option<Links>>,
    /// First rank that has ended, and the reason.
    ended: Arc<Mutex<Option<String>>>,
}

#[derive(Debug)]
struct Links {
    to: Vec<Sender<Vec<u8>>>,
    from: Vec<Receiver<Vec<u8>>>,
}

impl Threads {
    /// All ranks of a new world, one for each thread.
    pub fn world(ranks: usize) -> Vec<Self> {
        let mut to: Vec<Vec<Sender<Vec<u8>>>> = (0..ranks).map(|_| Vec::new()).collect();
        let mut from: Vec<Vec<Receiver<Vec<u8>>>> = (0..ranks).map(|_| Vec::new()).collect();
        for sender in &mut to {
            for receiver in &mut from {
                let (a, b) = channel();
                sender.push(a);
                receiver.push(b);
            }
        }
        let ended = Arc::default();
        let links = to.into_iter().zip(from).enumerate();
        links
            .map(|(rank, (to, from))| Self {
                rank,
                world: ranks,
                limit: LIMIT,
                bucket_bytes: BUCKET_BYTES,
                links: Mutex::new(Some(Links { to, from })),
                ended: Arc::clone(&ended),
            })
            .collect()
    }

    /// Sets the time for which this rank waits for another one; ten minutes by default.
    pub fn with_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Sets the bytes of gradients that are added at a time; 4 MB by default. All ranks need the same.
    pub fn with_bucket_bytes(mut self, bytes: usize) -> Self {
        self.bucket_bytes = bytes;
        self
    }

    /// Error after the end of a rank, which names the first one that ended.
    fn gone(&self, rank: usize) -> Error {
        let mut ended = lock(&self.ended);
        let why = ended.get_or_insert_with(|| format!("rank {rank} has ended before the others"));
        Error::Ranks(why.clone())
    }

    /// Ends this rank, for the first time.
    fn end(&self, why: impl FnOnce() -> String) {
        lock(&self.ended).get_or_insert_with(why);
        lock(&self.links).take();
    }
}

impl Communicator for Threads {
    fn rank(&self) -> usize {
        self.rank
    }

    fn world(&self) -> usize {
        self.world
    }

    fn all_to_all(&self, parts: &[&[u8]]) -> Result<Vec<Vec<u8>>> {
        let links = lock(&self.links);
        let Some(links) = &*links else {
            return Err(self.gone(self.rank));
        };
        if parts.len() != self.world {
            let message = format!("{} parts for {} ranks", parts.len(), self.world);
            return Err(Error::Ranks(message));
        }
        for (rank, part) in parts.iter().enumerate() {
            let sent = links.to[rank].send(part.to_vec());
            sent.map_err(|_| self.gone(rank))?;
        }
        let started = Instant::now();
        let receive = |(rank, from): (usize, &Receiver<Vec<u8>>)| {
            let left = self.limit.saturating_sub(started.elapsed());
            from.recv_timeout(left).map_err(|error| match error {
                RecvTimeoutError::Disconnected => self.gone(rank),
                RecvTimeoutError::Timeout => Error::Ranks(format!(
                    "rank {} has waited for rank {rank} for {} s",
                    self.rank,
                    self.limit.as_secs_f64()
                )),
            })
        };
        links.from.iter().enumerate().map(receive).collect()
    }

    fn bucket_bytes(&self) -> usize {
        self.bucket_bytes
    }

    /// Ends this rank. The exit code is that of nobody.
    fn abort(&self, _code: i32, why: &str) {
        self.end(|| format!("rank {} has ended: {why}", self.rank));
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if thread::panicking() {
            self.end(|| format!("rank {} has panicked", self.rank));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is inside is replaced as a whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::sum::tree_sum;
    use super::*;

    /// Runs `work` as each rank of a world, and returns the results in the order of the ranks.
    fn run<R: Send>(
        ranks: impl IntoIterator<Item = Threads>,
        work: impl Fn(Threads) -> R + Sync,
    ) -> Vec<thread::Result<R>> {
        thread::scope(|scope| {
            let work = &work;
            let threads: Vec<_> = (ranks.into_iter())
                .map(|rank| scope.spawn(move || work(rank)))
                .collect();
            threads.into_iter().map(|thread| thread.join()).collect()
        })
    }

    #[test]
    fn each_rank_gets_what_the_others_sent_to_it() {
        let found = run(Threads::world(3), |ranks| {
            let me = ranks.rank() as u8;
            let parts: Vec<Vec<u8>> = (0..3u8).map(|to| vec![me; usize::from(to)]).collect();
            let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            let got = ranks.all_to_all(&parts).unwrap();
            let sent = ranks.broadcast(1, &[7 + me]).unwrap();
            assert!(ranks.broadcast(0, &[]).unwrap().is_empty());
            // More than one piece.
            let long = vec![me; (4 << 20) + 1];
            assert!(ranks.broadcast(2, &long).unwrap() == vec![2u8; long.len()]);
            ranks.barrier().unwrap();
            assert!(ranks.broadcast(3, &[]).is_err());
            (got, sent)
        });
        for (rank, found) in found.into_iter().enumerate() {
            let (got, sent) = found.unwrap();
            let expected: Vec<Vec<u8>> = (0..3).map(|from| vec![from; rank]).collect();
            assert_eq!((got, sent), (expected, vec![8]));
        }
    }

    /// Values whose sums are rounded: the bits show the order.
    #[test]
    fn every_rank_has_the_sums_of_the_tree_for_any_length() {
        for world in [1, 2, 3, 4, 6] {
            for len in [0, 1, 2, 5, 1000] {
                let wide = |rank: usize| -> Vec<f64> {
                    let value = |i: usize| ((i * 37 + rank * 11) % 101) as f64 / 7.0;
                    (0..len).map(value).collect()
                };
                let narrow = |rank: usize| -> Vec<f32> {
                    wide(rank).into_iter().map(|x| x as f32).collect()
                };
                let found = run(Threads::world(world), |ranks| {
                    let (mut a, mut b) = (wide(ranks.rank()), narrow(ranks.rank()));
                    ranks.all_reduce_f64(&mut a).unwrap();
                    ranks.all_reduce_f32(&mut b).unwrap();
                    (a, b)
                });
                let expected = (
                    tree_sum((0..world).map(&wide).collect()),
                    tree_sum((0..world).map(&narrow).collect()),
                );
                for found in found {
                    assert!(found.unwrap() == expected, "{world} ranks, {len} values");
                }
            }
        }
    }

    #[test]
    fn ranks_that_pass_different_numbers_of_values_are_told() {
        let found = run(Threads::world(2), |ranks| {
            let mut values = vec![0f32; 4 + 2 * ranks.rank()];
            ranks.all_reduce_f32(&mut values)
        });
        for found in found {
            let error = found.unwrap().unwrap_err().to_string();
            assert!(error.contains("different models"), "{error}");
        }
    }

    #[test]
    fn a_rank_that_panics_ends_the_others() {
        let found = run(Threads::world(3), |ranks| {
            ranks.barrier().unwrap();
            assert!(ranks.rank() != 1, "on purpose");
            loop {
                if let Err(error) = ranks.barrier() {
                    break error.to_string();
                }
            }
        });
        for (rank, found) in found.into_iter().enumerate() {
            match found {
                Err(_) => assert_eq!(rank, 1),
                Ok(error) => assert_eq!(error, "rank 1 has panicked"),
            }
        }
    }

    #[test]
    fn an_abort_gives_its_reason_to_all() {
        let found = run(Threads::world(3), |ranks| {
            if ranks.rank() == 2 {
                ranks.abort(2, "the disk is full");
            }
            ranks.barrier().unwrap_err().to_string()
        });
        for found in found {
            assert_eq!(found.unwrap(), "rank 2 has ended: the disk is full");
        }
    }

    #[test]
    fn a_rank_that_does_not_answer_is_named_after_the_limit() {
        let world = Threads::world(2).into_iter();
        let mut world = world.map(|rank| rank.with_limit(Duration::from_millis(20)));
        let (first, _silent) = (world.next().unwrap(), world.next().unwrap());
        let error = first.barrier().unwrap_err().to_string();
        assert_eq!(error, "rank 0 has waited for rank 1 for 0.02 s");
    }
}
