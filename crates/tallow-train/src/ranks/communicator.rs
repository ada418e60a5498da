//! Communication between the ranks that train one model.

use std::fmt;
use std::ops::Add;

use pulp::bytemuck::{Pod, cast_slice, cast_slice_mut};
use tallow_datasets::chunk_range;

use crate::error::{Error, Result};

/// Bytes that a broadcast sends at a time.
const PIECE: usize = 4 << 20;

/// Bytes of gradients that are added at a time, unless the communicator has another number.
pub(super) const BUCKET: usize = 4 << 20;

/// Connection of a rank, a process or a thread, with the others that train the same model.
///
/// [`Trainer::with_communicator`](crate::Trainer::with_communicator) takes one. [`Alone`] is a world of one rank, [`Threads`](crate::Threads) a
/// world of threads in one process; the crate `tallow-mpi` has one of processes on any number of machines. Of what is sent, a communicator of
/// your own needs [`all_to_all`](Self::all_to_all) alone: all else is made of it, the sums too, so that their bits are the same for every
/// communicator.
///
/// All ranks call the same methods in the same order. A call waits for the others. A trainer calls from its own thread and, during a
/// backward pass, from another one, never from both at the same time.
pub trait Communicator: fmt::Debug + Send + Sync {
    /// Number of this rank, below [`world`](Self::world).
    fn rank(&self) -> usize;

    /// Number of ranks.
    fn world(&self) -> usize;

    /// Sends `parts[r]` to rank `r`, for all ranks, and returns what each sent to this one, in the order of the ranks. The part of a rank
    /// for itself comes back as it is. The sizes may differ, as in `MPI_Alltoallv`.
    ///
    /// # Errors
    /// [`Error::Ranks`] when another rank has ended or does not answer in time. The job cannot go on then.
    fn all_to_all(&self, parts: &[&[u8]]) -> Result<Vec<Vec<u8>>>;

    /// Ends the work of all ranks: their calls fail, or their processes end with this exit code. `why` is for the user.
    fn abort(&self, code: i32, why: &str);

    /// Name of the machine of this rank: ranks on one machine have the same. Empty by default, one machine for all.
    fn host(&self) -> String {
        String::new()
    }

    /// Bytes of gradients that are added at a time, while the backward pass goes on; 4 MB by default. All ranks have the same. The sums do not
    /// depend on it. PyTorch's name of it is `bucket_cap_mb`.
    fn bucket_bytes(&self) -> usize {
        BUCKET
    }

    /// Bytes of each rank, in the order of the ranks.
    ///
    /// # Errors
    /// As [`all_to_all`](Self::all_to_all).
    fn all_gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        self.all_to_all(&vec![bytes; self.world()])
    }

    /// Bytes of the rank `root`; those of the others are left out. They are sent in pieces, since a communicator may hold a copy for each
    /// rank.
    ///
    /// # Errors
    /// As [`all_to_all`](Self::all_to_all).
    fn broadcast(&self, root: usize, bytes: &[u8]) -> Result<Vec<u8>> {
        if root >= self.world() {
            let message = format!("there is no rank {root} in a world of {}", self.world());
            return Err(Error::Ranks(message));
        }
        let bytes = if self.rank() == root { bytes } else { &[] };
        let of_root = |part: &[u8]| -> Result<Vec<u8>> {
            let parts = self.all_gather(part)?;
            Ok(parts.into_iter().nth(root).unwrap_or_default())
        };
        let garbled = || Error::Ranks(format!("rank {root} sent something else than a broadcast"));
        let len = of_root(&(bytes.len() as u64).to_le_bytes())?;
        let len = <[u8; 8]>::try_from(len.as_slice()).map_err(|_| garbled())?;
        let len = u64::from_le_bytes(len);
        let (mut pieces, mut received) = (bytes.chunks(PIECE), Vec::new());
        while (received.len() as u64) < len {
            let piece = of_root(pieces.next().unwrap_or_default())?;
            if piece.is_empty() {
                return Err(garbled());
            }
            received.extend(piece);
        }
        Ok(received)
    }

    /// Returns when all ranks have called it.
    ///
    /// # Errors
    /// As [`all_to_all`](Self::all_to_all).
    fn barrier(&self) -> Result<()> {
        self.all_gather(&[]).map(drop)
    }

    /// Sums of the values of all ranks, element by element, in place: `((x0 + x1) + (x2 + x3)) + ...`, a binary tree that splits at the
    /// largest power of two below the number of ranks. The same bits on every rank, whatever else is in `values`.
    ///
    /// # Errors
    /// As [`all_to_all`](Self::all_to_all), and when the ranks pass different numbers of values.
    fn all_reduce_f32(&self, values: &mut [f32]) -> Result<()> {
        all_reduce(self, values)
    }

    /// [`all_reduce_f32`](Self::all_reduce_f32) of `f64`.
    ///
    /// # Errors
    /// As there.
    fn all_reduce_f64(&self, values: &mut [f64]) -> Result<()> {
        all_reduce(self, values)
    }
}

/// World of one rank.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl Communicator for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn world(&self) -> usize {
        1
    }

    fn all_to_all(&self, parts: &[&[u8]]) -> Result<Vec<Vec<u8>>> {
        Ok(parts.iter().map(|part| part.to_vec()).collect())
    }

    /// Does nothing: there is nobody to end.
    fn abort(&self, _code: i32, _why: &str) {}
}

/// Each rank gets a part of everybody's values, adds it up and sends the sums to all: the bytes of a ring, in two steps.
fn all_reduce<T: Pod + Add<Output = T>>(
    ranks: &(impl Communicator + ?Sized),
    values: &mut [T],
) -> Result<()> {
    let world = ranks.world();
    if world == 1 {
        return Ok(());
    }
    let len = values.len();
    let parts: Vec<_> = (0..world)
        .map(|rank| chunk_range(len, world, rank))
        .collect();
    let sent: Vec<&[u8]> = (parts.iter())
        .map(|part| cast_slice(&values[part.clone()]))
        .collect();
    let own = chunk_range(len, world, ranks.rank()).len();
    let terms = ranks.all_to_all(&sent)?.into_iter().enumerate();
    let terms = terms.map(|(rank, bytes)| read(rank, &bytes, own));
    let sum: Vec<T> = tree_sum(terms.collect::<Result<_>>()?);
    let sums = ranks.all_gather(cast_slice(&sum))?;
    for ((rank, bytes), part) in sums.iter().enumerate().zip(parts) {
        let sum = read(rank, bytes, part.len())?;
        values[part].copy_from_slice(&sum);
    }
    Ok(())
}

/// Values that a rank sent.
fn read<T: Pod>(rank: usize, bytes: &[u8], expected: usize) -> Result<Vec<T>> {
    if bytes.len() != expected * size_of::<T>() {
        return Err(Error::Ranks(format!(
            "rank {rank} sent {} bytes, expected {}: the ranks train different models",
            bytes.len(),
            expected * size_of::<T>()
        )));
    }
    let mut values = vec![T::zeroed(); expected];
    cast_slice_mut(&mut values).copy_from_slice(bytes);
    Ok(values)
}

/// Error for a rank whose message cannot be read.
pub(super) fn confused(rank: usize, expected: &str) -> Error {
    Error::Ranks(format!(
        "rank {rank} sent something else than {expected}: the ranks run different programs"
    ))
}

/// Sum in a binary tree, which splits at the largest power of two below the number of terms.
pub(super) fn tree_sum<T: Copy + Add<Output = T>>(mut terms: Vec<Vec<T>>) -> Vec<T> {
    let mut step = 1;
    while step < terms.len() {
        for left in (0..terms.len() - step).step_by(2 * step) {
            let (before, after) = terms.split_at_mut(left + step);
            for (x, &y) in before[left].iter_mut().zip(&after[0]) {
                *x = *x + y;
            }
        }
        step *= 2;
    }
    terms.into_iter().next().unwrap_or_default()
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
}
