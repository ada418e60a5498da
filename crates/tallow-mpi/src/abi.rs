//! Constants of the binary interfaces of MPI libraries.
//!
//! MPI fixes the names of functions, and before version 5 nothing of how a handle or a constant is stored. Handles are pointers in
//! Open MPI and integers in MPICH, whose interface Intel MPI and MVAPICH have too. Here each is a word.

use std::ffi::{OsStr, c_int};
use std::path::Path;

/// Kind of library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Abi {
    /// Open MPI: the handles are addresses of objects in the library.
    OpenMpi,
    /// MPICH, Intel MPI, MVAPICH.
    Mpich,
    /// Standard interface of MPI 5.
    Standard,
}

/// Constants that the functions are called with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Constants {
    /// `MPI_COMM_WORLD`.
    pub world: usize,
    /// `MPI_BYTE`.
    pub byte: usize,
    /// `MPI_ERRORS_RETURN`.
    pub errors_return: usize,
    /// `MPI_STATUS_IGNORE`.
    pub status_ignore: usize,
    /// `MPI_THREAD_MULTIPLE`.
    pub thread_multiple: c_int,
}

/// Names of the objects of Open MPI whose addresses are the handles.
pub(crate) const OPEN_MPI_WORLD: &std::ffi::CStr = c"ompi_mpi_comm_world";
pub(crate) const OPEN_MPI_BYTE: &std::ffi::CStr = c"ompi_mpi_byte";
const OPEN_MPI_ERRORS_RETURN: &std::ffi::CStr = c"ompi_mpi_errors_return";

impl Abi {
    /// Kind of a library with this name or path. The standard fixes the name of a library with its interface. Of the others only Open MPI's
    /// has the objects of its handles.
    pub fn of(file: &str, has_open_mpi_objects: bool) -> Self {
        let name = Path::new(file).file_name().and_then(OsStr::to_str);
        match name.is_some_and(|name| name.contains("mpi_abi")) {
            true => Self::Standard,
            false if has_open_mpi_objects => Self::OpenMpi,
            false => Self::Mpich,
        }
    }

    /// Constants; `address` gives that of an object of the library.
    pub fn constants<E>(
        self,
        address: impl Fn(&'static std::ffi::CStr) -> Result<usize, E>,
    ) -> Result<Constants, E> {
        Ok(match self {
            Self::OpenMpi => Constants {
                world: address(OPEN_MPI_WORLD)?,
                byte: address(OPEN_MPI_BYTE)?,
                errors_return: address(OPEN_MPI_ERRORS_RETURN)?,
                status_ignore: 0,
                thread_multiple: 3,
            },
            Self::Mpich => Constants {
                world: 0x4400_0000,
                byte: 0x4c00_010d,
                errors_return: 0x5400_0001,
                status_ignore: 1,
                thread_multiple: 3,
            },
            Self::Standard => Constants {
                world: 0x101,
                byte: 0x247,
                errors_return: 0x143,
                status_ignore: 0,
                thread_multiple: 4096,
            },
        })
    }
}

/// File names of libraries, those of the launcher's family first.
pub(crate) fn file_names(open_mpi_first: bool) -> Vec<&'static str> {
    let open_mpi = ["libmpi.so.40"];
    let mpich = [
        "libmpich.so.12",
        "libmpi.so.12",
        "libmpi_abi.so.1",
        "libmpi_abi.so.0",
    ];
    let others = [
        "libmpi.so",
        "libmpi.dylib",
        "libmpi.40.dylib",
        "libmpi.12.dylib",
    ];
    let mut names = match open_mpi_first {
        true => [&open_mpi[..], &mpich[..]].concat(),
        false => [&mpich[..], &open_mpi[..]].concat(),
    };
    names.extend(others);
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_is_known_by_its_objects_and_its_name() {
        assert_eq!(Abi::of("/opt/lib/libmpi.so.40", true), Abi::OpenMpi);
        assert_eq!(Abi::of("libmpi.so.12", false), Abi::Mpich);
        assert_eq!(Abi::of("libmpi_abi.so.1", false), Abi::Standard);
        // A library that Open MPI's own is loaded with, and a folder of this name.
        assert_eq!(Abi::of("/opt/lib/libmpi_abi.so.1", true), Abi::Standard);
        assert_eq!(Abi::of("/opt/mpi_abi/libmpich.so.12", false), Abi::Mpich);
        let address = |name: &std::ffi::CStr| Ok::<_, ()>(name.count_bytes());
        let constants = Abi::OpenMpi.constants(address).unwrap();
        assert_eq!((constants.world, constants.byte), (19, 13));
        assert_eq!(constants.errors_return, 22);
        let missing = |_: &std::ffi::CStr| Err::<usize, _>("missing");
        assert_eq!(Abi::OpenMpi.constants(missing), Err("missing"));
        assert!(Abi::Mpich.constants(missing).is_ok());
    }

    #[test]
    fn the_library_of_the_launcher_is_tried_first() {
        assert_eq!(file_names(true)[0], "libmpi.so.40");
        assert_eq!(file_names(false)[0], "libmpich.so.12");
        assert_eq!(file_names(true).len(), file_names(false).len());
    }
}
