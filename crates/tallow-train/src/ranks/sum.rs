//! Sum over the ranks: which part of the values each rank sends to which, and the order of the additions.
//!
//! This is the one place that says so, for values in the memory of the host and for those of a device alike, so that both have the same bits.

use std::ops::{Add, Range};

use tallow_datasets::chunk_range;

use crate::error::Result;

/// Messages of a rank in one exchange, in which all of them are under way at once.
#[derive(Debug, PartialEq)]
pub(super) struct Messages {
    /// Rank, and place of the values that are sent to it.
    pub sent: Vec<(usize, Range<usize>)>,
    /// Rank, and place for the values that it sends.
    pub received: Vec<(usize, Range<usize>)>,
}

/// Memory of a rank, and the way of values to and from that of the others.
///
/// It holds the values of the rank, and terms: a part of everybody's values, one rank after the other. What it is told may be done later, in
/// this order.
pub(super) trait Transport {
    /// Sends parts of the values, and receives the terms.
    fn scatter(&mut self, messages: &Messages) -> Result<()>;

    /// Adds terms of `len` values: the second one of each pair to the first one, one pair after the other.
    fn add(&mut self, pairs: &[(usize, usize)], len: usize) -> Result<()>;

    /// Sends terms, and receives parts of the values.
    fn gather(&mut self, messages: &Messages) -> Result<()>;
}

/// Sums of the values of all ranks, `len` of them, in their place. This is a rank of a world.
///
/// Each rank gets a part of everybody's values, adds it up and sends the sums to all: the bytes of a ring, in two exchanges.
pub(super) fn all_reduce(
    transport: &mut impl Transport,
    (rank, world): (usize, usize),
    len: usize,
) -> Result<()> {
    let part = |of: usize| chunk_range(len, world, of);
    let own = part(rank).len();
    transport.scatter(&Messages {
        sent: (0..world).map(|to| (to, part(to))).collect(),
        received: (0..world)
            .map(|from| (from, from * own..(from + 1) * own))
            .collect(),
    })?;
    transport.add(&pairs(world), own)?;
    transport.gather(&Messages {
        sent: (0..world).map(|to| (to, 0..own)).collect(),
        received: (0..world).map(|from| (from, part(from))).collect(),
    })
}

/// Additions of so many terms in their order, in a binary tree that splits at the largest power of two below their number. The sum is in the
/// place of the first term then.
pub(super) fn pairs(terms: usize) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    let mut step = 1;
    while step < terms {
        let lefts = (0..terms - step).step_by(2 * step);
        pairs.extend(lefts.map(|left| (left, left + step)));
        step *= 2;
    }
    pairs
}

/// The additions of [`pairs`] for terms of `len` values in the memory of the host.
pub(super) fn add<T: Copy + Add<Output = T>>(
    terms: &mut [T],
    pairs: &[(usize, usize)],
    len: usize,
) {
    for &(left, right) in pairs {
        // The second term of a pair lies behind the first one.
        let (before, after) = terms.split_at_mut(right * len);
        let sum = &mut before[left * len..(left + 1) * len];
        for (x, &y) in sum.iter_mut().zip(&after[..len]) {
            *x = *x + y;
        }
    }
}

/// Sum of terms as the ranks make it.
#[cfg(test)]
pub(super) fn tree_sum<T: Copy + Add<Output = T>>(terms: Vec<Vec<T>>) -> Vec<T> {
    let len = terms.first().map_or(0, Vec::len);
    let mut all = terms.concat();
    add(&mut all, &pairs(terms.len()), len);
    all.truncate(len);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sum as the documentation has it.
    fn expected(terms: &[f32]) -> f32 {
        match terms {
            [x] => *x,
            terms => {
                let split = terms.len().next_power_of_two() / 2;
                expected(&terms[..split]) + expected(&terms[split..])
            }
        }
    }

    #[test]
    fn sums_are_a_tree_that_splits_at_a_power_of_two() {
        for world in 1..20 {
            // Terms over many magnitudes, whose sum depends on the order.
            let term =
                |rank: usize| ((rank * 37 + 11) % 101) as f32 * 2f32.powi(rank as i32 * 5 % 24);
            let terms: Vec<f32> = (0..world).map(term).collect();
            let sum = tree_sum(terms.iter().map(|&x| vec![x, -x]).collect());
            assert_eq!(sum[0].to_bits(), expected(&terms).to_bits(), "{world}");
            assert_eq!(sum[1], -sum[0]);
        }
    }

    #[test]
    fn negative_zero_changes_nothing() {
        for x in [
            0.0f32,
            -0.0,
            1.5,
            f32::NEG_INFINITY,
            f32::MIN_POSITIVE / 2.0,
        ] {
            let sum = tree_sum(vec![vec![x], vec![-0.0], vec![-0.0]]);
            assert_eq!(sum[0].to_bits(), x.to_bits());
            let sum = tree_sum(vec![vec![-0.0], vec![-0.0], vec![x]]);
            assert_eq!(sum[0].to_bits(), x.to_bits());
        }
    }

    /// Messages of a rank, without anything being sent.
    #[derive(Default)]
    struct Listed(Vec<Messages>);

    impl Listed {
        fn push(&mut self, Messages { sent, received }: &Messages) -> Result<()> {
            let (sent, received) = (sent.clone(), received.clone());
            self.0.push(Messages { sent, received });
            Ok(())
        }
    }

    impl Transport for Listed {
        fn scatter(&mut self, messages: &Messages) -> Result<()> {
            self.push(messages)
        }

        fn add(&mut self, _: &[(usize, usize)], _: usize) -> Result<()> {
            Ok(())
        }

        fn gather(&mut self, messages: &Messages) -> Result<()> {
            self.push(messages)
        }
    }

    /// A message that nobody receives, or of another length, would hang on a device.
    #[test]
    fn every_message_has_a_receiver_with_room_for_it() {
        for world in 1..7 {
            for len in [0, 1, 5, 12, 1000] {
                let of = |rank: usize| {
                    let mut listed = Listed::default();
                    all_reduce(&mut listed, (rank, world), len).unwrap();
                    listed.0
                };
                let all: Vec<Vec<Messages>> = (0..world).map(of).collect();
                for (from, to) in (0..world).flat_map(|from| (0..world).map(move |to| (from, to))) {
                    for (sent, received) in all[from].iter().zip(&all[to]) {
                        let find = |parts: &[(usize, Range<usize>)], other: usize| {
                            let found = parts.iter().filter(|(rank, _)| *rank == other);
                            found.map(|(_, part)| part.len()).collect::<Vec<_>>()
                        };
                        let lens = find(&sent.sent, to);
                        assert_eq!(lens.len(), 1);
                        assert_eq!(lens, find(&received.received, from), "{world} {len}");
                    }
                }
                // The parts that are sent at first are all of the values.
                let parts = all[0][0].sent.iter().flat_map(|(_, part)| part.clone());
                assert!(parts.eq(0..len));
            }
        }
    }
}
