//! Exchanges over a wire of queues in one process.

use std::cell::{Cell, RefCell};
use std::sync::{Arc, Mutex};

use super::*;

/// All messages from each rank to each other one, in their order.
type Messages = Arc<Vec<Vec<Mutex<Vec<Vec<u8>>>>>>;

/// Wire of one rank. Messages are late: each is asked for some times before it is there.
struct Queued {
    messages: Messages,
    rank: usize,
    asked: Cell<u32>,
    /// Number of messages from each rank that were waited for so far: they come in the order in which that was begun.
    received: RefCell<Vec<usize>>,
    /// Length of the longest message.
    longest: Arc<Mutex<usize>>,
}

enum Message {
    Sent,
    Expected {
        bytes: *mut u8,
        len: usize,
        from: usize,
        number: usize,
    },
}

impl Wire for Queued {
    type Request = Message;

    unsafe fn send(&self, bytes: *const u8, len: usize, to: usize) -> Result<Message> {
        // SAFETY: the caller has so many bytes.
        let message = unsafe { std::slice::from_raw_parts(bytes, len) }.to_vec();
        let mut longest = self.longest.lock().unwrap();
        *longest = (*longest).max(len);
        let mut messages = self.messages[self.rank][to].lock().unwrap();
        messages.push(message);
        Ok(Message::Sent)
    }

    unsafe fn receive(&self, bytes: *mut u8, len: usize, from: usize) -> Result<Message> {
        let number = self.received.borrow()[from];
        self.received.borrow_mut()[from] += 1;
        Ok(Message::Expected {
            bytes,
            len,
            from,
            number,
        })
    }

    fn is_done(&self, request: &mut Message) -> Result<bool> {
        self.asked.set(self.asked.get() + 1);
        let asked = self.asked.get();
        match *request {
            Message::Sent => Ok(asked.is_multiple_of(2)),
            Message::Expected { .. } if !asked.is_multiple_of(3) => Ok(false),
            Message::Expected {
                bytes,
                len,
                from,
                number,
            } => {
                let messages = self.messages[from][self.rank].lock().unwrap();
                let Some(message) = messages.get(number) else {
                    return Ok(false);
                };
                assert!(message.len() <= len, "{} > {len}", message.len());
                // SAFETY: the caller leaves `len` bytes alone until now.
                let place = unsafe { std::slice::from_raw_parts_mut(bytes, message.len()) };
                place.copy_from_slice(message);
                Ok(true)
            }
        }
    }
}

/// Ranks of a world, and the length of their longest message.
fn ranks(world: usize, limit: Duration) -> (Vec<Exchanges<Queued>>, Arc<Mutex<usize>>) {
    let messages: Messages = Arc::new(
        (0..world)
            .map(|_| (0..world).map(|_| Mutex::default()).collect())
            .collect(),
    );
    let longest = Arc::new(Mutex::new(0));
    let ranks = (0..world).map(|rank| {
        let wire = Queued {
            messages: Arc::clone(&messages),
            rank,
            asked: Cell::new(0),
            received: RefCell::new(vec![0; world]),
            longest: Arc::clone(&longest),
        };
        Exchanges::new(wire, rank, limit)
    });
    (ranks.collect(), longest)
}

/// Part that a rank sends to another one in an exchange.
fn part(from: usize, to: usize, number: usize, len: usize) -> Vec<u8> {
    let value = |i: usize| (i * 7 + from * 31 + to * 5 + number) as u8;
    (0..len).map(value).collect()
}

#[test]
fn parts_of_any_length_arrive() {
    for world in [1, 2, 4] {
        let lens = [
            0,
            1,
            SEGMENT - HEADER,
            SEGMENT - HEADER + 1,
            5 * SEGMENT + 17,
        ];
        let (ranks, longest) = ranks(world, Duration::from_secs(60));
        thread::scope(|scope| {
            for (rank, mut exchanges) in ranks.into_iter().enumerate() {
                scope.spawn(move || {
                    for number in 0..10 {
                        let len =
                            |from: usize, to: usize| lens[(from + 2 * to + number) % lens.len()];
                        let parts = (0..world).map(|to| part(rank, to, number, len(rank, to)));
                        let parts = parts.map(|part| framed(&part)).collect();
                        let received = exchanges.run(parts).unwrap();
                        assert_eq!(received.len(), world);
                        for (from, received) in received.into_iter().enumerate() {
                            let expected = part(from, rank, number, len(from, rank));
                            assert!(received == expected, "{number}: {from} to {rank}");
                        }
                    }
                });
            }
        });
        assert!(*longest.lock().unwrap() <= SEGMENT);
    }
}

#[test]
fn a_rank_that_is_silent_is_named_after_the_limit() {
    let (mut ranks, _) = ranks(3, Duration::from_millis(30));
    let parts = vec![framed(b"a"); 3];
    let error = ranks[1].run(parts).unwrap_err().to_string();
    assert!(
        error.starts_with("rank 1 has waited 0 s for ranks 0, 2"),
        "{error}"
    );
}

#[test]
fn ranks_at_different_exchanges_are_told() {
    let (ranks, _) = ranks(2, Duration::from_secs(60));
    let errors: Vec<String> = thread::scope(|scope| {
        let threads = ranks.into_iter().enumerate().map(|(rank, mut exchanges)| {
            // The second rank has missed one.
            exchanges.number = 5 - rank as u64;
            scope.spawn(move || {
                let parts = vec![framed(b"a"); 2];
                exchanges.run(parts).unwrap_err().to_string()
            })
        });
        let threads: Vec<_> = threads.collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    for (rank, error) in errors.iter().enumerate() {
        let expected = format!("rank {} is at another exchange", 1 - rank);
        assert!(error.starts_with(&expected), "{error}");
    }
}

#[test]
fn a_length_that_no_memory_holds_is_refused() {
    let mut segment = framed(b"");
    segment[8] = 1;
    assert_eq!(announced(&segment, 0, 1).unwrap(), HEADER);
    segment[..8].fill(0xff);
    assert!(announced(&segment, 0, 1).is_err());
}
