//! Messages between all ranks: each sends a part to every other one and receives one from it.
//!
//! Nothing waits inside the library, which would keep a core busy for as long as the slowest rank takes: messages are started, and then
//! asked for with naps in between. A part is cut into segments below the size from which libraries ask the receiver first, which on a
//! network would make the two directions take turns.

use std::mem;
use std::thread;
use std::time::{Duration, Instant};

use crate::error::Result;

/// Bytes of a segment; 64 kB is the usual limit.
const SEGMENT: usize = 60_000;
/// Messages under way to a rank, and from a rank, at a time.
const WINDOW: usize = 32;
/// Bytes before a part: its length, and the number of the exchange.
const HEADER: usize = 16;

/// Time without news in which the thread stays awake, for the next message of a rank that is nearly as fast.
const AWAKE: Duration = Duration::from_micros(100);
/// Longest nap.
const NAP: Duration = Duration::from_micros(500);
/// Time without news after which a warning names the ranks.
const PATIENCE: Duration = Duration::from_secs(30);

/// Way of messages between ranks.
pub(crate) trait Wire {
    /// Message under way.
    type Request;

    /// Starts to send bytes to a rank.
    ///
    /// # Safety
    /// The bytes stay as they are until [`is_done`](Self::is_done) says so.
    unsafe fn send(&self, bytes: *const u8, len: usize, to: usize) -> Result<Self::Request>;

    /// Starts to receive at most `len` bytes from a rank, in the order in which it sent them.
    ///
    /// # Safety
    /// Nothing reads or writes the bytes until [`is_done`](Self::is_done) says so.
    unsafe fn receive(&self, bytes: *mut u8, len: usize, from: usize) -> Result<Self::Request>;

    /// Whether a message has been sent or received. Not called again for one that has.
    fn is_done(&self, request: &mut Self::Request) -> Result<bool>;
}

/// Part for another rank, with its header.
pub(crate) fn framed(part: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + part.len());
    bytes.extend((part.len() as u64).to_le_bytes());
    bytes.extend([0; 8]);
    bytes.extend_from_slice(part);
    bytes
}

/// Exchanges of one rank, one after the other.
pub(crate) struct Exchanges<W> {
    wire: W,
    rank: usize,
    limit: Duration,
    number: u64,
}

impl<W: Wire> Exchanges<W> {
    /// Exchanges of this rank, which waits for news for at most `limit`.
    pub fn new(wire: W, rank: usize, limit: Duration) -> Self {
        Self {
            wire,
            rank,
            limit,
            number: 0,
        }
    }

    /// Sends each of the [`framed`] parts to the rank of its place, and returns what each rank sent. The part for this rank comes back.
    pub fn run(&mut self, parts: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>> {
        self.number += 1;
        let mut peers = Vec::new();
        for (rank, mut part) in parts.into_iter().enumerate() {
            part[HEADER / 2..HEADER].copy_from_slice(&self.number.to_le_bytes());
            peers.push(match rank == self.rank {
                true => Peer::this(part),
                false => Peer::other(rank, part),
            });
        }
        let result = self.drive(&mut peers);
        if let Err(error) = result {
            // Messages may be under way: the library writes into their bytes. The job ends now.
            mem::forget(peers);
            return Err(error);
        }
        let mut received = Vec::new();
        for mut peer in peers {
            peer.incoming.bytes.drain(..HEADER);
            received.push(peer.incoming.bytes);
        }
        Ok(received)
    }

    /// Moves all messages on until they are done.
    fn drive(&self, peers: &mut [Peer<W::Request>]) -> Result<()> {
        let (mut news, mut warned) = (Instant::now(), false);
        loop {
            let (mut moved, mut done) = (false, true);
            for peer in peers.iter_mut() {
                moved |= peer.advance(&self.wire, self.number)?;
                done &= peer.is_done();
            }
            if done {
                return Ok(());
            }
            if moved {
                (news, warned) = (Instant::now(), false);
                continue;
            }
            let silent = news.elapsed();
            if silent >= self.limit {
                let message = format!(
                    "rank {} has waited {} s for {}: it has stopped, or its machine cannot be reached",
                    self.rank,
                    silent.as_secs(),
                    waited_for(peers)
                );
                return Err(tallow_train::Error::Ranks(message).into());
            }
            if silent >= PATIENCE && !warned {
                warned = true;
                tracing::warn!(
                    "rank {} has waited {} s for {}",
                    self.rank,
                    silent.as_secs(),
                    waited_for(peers)
                );
            }
            if silent < AWAKE {
                thread::yield_now();
            } else {
                thread::sleep(silent.min(NAP));
            }
        }
    }
}

/// Names of the ranks whose messages are missing.
fn waited_for<R>(peers: &[Peer<R>]) -> String {
    let waiting = peers.iter().filter(|peer| !peer.is_done());
    let ranks: Vec<String> = waiting.map(|peer| peer.rank.to_string()).collect();
    match ranks.as_slice() {
        [rank] => format!("rank {rank}"),
        ranks => format!("ranks {}", ranks.join(", ")),
    }
}

/// Messages to and from another rank.
struct Peer<R> {
    rank: usize,
    outgoing: Stream<R>,
    incoming: Stream<R>,
}

/// Bytes that are sent or received in segments.
struct Stream<R> {
    bytes: Vec<u8>,
    /// Number of bytes in all; of what is received, unknown before the first segment is here.
    total: Option<usize>,
    /// Bytes of the segments that were started.
    started: usize,
    /// Those that are not done, in their order.
    under_way: Vec<R>,
}

impl<R> Stream<R> {
    fn new(bytes: Vec<u8>, total: Option<usize>, started: usize) -> Self {
        Self {
            bytes,
            total,
            started,
            under_way: Vec::new(),
        }
    }

    fn is_done(&self) -> bool {
        self.under_way.is_empty() && self.total == Some(self.started)
    }

    /// Start and length of the next segment, if another one may be started.
    fn next(&self) -> Option<(usize, usize)> {
        let left = self.total? - self.started;
        let more = left > 0 && self.under_way.len() < WINDOW;
        more.then_some((self.started, left.min(SEGMENT)))
    }

    /// Removes the messages that are done. Whether there were some.
    fn collect(&mut self, wire: &impl Wire<Request = R>) -> Result<bool> {
        let before = self.under_way.len();
        let mut left = Vec::with_capacity(before);
        for mut request in mem::take(&mut self.under_way) {
            // A message after one that is not done may be done too; asking for it moves it on in any case.
            if !wire.is_done(&mut request)? {
                left.push(request);
            }
        }
        self.under_way = left;
        Ok(self.under_way.len() < before)
    }
}

impl<R> Peer<R> {
    /// This rank itself, to which nothing is sent.
    fn this(part: Vec<u8>) -> Self {
        let (sent, received) = (0, part.len());
        Self {
            rank: 0,
            outgoing: Stream::new(Vec::new(), Some(sent), sent),
            incoming: Stream::new(part, Some(received), received),
        }
    }

    fn other(rank: usize, part: Vec<u8>) -> Self {
        let total = Some(part.len());
        Self {
            rank,
            outgoing: Stream::new(part, total, 0),
            incoming: Stream::new(Vec::new(), None, 0),
        }
    }

    fn is_done(&self) -> bool {
        self.outgoing.is_done() && self.incoming.is_done()
    }

    /// Starts messages and removes those that are done. Whether something has changed.
    fn advance(&mut self, wire: &impl Wire<Request = R>, number: u64) -> Result<bool> {
        let mut moved = false;
        while let Some((start, len)) = self.outgoing.next() {
            // SAFETY: the segment is within the bytes, which are not changed and not freed before all messages are done, see
            // `Exchanges::run`.
            let request =
                unsafe { wire.send(self.outgoing.bytes.as_ptr().add(start), len, self.rank)? };
            self.outgoing.started += len;
            self.outgoing.under_way.push(request);
            moved = true;
        }
        moved |= self.outgoing.collect(wire)?;
        let incoming = &mut self.incoming;
        if incoming.total.is_none() && incoming.under_way.is_empty() {
            incoming.bytes = vec![0; SEGMENT];
            // SAFETY: there is room for a segment, and the bytes are left alone until it is here.
            let request = unsafe { wire.receive(incoming.bytes.as_mut_ptr(), SEGMENT, self.rank)? };
            incoming.under_way.push(request);
            moved = true;
        }
        let came = incoming.collect(wire)?;
        if came && incoming.total.is_none() {
            // The first segment, which was the only one under way.
            let total = announced(&incoming.bytes, self.rank, number)?;
            incoming.total = Some(total);
            incoming.started = total.min(SEGMENT);
            let more = total.saturating_sub(SEGMENT);
            if incoming.bytes.try_reserve_exact(more).is_err() {
                let message = format!(
                    "rank {} sends {total} bytes, more than there is room for",
                    self.rank
                );
                return Err(tallow_train::Error::Ranks(message).into());
            }
            incoming.bytes.resize(total, 0);
        }
        moved |= came;
        while let Some((start, len)) = incoming.next() {
            // SAFETY: the segment is within the bytes, which have their final place and are left alone until all segments are here.
            let request =
                unsafe { wire.receive(incoming.bytes.as_mut_ptr().add(start), len, self.rank)? };
            incoming.started += len;
            incoming.under_way.push(request);
            moved = true;
        }
        Ok(moved)
    }
}

/// Bytes that a rank sends in all, by its first segment.
fn announced(segment: &[u8], rank: usize, number: u64) -> Result<usize> {
    let word = |at: usize| {
        let bytes = segment[at..].first_chunk::<8>().copied();
        bytes.map_or(0, u64::from_le_bytes)
    };
    let total = usize::try_from(word(0)).ok();
    let total = total.and_then(|len| len.checked_add(HEADER));
    match total {
        Some(total) if word(HEADER / 2) == number => Ok(total),
        _ => Err(tallow_train::Error::Ranks(format!(
            "rank {rank} is at another exchange of messages than this one: the ranks run different programs"
        ))
        .into()),
    }
}

#[cfg(test)]
mod tests;
