//! NCCL: messages between the GPUs of several processes, one GPU a process.
//!
//! Nothing here needs CUDA or a tensor: memory is an address, a stream a pointer. So the tests run this with functions of their own in the
//! place of the library's.

mod error;
mod library;
mod patience;
mod peers;

pub use error::{Error, Result};
pub use library::{Library, UniqueId};
#[cfg(feature = "cuda")]
pub(crate) use patience::Patience;
pub use peers::{Message, Peers};

#[cfg(test)]
mod tests;
