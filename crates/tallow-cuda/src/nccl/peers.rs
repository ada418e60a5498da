//! Messages between the GPUs of several processes.

use std::ffi::{c_int, c_void};
use std::thread;
use std::time::Duration;

use super::error::{Error, Result};
use super::library::{BYTES, Comm, Config, IN_PROGRESS, Library, SUCCESS, Status, UniqueId};
use super::patience::Patience;
use crate::call::Address;

/// Time for a clean end, after which it is an end all the same.
const END: Duration = Duration::from_secs(10);

/// Bytes that are sent to a rank, or come from one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// The other rank, or this one.
    pub rank: usize,
    /// Address of the first byte.
    pub address: Address,
    /// Number of bytes; nothing is sent for 0.
    pub bytes: usize,
}

/// The GPUs of several processes, from the point of view of one of them: an NCCL communicator.
///
/// No function waits without a limit. An error ends the connection, also for messages that are under way; the other processes see an error
/// or wait until their limit. It belongs to no thread.
pub struct Peers {
    library: &'static Library,
    /// Null after the end.
    comm: Comm,
    rank: usize,
    world: usize,
    limit: Duration,
}

// SAFETY: NCCL's communicators may be used by any thread, one at a time; `&mut self` sees to it.
unsafe impl Send for Peers {}

impl std::fmt::Debug for Peers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Peers(rank {} of {})", self.rank, self.world)
    }
}

impl Peers {
    /// Joins the other processes as a rank of `world`, on the GPU whose context is current in this thread. Returns when all have; `limit` is
    /// for this and for each further wait.
    ///
    /// # Errors
    /// [`Error::Call`], for two processes on one GPU for example, and [`Error::Silent`].
    pub fn join(
        library: &'static Library,
        id: &UniqueId,
        (rank, world): (usize, usize),
        limit: Duration,
    ) -> Result<Self> {
        let mut peers = Self {
            library,
            comm: std::ptr::null_mut(),
            rank,
            world,
            limit,
        };
        let mut config = Config::non_blocking();
        // SAFETY: the communicator is written, and the configuration read, during the call.
        let status = unsafe {
            (library.init)(
                &mut peers.comm,
                world as c_int,
                *id,
                rank as c_int,
                &mut config,
            )
        };
        peers.settle("ncclCommInitRankConfig", status)?;
        Ok(peers)
    }

    /// Number of this process.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Number of processes.
    pub fn world(&self) -> usize {
        self.world
    }

    /// Time for which each wait may last.
    pub fn limit(&self) -> Duration {
        self.limit
    }

    /// Sets the time for which each wait may last.
    pub fn set_limit(&mut self, limit: Duration) {
        self.limit = limit;
    }

    /// Name and version of the library.
    pub fn library(&self) -> String {
        self.library.name()
    }

    /// Queues an exchange of messages on a stream, all of them at once. Each rank takes part, with a message for each that is sent to it, of
    /// as many bytes. The context of the GPU is current in this thread.
    ///
    /// # Errors
    /// [`Error::Call`] and [`Error::Silent`].
    ///
    /// # Safety
    /// The stream is one of the GPU. The addresses are of its memory, with as many bytes; what is received overlaps nothing else. The memory
    /// is left as it is until the work of the stream is done.
    pub unsafe fn exchange(
        &mut self,
        sent: &[Message],
        received: &[Message],
        stream: *mut c_void,
    ) -> Result<()> {
        let comm = self.comm()?;
        let library = self.library;
        // SAFETY: a group has no conditions.
        let status = unsafe { (library.group_start)() };
        self.queued("ncclGroupStart", status)?;
        let mut failed = None;
        let fails = |call, status: Status| match status {
            SUCCESS | IN_PROGRESS => None,
            status => Some((call, status)),
        };
        for message in sent.iter().filter(|message| message.bytes > 0) {
            let at = message.address as usize as *const c_void;
            let rank = message.rank as c_int;
            // SAFETY: the communicator has not ended; the memory and the stream are the caller's.
            let status = unsafe { (library.send)(at, message.bytes, BYTES, rank, comm, stream) };
            failed = failed.or_else(|| fails("ncclSend", status));
        }
        for message in received.iter().filter(|message| message.bytes > 0) {
            let at = message.address as usize as *mut c_void;
            let rank = message.rank as c_int;
            // SAFETY: as above.
            let status = unsafe { (library.receive)(at, message.bytes, BYTES, rank, comm, stream) };
            failed = failed.or_else(|| fails("ncclRecv", status));
        }
        // After an error too: this thread is in the group until its end.
        // SAFETY: the group was started above.
        let status = unsafe { (library.group_end)() };
        if let Some((call, status)) = failed {
            return Err(self.fail(call, status));
        }
        self.settle("ncclGroupEnd", status)
    }

    /// Looks for errors of what is under way.
    ///
    /// # Errors
    /// [`Error::Call`].
    pub fn check(&mut self) -> Result<()> {
        let call = "ncclCommGetAsyncError";
        let state = self.state(call)?;
        self.queued(call, state)
    }

    /// Ends the connection, and what is under way.
    pub fn end(&mut self) {
        let comm = std::mem::replace(&mut self.comm, std::ptr::null_mut());
        if !comm.is_null() {
            // SAFETY: the communicator has not ended before, and is not used again. There is nothing to do about a failure.
            unsafe { (self.library.abort)(comm) };
        }
    }

    fn comm(&self) -> Result<Comm> {
        match self.comm.is_null() {
            true => Err(Error::Ended),
            false => Ok(self.comm),
        }
    }

    /// State of what was started last.
    fn state(&mut self, call: &'static str) -> Result<Status> {
        let comm = self.comm()?;
        let mut state = SUCCESS;
        // SAFETY: the communicator has not ended, and the state is written during the call.
        let status = unsafe { (self.library.async_error)(comm, &mut state) };
        self.queued(call, status)?;
        Ok(state)
    }

    /// Result of a call that need not be done yet.
    fn queued(&mut self, call: &'static str, status: Status) -> Result<()> {
        match status {
            SUCCESS | IN_PROGRESS => Ok(()),
            status => Err(self.fail(call, status)),
        }
    }

    /// Waits until a call is done, which returned this status.
    fn settle(&mut self, call: &'static str, status: Status) -> Result<()> {
        self.queued(call, status)?;
        let mut patience = Patience::new(call, self.rank, self.limit);
        loop {
            match self.state(call)? {
                SUCCESS => return Ok(()),
                IN_PROGRESS => patience.wait().inspect_err(|_| self.end())?,
                status => return Err(self.fail(call, status)),
            }
        }
    }

    /// Error of a call. The connection ends with it.
    fn fail(&mut self, call: &'static str, status: Status) -> Error {
        let error = self.library.error(call, status, self.comm);
        self.end();
        error
    }
}

impl Drop for Peers {
    /// Leaves the others after what is under way is done; at once after a panic.
    fn drop(&mut self) {
        if self.comm.is_null() || thread::panicking() {
            return self.end();
        }
        self.limit = self.limit.min(END);
        // SAFETY: the communicator has not ended, and nothing is started with it any more.
        let status = unsafe { (self.library.finalize)(self.comm) };
        // After an error it has been ended.
        if self.settle("ncclCommFinalize", status).is_ok() {
            // SAFETY: the communicator is not used again. There is nothing to do about a failure.
            unsafe { (self.library.destroy)(self.comm) };
            self.comm = std::ptr::null_mut();
        }
    }
}
