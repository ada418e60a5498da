//! Communication between the ranks that train one model.

use std::fmt;
use std::ops::Add;
use std::sync::Arc;

use candle_core::Device;
use pulp::bytemuck::{Pod, cast_slice, cast_slice_mut};

use super::device_sums::DeviceSums;
use super::sum::{self, Messages, Transport};
use crate::error::{Error, Result};

/// Bytes that a broadcast sends at a time.
const PIECE: usize = 4 << 20;

/// Part of a rank to which nothing is sent.
const NOTHING: &[u8] = &[];

/// Bytes of gradients that are added at a time, unless the communicator has another number: 4 MB.
pub const BUCKET_BYTES: usize = 4 << 20;

/// Connection of a rank, a process or a thread, with the others that train the same model.
///
/// [`Trainer::with_communicator`](crate::Trainer::with_communicator) takes one. [`Alone`] is a world of one rank, [`Threads`](crate::Threads) a
/// world of threads in one process; the crate `tallow-mpi` has one of processes on any number of machines. With the feature `cuda`,
/// `WithNccl` adds the gradients of any of them on GPUs, and `Nccl` needs none of them. Of what is sent, a communicator of your own needs
/// [`all_to_all`](Self::all_to_all) alone: all else is made of it, the sums too, so that their bits are the same for every communicator.
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
        BUCKET_BYTES
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

    /// Sums in the memory of this device, for gradients that never leave it; `None`, the default, for gradients that go through the host, which
    /// works for every device. All ranks have the same.
    fn device_sums(&self, device: &Device) -> Option<Arc<dyn DeviceSums>> {
        let _ = device;
        None
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

/// Sums of values in the memory of the host.
fn all_reduce<T: Pod + Add<Output = T>>(
    ranks: &(impl Communicator + ?Sized),
    values: &mut [T],
) -> Result<()> {
    let (place, len) = ((ranks.rank(), ranks.world()), values.len());
    if place.1 == 1 {
        return Ok(());
    }
    let mut host = Host {
        ranks,
        values,
        terms: Vec::new(),
    };
    sum::all_reduce(&mut host, place, len)
}

/// Memory of the host, whose values go to the other ranks as bytes.
struct Host<'a, C: ?Sized, T> {
    ranks: &'a C,
    values: &'a mut [T],
    terms: Vec<T>,
}

impl<C: Communicator + ?Sized, T: Pod + Add<Output = T>> Transport for Host<'_, C, T> {
    fn scatter(&mut self, messages: &Messages) -> Result<()> {
        let ends = messages.received.iter().map(|(_, part)| part.end);
        self.terms = vec![T::zeroed(); ends.max().unwrap_or(0)];
        exchange(self.ranks, messages, self.values, &mut self.terms)
    }

    fn add(&mut self, pairs: &[(usize, usize)], len: usize) -> Result<()> {
        sum::add(&mut self.terms, pairs, len);
        Ok(())
    }

    fn gather(&mut self, messages: &Messages) -> Result<()> {
        exchange(self.ranks, messages, &self.terms, self.values)
    }
}

/// Sends values `from` one memory of this rank, and receives values `to` another one.
pub(super) fn exchange<T: Pod>(
    ranks: &(impl Communicator + ?Sized),
    messages: &Messages,
    from: &[T],
    to: &mut [T],
) -> Result<()> {
    let mut sent: Vec<&[u8]> = vec![NOTHING; ranks.world()];
    for (rank, part) in &messages.sent {
        sent[*rank] = cast_slice(&from[part.clone()]);
    }
    let received = ranks.all_to_all(&sent)?;
    for (rank, part) in &messages.received {
        let bytes = received.get(*rank).map_or(NOTHING, Vec::as_slice);
        let place = cast_slice_mut::<T, u8>(&mut to[part.clone()]);
        if bytes.len() != place.len() {
            return Err(Error::Ranks(format!(
                "rank {rank} sent {} bytes, expected {}: the ranks train different models",
                bytes.len(),
                place.len()
            )));
        }
        place.copy_from_slice(bytes);
    }
    Ok(())
}

/// Error for a rank whose message cannot be read.
pub(super) fn confused(rank: usize, expected: &str) -> Error {
    Error::Ranks(format!(
        "rank {rank} sent something else than {expected}: the ranks run different programs"
    ))
}
