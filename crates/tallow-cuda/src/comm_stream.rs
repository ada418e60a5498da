//! Sums over the GPUs of several processes, beside the work of this one.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use candle_core::cuda_backend::cudarc::driver::{CudaEvent, CudaSlice, CudaStream};
use candle_core::{CudaDevice, Tensor};

use crate::call::{Address, count};
use crate::calls::sum::{sum, table};
use crate::engine::Engine;
use crate::error::{Error, Result, driver};
use crate::nccl::{Library, Message, Patience, Peers, UniqueId};
use crate::view::{address, with_floats};

const OP: &str = "sum over GPUs";

/// Point in the work of a device, after which values are there.
#[derive(Debug)]
pub struct Mark(CudaEvent);

impl Mark {
    /// Point after all that this thread has queued on the device of a tensor.
    ///
    /// # Errors
    /// If the tensor is not on a CUDA device.
    pub fn of(tensor: &Tensor) -> Result<Self> {
        let stream = tensor.device().as_cuda_device()?.cuda_stream();
        let event = driver("cuEventRecord", stream.record_event(None))?;
        Ok(Self(event))
    }
}

/// Stream of a GPU on which processes exchange values and add them up, beside the stream of the GPU's work.
///
/// Functions queue their work and return, but for [`wait`](Self::wait) and [`exchange`](Self::exchange). All processes call the same ones in
/// the same order. After an error the stream is of no use any more: the others notice it, or wait until their limit.
pub struct CommStream {
    /// Dropped first, which ends what is under way.
    peers: Peers,
    stream: Arc<CudaStream>,
    engine: Arc<Engine>,
    /// Terms of this process' part of the values.
    terms: Option<CudaSlice<f32>>,
    /// Table of the last additions, on the host and on the device.
    pairs: Option<(Vec<u64>, CudaSlice<u64>)>,
    /// Tensors whose memory is in use.
    held: Vec<Tensor>,
}

impl std::fmt::Debug for CommStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CommStream({:?})", self.peers)
    }
}

impl CommStream {
    /// Joins the other processes as a rank of a world, with this device. Returns when all have; `limit` is for this and for each further
    /// wait.
    ///
    /// # Errors
    /// Those of NCCL, for two processes on one GPU for example.
    pub fn join(
        device: &CudaDevice,
        library: &'static Library,
        id: &UniqueId,
        place: (usize, usize),
        limit: Duration,
    ) -> Result<Self> {
        let context = device.cuda_stream().context().clone();
        let stream = driver("cuStreamCreate", context.new_stream())?;
        // NCCL takes the GPU of the thread.
        driver("cuCtxSetCurrent", context.bind_to_thread())?;
        let engine = Engine::of(device)?;
        Ok(Self {
            peers: Peers::join(library, id, place, limit)?,
            stream,
            engine,
            terms: None,
            pairs: None,
            held: Vec::new(),
        })
    }

    /// Name and version of NCCL.
    pub fn library(&self) -> String {
        self.peers.library()
    }

    /// Sets the time for which each wait may last.
    pub fn set_limit(&mut self, limit: Duration) {
        self.peers.set_limit(limit);
    }

    /// Ends the connection with the other processes, and what is under way.
    pub fn end(&mut self) {
        self.peers.end();
    }

    /// Has all that is queued from here on wait for the mark.
    ///
    /// # Errors
    /// Those of the driver.
    pub fn after(&mut self, mark: &Mark) -> Result<()> {
        driver("cuStreamWaitEvent", self.stream.wait(&mark.0))
    }

    /// Sends parts of `values`, floats, to the ranks, and receives terms from them: in `received` is the place of each among the terms. The
    /// tensor is kept until the next [`wait`](Self::wait).
    ///
    /// # Errors
    /// If a part lies outside the values, and those of NCCL.
    pub fn scatter(
        &mut self,
        values: &Tensor,
        sent: &[(usize, Range<usize>)],
        received: &[(usize, Range<usize>)],
    ) -> Result<()> {
        let room = received.iter().map(|(_, part)| part.end).max().unwrap_or(0);
        let terms = self.terms(room)?;
        let values = self.hold(values)?;
        self.start(messages(values, sent)?, messages(terms, received)?)
    }

    /// Adds terms of `len` floats: the second one of each pair to the first one, one pair after the other.
    ///
    /// # Errors
    /// If there are not so many terms.
    pub fn add(&mut self, pairs: &[(usize, usize)], len: usize) -> Result<()> {
        let most = pairs.iter().map(|&(left, right)| left.max(right)).max();
        let Some(most) = most.filter(|_| len > 0) else {
            return Ok(());
        };
        let (terms, room) = self.terms(0)?;
        let found = most.checked_add(1).and_then(|terms| terms.checked_mul(len));
        let (Some(_), Some(length)) = (found.filter(|&end| end <= room), count(len)) else {
            let (argument, expected) = ("the terms", most.saturating_add(1).saturating_mul(len));
            return Err(Error::Length {
                op: OP,
                argument,
                expected,
                found: room,
            });
        };
        let words = table(pairs);
        let known = self.pairs.take().filter(|(known, _)| *known == words);
        let (words, on_device) = match known {
            Some(known) => known,
            None => {
                let copy = driver("cuMemcpyHtoDAsync", self.stream.clone_htod(&words))?;
                (words, copy)
            }
        };
        let call = sum(terms, address(&on_device), words.len() as u32, length);
        // SAFETY: the terms have as many floats as the largest number in the table says; both belong to this stream, on which all of their
        // uses are queued.
        unsafe { self.engine.launch_on(&self.stream, &call)? };
        self.pairs = Some((words, on_device));
        Ok(())
    }

    /// Sends terms to the ranks, and receives parts of `values` from them. The tensor is kept until the next [`wait`](Self::wait).
    ///
    /// # Errors
    /// As [`scatter`](Self::scatter).
    pub fn gather(
        &mut self,
        values: &Tensor,
        sent: &[(usize, Range<usize>)],
        received: &[(usize, Range<usize>)],
    ) -> Result<()> {
        let terms = self.terms(0)?;
        let values = self.hold(values)?;
        self.start(messages(terms, sent)?, messages(values, received)?)
    }

    /// Waits until all that was queued is done.
    ///
    /// # Errors
    /// Those of NCCL; [`Error::Nccl`] when another process does not answer in time.
    pub fn wait(&mut self) -> Result<()> {
        let done = driver("cuEventRecord", self.stream.record_event(None))?;
        let (rank, limit) = (self.peers.rank(), self.peers.limit());
        let mut patience = Patience::new("exchange", rank, limit);
        loop {
            match done.try_is_complete() {
                Ok(true) => break,
                Ok(false) => {}
                Err(error) => {
                    self.peers.end();
                    return driver("cuEventQuery", Err(error));
                }
            }
            self.peers.check()?;
            patience.wait().inspect_err(|_| self.peers.end())?;
        }
        self.held.clear();
        Ok(())
    }

    /// Sends `parts[r]`, bytes on the host, to each rank `r`, and returns what each sent to this one. Waits for them.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn exchange(&mut self, parts: &[&[u8]]) -> Result<Vec<Vec<u8>>> {
        let world = self.peers.world();
        if parts.len() != world {
            let message = format!("{} parts for {world} ranks", parts.len());
            return Err(Error::Argument { op: OP, message });
        }
        let sizes: Vec<usize> = parts.iter().map(|part| part.len()).collect();
        let own = sizes.iter().flat_map(|&len| (len as u64).to_le_bytes());
        let own: Vec<u8> = own.collect();
        let word = vec![size_of::<u64>(); world];
        let announced = self.swap(&own, &word, &word)?;
        let (announced, _) = announced.as_chunks::<8>();
        let announced = announced.iter().map(|&len| u64::from_le_bytes(len));
        let announced = announced.map(|len| usize::try_from(len).unwrap_or(usize::MAX));
        let announced: Vec<usize> = announced.collect();
        let received = self.swap(&parts.concat(), &sizes, &announced)?;
        let mut rest = received.as_slice();
        let mut found = Vec::with_capacity(world);
        for len in announced {
            let (part, others) = rest.split_at(len);
            found.push(part.to_vec());
            rest = others;
        }
        Ok(found)
    }

    /// Sends bytes, so many to each rank, and receives so many from each.
    fn swap(&mut self, bytes: &[u8], sent: &[usize], received: &[usize]) -> Result<Vec<u8>> {
        let add = |sum: usize, &len: &usize| sum.checked_add(len);
        let Some(total) = received.iter().try_fold(0, add) else {
            let message = "a rank sends more bytes than there is room for".to_string();
            return Err(Error::Argument { op: OP, message });
        };
        // There is no memory of no bytes.
        let bytes = if bytes.is_empty() { &[0][..] } else { bytes };
        let from = driver("cuMemcpyHtoDAsync", self.stream.clone_htod(bytes))?;
        // SAFETY: bytes of any value are valid, and those that are read have been received.
        let to = driver("cuMemAllocAsync", unsafe {
            self.stream.alloc::<u8>(total.max(1))
        })?;
        self.start(
            in_turn(address(&from), sent),
            in_turn(address(&to), received),
        )?;
        // Also so that the copy below, which has no limit, does not wait.
        self.wait()?;
        let mut bytes = driver("cuMemcpyDtoHAsync", self.stream.clone_dtoh(&to))?;
        bytes.truncate(total);
        Ok(bytes)
    }

    /// Address of the terms, and their number: at least so many floats.
    fn terms(&mut self, room: usize) -> Result<(Address, usize)> {
        let found = self.terms.as_ref().map_or(0, |terms| terms.len());
        if found < room || self.terms.is_none() {
            // The old ones are freed on this stream, after their uses.
            self.terms = None;
            // SAFETY: floats of any bits are valid, and terms are received before they are read.
            let memory = unsafe { self.stream.alloc::<f32>(room.max(1)) };
            self.terms = Some(driver("cuMemAllocAsync", memory)?);
        }
        let terms = self.terms.as_ref();
        Ok(terms.map_or((0, 0), |terms| (address(terms), terms.len())))
    }

    /// Address and number of a tensor's floats, which are kept from now on.
    fn hold(&mut self, values: &Tensor) -> Result<(Address, usize)> {
        let place = with_floats(OP, values, |view| Ok((view.address(), view.len())))?;
        self.held.push(values.clone());
        Ok(place)
    }

    /// Queues an exchange.
    fn start(&mut self, sent: Vec<Message>, received: Vec<Message>) -> Result<()> {
        let context = self.stream.context();
        driver("cuCtxSetCurrent", context.bind_to_thread())?;
        let stream = self.stream.cu_stream().cast();
        // SAFETY: the messages lie in the terms, in tensors that are held, and in memory that is freed on this stream, after its uses. What is
        // received is not read or written elsewhere before the stream's work is done: parts of a tensor that the caller gave away.
        unsafe { self.peers.exchange(&sent, &received, stream)? };
        Ok(())
    }
}

impl Drop for CommStream {
    /// Ends what is under way, after an error, before the tensors that it uses are freed.
    fn drop(&mut self) {
        if !self.held.is_empty() {
            self.peers.end();
            // There is nothing to do about a failure.
            let _ = self.stream.synchronize();
        }
    }
}

/// Messages of these parts of floats at an address.
fn messages(
    (start, len): (Address, usize),
    parts: &[(usize, Range<usize>)],
) -> Result<Vec<Message>> {
    let message = |(rank, part): &(usize, Range<usize>)| {
        if part.start > part.end || part.end > len {
            return Err(Error::Length {
                op: OP,
                argument: "the values",
                expected: part.end,
                found: len,
            });
        }
        Ok(Message {
            rank: *rank,
            address: start + (part.start * size_of::<f32>()) as Address,
            bytes: part.len() * size_of::<f32>(),
        })
    };
    parts.iter().map(message).collect()
}

/// Messages of so many bytes to or from each rank, one after the other.
fn in_turn(start: Address, sizes: &[usize]) -> Vec<Message> {
    let mut address = start;
    let message = |(rank, &bytes): (usize, &usize)| {
        let message = Message {
            rank,
            address,
            bytes,
        };
        address += bytes as Address;
        message
    };
    sizes.iter().enumerate().map(message).collect()
}
