//! Ranks with a GPU each, whose gradients are added in the memory of the GPUs.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use candle_core::{CudaDevice, Device, DeviceLocation, Tensor};
use tallow_cuda::nccl::{Library, UniqueId};
use tallow_cuda::{CommStream, Mark};

use super::communicator::{Communicator, confused};
use super::device_sums::{DeviceSum, DeviceSums};
use super::rendezvous;
use super::sum::{self, Messages, Transport};
use crate::error::{Error, Result};

/// Time in which all ranks must have joined.
const JOIN: Duration = Duration::from_secs(120);

/// Number of CUDA devices that this process sees.
///
/// # Errors
/// If there is no driver.
pub fn cuda_device_count() -> Result<usize> {
    Ok(tallow_cuda::device_count().map_err(candle_core::Error::from)?)
}

/// Ranks of a communicator with a GPU each: gradients are added in the memory of the GPUs, by messages of NCCL, and all else goes the way of
/// the communicator.
///
/// The sums have the bits of those on the host: NCCL carries values, and they are added in the tree of [`Communicator::all_reduce_f32`]. The
/// library is found at run time: `TALLOW_NCCL` names its file or folder, otherwise it is looked for where the system's loader looks, and beside
/// the loaded cuBLAS.
#[derive(Debug)]
pub struct WithNccl {
    ranks: Arc<dyn Communicator>,
    sums: Arc<NcclSums>,
}

impl WithNccl {
    /// Joins the GPUs of all ranks; this one has `device`. Each rank waits for at most `limit` for news from another one.
    ///
    /// # Errors
    /// [`Error::NoNccl`] on all ranks where NCCL is missing on one, or two have the same GPU, or it fails: gradients can go through the host, by
    /// the communicator itself. Others when a rank has ended.
    pub fn join(ranks: Arc<dyn Communicator>, device: &Device, limit: Duration) -> Result<Self> {
        let device = device.as_cuda_device()?;
        let place = (ranks.rank(), ranks.world());
        let library = Library::get().map_err(|error| error.to_string());
        let card = tallow_cuda::uuid(device).map_err(|error| error.to_string());
        let known = library.clone().and(card).map(|card| card.to_vec());
        let cards = agree(&*ranks, known)?;
        for (rank, card) in cards.iter().enumerate() {
            if let Some(first) = cards[..rank].iter().position(|other| other == card) {
                return Err(Error::NoNccl(format!(
                    "ranks {first} and {rank} have the same GPU, and it needs one for each"
                )));
            }
        }
        let library = library.map_err(Error::NoNccl)?;
        let id = match place.0 {
            0 => library.unique_id().map(|id| id.as_bytes().to_vec()),
            _ => Ok(Vec::new()),
        };
        let ids = agree(&*ranks, id.map_err(|error| error.to_string()))?;
        let id = ids.first().and_then(|id| UniqueId::from_bytes(id));
        let id = id.ok_or_else(|| confused(0, "the name of a communicator of NCCL"))?;
        // Shorter than the time for which a rank that has failed waits for the others.
        let joined = NcclSums::join(device, library, &id, place, limit / 2);
        let done = joined.as_ref().map(|_| Vec::new());
        agree(&*ranks, done.map_err(|error| error.to_string()))?;
        let sums = joined?;
        sums.lock().set_limit(limit);
        Ok(Self {
            ranks,
            sums: Arc::new(sums),
        })
    }
}

impl Communicator for WithNccl {
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

    fn host(&self) -> String {
        self.ranks.host()
    }

    fn bucket_bytes(&self) -> usize {
        self.ranks.bucket_bytes()
    }

    fn device_sums(&self, device: &Device) -> Option<Arc<dyn DeviceSums>> {
        self.sums.on(device)
    }
}

/// Processes with a GPU each that no launcher of MPI has started: NCCL carries all that they send, and a file that all can read and write, which
/// is removed once they have found each other, is enough for a beginning.
#[derive(Debug)]
pub struct Nccl {
    sums: Arc<NcclSums>,
    host: String,
}

impl Nccl {
    /// Joins the processes that name the same file, as a rank of so many; this one has `device`. Each waits for at most `limit` for news from
    /// another one.
    ///
    /// # Errors
    /// [`Error::Ranks`] where NCCL is missing or fails, the file is there already, or the others do not come.
    pub fn join(
        file: impl AsRef<Path>,
        (rank, world): (usize, usize),
        device: &Device,
        limit: Duration,
    ) -> Result<Self> {
        if rank >= world {
            let message = format!("there is no rank {rank} in a world of {world}");
            return Err(Error::Ranks(message));
        }
        let (file, place) = (file.as_ref(), (rank, world));
        let device = device.as_cuda_device()?;
        let library = Library::get().map_err(|error| Error::Ranks(error.to_string()))?;
        let make = || match library.unique_id() {
            Ok(id) => Ok(id.as_bytes().to_vec()),
            Err(error) => Err(Error::Ranks(error.to_string())),
        };
        let token = rendezvous::share(file, place, make, limit.min(JOIN))?;
        let joined = match UniqueId::from_bytes(&token) {
            Some(id) => NcclSums::join(device, library, &id, place, limit),
            None => Err(confused(0, "the name of a communicator of NCCL")),
        };
        // The others have read it, or do not join any more.
        if rank == 0 {
            rendezvous::remove(file);
        }
        let sums = joined?;
        sums.lock().set_limit(limit);
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Ok(Self {
            sums: Arc::new(sums),
            host: host.trim().to_string(),
        })
    }
}

impl Communicator for Nccl {
    fn rank(&self) -> usize {
        self.sums.place.0
    }

    fn world(&self) -> usize {
        self.sums.place.1
    }

    fn all_to_all(&self, parts: &[&[u8]]) -> Result<Vec<Vec<u8>>> {
        self.sums.lock().exchange(parts).map_err(failed)
    }

    /// Ends the connection, which the others notice. The exit code is that of the caller.
    fn abort(&self, _code: i32, _why: &str) {
        self.sums.lock().end();
    }

    fn host(&self) -> String {
        self.host.clone()
    }

    fn device_sums(&self, device: &Device) -> Option<Arc<dyn DeviceSums>> {
        self.sums.on(device)
    }
}

/// Sums in the memory of the GPUs.
#[derive(Debug)]
struct NcclSums {
    place: (usize, usize),
    /// GPU of this rank.
    device: DeviceLocation,
    library: String,
    stream: Arc<Mutex<CommStream>>,
}

impl NcclSums {
    fn join(
        device: &CudaDevice,
        library: &'static Library,
        id: &UniqueId,
        place: (usize, usize),
        limit: Duration,
    ) -> Result<Self> {
        let joined = CommStream::join(device, library, id, place, limit.min(JOIN));
        let mut stream = joined.map_err(failed)?;
        // A library with another interface than expected shows here, and not as a wrong result.
        let number = |rank: usize| (rank as u64).to_le_bytes().to_vec();
        let own = number(place.0);
        let parts = vec![own.as_slice(); place.1];
        let found = stream.exchange(&parts).map_err(failed)?;
        if !found.into_iter().eq((0..place.1).map(number)) {
            let message = format!(
                "messages by {} arrive in another order or with another content",
                stream.library()
            );
            return Err(Error::Ranks(message));
        }
        let gpu_id = device.cuda_stream().context().ordinal();
        Ok(Self {
            place,
            device: DeviceLocation::Cuda { gpu_id },
            library: stream.library(),
            stream: Arc::new(Mutex::new(stream)),
        })
    }

    /// The sums, for tensors on this device.
    fn on(self: &Arc<Self>, device: &Device) -> Option<Arc<dyn DeviceSums>> {
        let sums: Arc<dyn DeviceSums> = self.clone();
        (device.location() == self.device).then_some(sums)
    }

    fn lock(&self) -> MutexGuard<'_, CommStream> {
        lock(&self.stream)
    }
}

impl DeviceSums for NcclSums {
    fn begin(&self, values: Tensor) -> Result<DeviceSum> {
        let ready = Mark::of(&values).map_err(failed)?;
        let (stream, place) = (Arc::clone(&self.stream), self.place);
        Ok(Box::new(move || -> Result<Tensor> {
            let mut stream = lock(&stream);
            stream.after(&ready).map_err(failed)?;
            let mut on_gpu = OnGpu {
                stream: &mut stream,
                values: &values,
            };
            sum::all_reduce(&mut on_gpu, place, values.elem_count())?;
            Ok(values)
        }))
    }

    fn wait(&self) -> Result<()> {
        self.lock().wait().map_err(failed)
    }

    fn library(&self) -> String {
        self.library.clone()
    }
}

/// Values in the memory of a GPU.
struct OnGpu<'a> {
    stream: &'a mut CommStream,
    values: &'a Tensor,
}

impl Transport for OnGpu<'_> {
    fn scatter(&mut self, Messages { sent, received }: &Messages) -> Result<()> {
        let queued = self.stream.scatter(self.values, sent, received);
        queued.map_err(failed)
    }

    fn add(&mut self, pairs: &[(usize, usize)], len: usize) -> Result<()> {
        self.stream.add(pairs, len).map_err(failed)
    }

    fn gather(&mut self, Messages { sent, received }: &Messages) -> Result<()> {
        let queued = self.stream.gather(self.values, sent, received);
        queued.map_err(failed)
    }
}

/// Bytes of each rank, if all have some; otherwise the reason of the first one that has not, on all.
fn agree(ranks: &dyn Communicator, own: Result<Vec<u8>, String>) -> Result<Vec<Vec<u8>>> {
    let message = match &own {
        Ok(bytes) => [&[1][..], bytes].concat(),
        Err(why) => [&[0][..], why.as_bytes()].concat(),
    };
    let mut all = Vec::new();
    for (rank, message) in ranks.all_gather(&message)?.iter().enumerate() {
        match message.split_first() {
            Some((1, bytes)) => all.push(bytes.to_vec()),
            Some((0, why)) => {
                let why = String::from_utf8_lossy(why);
                return Err(Error::NoNccl(format!("rank {rank}: {why}")));
            }
            _ => return Err(confused(rank, "what it has of NCCL")),
        }
    }
    Ok(all)
}

fn failed(error: tallow_cuda::Error) -> Error {
    Error::Ranks(error.to_string())
}

fn lock(stream: &Mutex<CommStream>) -> MutexGuard<'_, CommStream> {
    // An error in the middle ends the connection, and so does a panic at the latest when it is dropped.
    stream.lock().unwrap_or_else(PoisonError::into_inner)
}
