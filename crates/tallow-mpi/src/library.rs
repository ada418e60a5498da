//! MPI library, loaded at run time.

mod functions;
#[cfg(unix)]
mod symbols;

use std::ffi::{c_char, c_int};

use self::functions::Text;
pub(crate) use self::functions::{Library, Request};
use crate::error::{Error, Result};
use crate::exchange::Wire;

/// Tag of all messages.
const TAG: c_int = 0x7a11;

/// Room for the longest text that a library gives: `MPI_MAX_LIBRARY_VERSION_STRING` is at most 8192.
const TEXT: usize = 1 << 14;

impl Library {
    /// Loads a library: the one of this name, or the first one that is there, that of Open MPI first or last. Returns its name too.
    #[cfg(unix)]
    pub fn open(named: Option<&str>, open_mpi_first: bool) -> Result<(Self, String)> {
        symbols::open(named, open_mpi_first)
    }

    /// There is none that this crate knows to load.
    #[cfg(not(unix))]
    pub fn open(_: Option<&str>, _: bool) -> Result<(Self, String)> {
        Err(Error::Unsupported)
    }

    /// Starts MPI in this process. Nothing but [`abort`](Self::abort) may be called by another thread than this one from here on.
    pub fn init(&self) -> Result<()> {
        let mut provided = 0;
        // The level is asked for since the first thread of the program is another one. What is provided does not matter: one thread calls.
        let level = self.constants.thread_multiple;
        // SAFETY: null pointers stand for no arguments, and `provided` outlives the call. A process has one world, see `Mpi::join`.
        let code = unsafe {
            (self.init_thread)(
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                level,
                &mut provided,
            )
        };
        outside("MPI_Init_thread", code)?;
        // A library ends all processes at an error else, before the one that has died is named.
        // SAFETY: both handles are those of the library.
        let code =
            unsafe { (self.set_errhandler)(self.constants.world, self.constants.errors_return) };
        self.check("MPI_Comm_set_errhandler", code)
    }

    /// Ends MPI in this process. Nothing is called after it.
    pub fn finalize(&self) -> Result<()> {
        // SAFETY: no message is under way, see `exchange`.
        outside("MPI_Finalize", unsafe { (self.finalize)() })
    }

    /// Rank of this process, and number of processes.
    pub fn rank_and_world(&self) -> Result<(usize, usize)> {
        let (mut rank, mut world) = (0, 0);
        // SAFETY: the handle is that of the library, and the number outlives the call.
        let code = unsafe { (self.comm_rank)(self.constants.world, &mut rank) };
        self.check("MPI_Comm_rank", code)?;
        // SAFETY: as above.
        let code = unsafe { (self.comm_size)(self.constants.world, &mut world) };
        self.check("MPI_Comm_size", code)?;
        let wrong = |_| Error::Call {
            function: "MPI_Comm_rank",
            code: rank,
            text: "a negative number".to_string(),
        };
        Ok((
            usize::try_from(rank).map_err(wrong)?,
            usize::try_from(world).map_err(wrong)?,
        ))
    }

    /// Ends all processes with this exit code. May be called by any thread. Returns only if the library cannot.
    pub fn abort(&self, code: i32) {
        // SAFETY: the handle is that of the library. MPI need not be left in a state to go on with.
        unsafe { (self.abort)(self.constants.world, code) };
    }

    /// First line of the name and version of the library.
    pub fn version(&self) -> String {
        first_line(self.library_version)
    }

    /// Name of this machine.
    pub fn host(&self) -> String {
        first_line(self.processor_name)
    }

    fn check(&self, function: &'static str, code: c_int) -> Result<()> {
        checked(function, code, || {
            // SAFETY: see `text`; any code may be asked for.
            let text = text(|bytes, len| unsafe { (self.error_string)(code, bytes, len) });
            let lines: Vec<&str> = text.lines().map(str::trim).collect();
            lines.join(" ")
        })
    }
}

/// As [`Library::check`], of a function outside of which a library may end the process that asks it for a text.
fn outside(function: &'static str, code: c_int) -> Result<()> {
    checked(function, code, || "no text".to_string())
}

fn checked(function: &'static str, code: c_int, text: impl FnOnce() -> String) -> Result<()> {
    match code {
        0 => Ok(()),
        code => Err(Error::Call {
            function,
            code,
            text: text(),
        }),
    }
}

impl Wire for Library {
    type Request = Request;

    unsafe fn send(&self, bytes: *const u8, len: usize, to: usize) -> Result<Request> {
        let mut request = Request::default();
        // SAFETY: the caller keeps the bytes until the message is done; the request outlives the call and is not used elsewhere.
        let code = unsafe {
            (self.isend)(
                bytes.cast(),
                len as c_int,
                self.constants.byte,
                to as c_int,
                TAG,
                self.constants.world,
                &mut request,
            )
        };
        self.check("MPI_Isend", code).map(|()| request)
    }

    unsafe fn receive(&self, bytes: *mut u8, len: usize, from: usize) -> Result<Request> {
        let mut request = Request::default();
        // SAFETY: as in `send`; the caller leaves the bytes alone until the message is done.
        let code = unsafe {
            (self.irecv)(
                bytes.cast(),
                len as c_int,
                self.constants.byte,
                from as c_int,
                TAG,
                self.constants.world,
                &mut request,
            )
        };
        self.check("MPI_Irecv", code).map(|()| request)
    }

    fn is_done(&self, request: &mut Request) -> Result<bool> {
        let mut done = 0;
        // SAFETY: the request is one of `MPI_Isend` or `MPI_Irecv`, or the null request that a finished one has become.
        let code = unsafe { (self.test)(request, &mut done, self.constants.status_ignore) };
        self.check("MPI_Test", code).map(|()| done != 0)
    }
}

/// First line of a text that a function of MPI gives.
fn first_line(function: Text) -> String {
    // SAFETY: see `text`.
    let text = text(|bytes, len| unsafe { function(bytes, len) });
    text.lines().next().unwrap_or_default().trim().to_string()
}

/// Text that a function of MPI writes, with its length. It is called with room for the longest text; both pointers outlive the call.
fn text(function: impl FnOnce(*mut c_char, *mut c_int) -> c_int) -> String {
    let mut bytes = vec![0u8; TEXT];
    let mut len = 0;
    let code = function(bytes.as_mut_ptr().cast(), &mut len);
    let len = if code == 0 { len } else { 0 };
    bytes.truncate(usize::try_from(len).unwrap_or(0));
    let text = String::from_utf8_lossy(&bytes);
    text.trim_end_matches('\0').to_string()
}
