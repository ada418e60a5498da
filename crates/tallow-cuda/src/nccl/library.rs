//! The shared library.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::sync::OnceLock;

use super::error::{Error, Result};
use crate::loader::Wanted;

/// `ncclResult_t`.
pub(super) type Status = c_int;

/// `ncclSuccess`.
pub(super) const SUCCESS: Status = 0;
/// `ncclInProgress`.
pub(super) const IN_PROGRESS: Status = 7;
/// `ncclUint8`, of `ncclDataType_t`.
pub(super) const BYTES: c_int = 1;

/// `ncclComm_t`.
pub(super) type Comm = *mut c_void;

/// Name, file and variable of the library.
const NCCL: Wanted = Wanted {
    title: "NCCL 2",
    file: "libnccl.so.2",
    variable: "TALLOW_NCCL",
    package: "nvidia-nccl-cu13",
    folder: "nccl",
};

/// Oldest version that has all that is used here.
const OLDEST: c_int = 21_800;

/// `NCCL_CONFIG_UNDEF_INT`: the default.
const UNSET: c_int = c_int::MIN;

/// Name of a communicator, by which its processes find each other (`ncclUniqueId`).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UniqueId([u8; Self::LEN]);

impl UniqueId {
    /// Number of bytes.
    pub const LEN: usize = 128;

    /// Bytes, to be sent to the other processes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Name of these bytes; `None` if their number is another one.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

/// `ncclConfig_t` as of version 2.18, which later ones read by its size.
#[repr(C)]
// The library reads them.
#[allow(dead_code)]
pub(super) struct Config {
    pub(super) size: usize,
    pub(super) magic: c_uint,
    pub(super) version: c_uint,
    pub(super) blocking: c_int,
    cga_cluster_size: c_int,
    min_ctas: c_int,
    max_ctas: c_int,
    net_name: *const c_char,
    split_share: c_int,
    /// Padding in version 2.18, a field of later ones.
    later: c_int,
}

impl Config {
    /// Communicator whose functions return at once, so that every wait has a limit.
    pub(super) fn non_blocking() -> Self {
        Self {
            size: size_of::<Self>(),
            magic: 0xcafe_beef,
            version: OLDEST as c_uint,
            blocking: 0,
            cga_cluster_size: UNSET,
            min_ctas: UNSET,
            max_ctas: UNSET,
            net_name: std::ptr::null(),
            split_share: UNSET,
            later: UNSET,
        }
    }
}

/// Functions of NCCL.
pub struct Library {
    pub(super) version: c_int,
    pub(super) get_unique_id: unsafe extern "C" fn(*mut UniqueId) -> Status,
    pub(super) init: unsafe extern "C" fn(*mut Comm, c_int, UniqueId, c_int, *mut Config) -> Status,
    pub(super) finalize: unsafe extern "C" fn(Comm) -> Status,
    pub(super) destroy: unsafe extern "C" fn(Comm) -> Status,
    pub(super) abort: unsafe extern "C" fn(Comm) -> Status,
    pub(super) async_error: unsafe extern "C" fn(Comm, *mut Status) -> Status,
    pub(super) error_string: unsafe extern "C" fn(Status) -> *const c_char,
    pub(super) last_error: unsafe extern "C" fn(Comm) -> *const c_char,
    pub(super) group_start: unsafe extern "C" fn() -> Status,
    pub(super) group_end: unsafe extern "C" fn() -> Status,
    pub(super) send:
        unsafe extern "C" fn(*const c_void, usize, c_int, c_int, Comm, *mut c_void) -> Status,
    pub(super) receive:
        unsafe extern "C" fn(*mut c_void, usize, c_int, c_int, Comm, *mut c_void) -> Status,
    /// Keeps the functions valid; `None` for functions of this program.
    pub(super) _library: Option<libloading::Library>,
}

impl Library {
    /// Library of this process, looked for once.
    ///
    /// # Errors
    /// [`Error::Missing`] where there is none, or an old one.
    pub fn get() -> Result<&'static Self> {
        static LIBRARY: OnceLock<Result<Library, String>> = OnceLock::new();
        let found = LIBRARY.get_or_init(|| Self::of(NCCL.open(&NCCL.places())?));
        found
            .as_ref()
            .map_err(|message| Error::Missing(message.clone()))
    }

    fn of(library: libloading::Library) -> Result<Self, String> {
        /// [`Wanted::function`] of NCCL.
        ///
        /// # Safety
        /// `F` must be the type of the function.
        unsafe fn find<F: Copy>(library: &libloading::Library, name: &str) -> Result<F, String> {
            // SAFETY: the type is the caller's.
            unsafe { NCCL.function(library, name) }
        }
        // SAFETY: the types are those of nccl.h; enumerations are integers in C.
        unsafe {
            let get_version: unsafe extern "C" fn(*mut c_int) -> Status =
                find(&library, "ncclGetVersion")?;
            let mut version = 0;
            if get_version(&mut version) != SUCCESS || version < OLDEST {
                return Err(format!(
                    "NCCL has version {}, expected {} or later: install `{}`, or name another in {}",
                    dotted(version),
                    dotted(OLDEST),
                    NCCL.package,
                    NCCL.variable
                ));
            }
            Ok(Self {
                version,
                get_unique_id: find(&library, "ncclGetUniqueId")?,
                init: find(&library, "ncclCommInitRankConfig")?,
                finalize: find(&library, "ncclCommFinalize")?,
                destroy: find(&library, "ncclCommDestroy")?,
                abort: find(&library, "ncclCommAbort")?,
                async_error: find(&library, "ncclCommGetAsyncError")?,
                error_string: find(&library, "ncclGetErrorString")?,
                last_error: find(&library, "ncclGetLastError")?,
                group_start: find(&library, "ncclGroupStart")?,
                group_end: find(&library, "ncclGroupEnd")?,
                send: find(&library, "ncclSend")?,
                receive: find(&library, "ncclRecv")?,
                _library: Some(library),
            })
        }
    }

    /// Name and version, as `NCCL 2.27.3`.
    pub fn name(&self) -> String {
        format!("NCCL {}", dotted(self.version))
    }

    /// New name of a communicator. One process makes it, and sends it to the others.
    ///
    /// # Errors
    /// [`Error::Call`], such as for a machine without a network interface.
    pub fn unique_id(&self) -> Result<UniqueId> {
        let mut id = UniqueId([0; UniqueId::LEN]);
        // SAFETY: there is room for the name.
        match unsafe { (self.get_unique_id)(&mut id) } {
            SUCCESS => Ok(id),
            status => Err(self.error("ncclGetUniqueId", status, std::ptr::null_mut())),
        }
    }

    /// Error of a call that returned this status, with a communicator or none.
    pub(super) fn error(&self, call: &'static str, status: Status, comm: Comm) -> Error {
        // SAFETY: the functions take any number, and any communicator that was not destroyed, or none. They return texts of the library.
        let (text, detail) = unsafe {
            (
                text((self.error_string)(status)),
                text((self.last_error)(comm)),
            )
        };
        Error::Call {
            call,
            status,
            text,
            detail,
        }
    }
}

/// Text of the library; empty for a null pointer.
///
/// # Safety
/// The pointer is null, or one to a text that ends with a zero byte.
unsafe fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: by the contract.
    let text = unsafe { CStr::from_ptr(pointer) };
    text.to_string_lossy().trim().to_string()
}

/// Version with dots, of a number such as 22703.
fn dotted(version: c_int) -> String {
    format!(
        "{}.{}.{}",
        version / 10_000,
        version / 100 % 100,
        version % 100
    )
}
