//! Functions of an MPI library, and their types.

use std::ffi::{c_char, c_int, c_void};

use crate::abi::Constants;

/// Message under way: `MPI_Request`, a pointer or an `int`, which has room in a word.
#[repr(transparent)]
#[derive(Debug, Default)]
pub(crate) struct Request(pub(super) usize);

pub(super) type InitThread =
    unsafe extern "C" fn(*mut c_int, *mut *mut *mut c_char, c_int, *mut c_int) -> c_int;
pub(super) type Finalize = unsafe extern "C" fn() -> c_int;
pub(super) type Number = unsafe extern "C" fn(usize, *mut c_int) -> c_int;
pub(super) type Isend =
    unsafe extern "C" fn(*const c_void, c_int, usize, c_int, c_int, usize, *mut Request) -> c_int;
pub(super) type Irecv =
    unsafe extern "C" fn(*mut c_void, c_int, usize, c_int, c_int, usize, *mut Request) -> c_int;
pub(super) type Test = unsafe extern "C" fn(*mut Request, *mut c_int, usize) -> c_int;
pub(super) type Abort = unsafe extern "C" fn(usize, c_int) -> c_int;
pub(super) type SetErrhandler = unsafe extern "C" fn(usize, usize) -> c_int;
pub(super) type ErrorString = unsafe extern "C" fn(c_int, *mut c_char, *mut c_int) -> c_int;
pub(super) type Text = unsafe extern "C" fn(*mut c_char, *mut c_int) -> c_int;

/// Functions of an MPI library.
///
/// The signatures are those of every library: arguments that are handles are words here. Where a library takes an `int`, it reads the
/// lower half of the word's register, on the processors of 64 bits that there are; so a handle need not be of the library's own type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Library {
    pub(super) constants: Constants,
    pub(super) init_thread: InitThread,
    pub(super) finalize: Finalize,
    pub(super) comm_rank: Number,
    pub(super) comm_size: Number,
    pub(super) isend: Isend,
    pub(super) irecv: Irecv,
    pub(super) test: Test,
    pub(super) abort: Abort,
    pub(super) set_errhandler: SetErrhandler,
    pub(super) error_string: ErrorString,
    pub(super) library_version: Text,
    pub(super) processor_name: Text,
}
