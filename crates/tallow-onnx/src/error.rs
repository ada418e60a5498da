/// Error of writing an ONNX file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An array whose number of values is not that of its shape.
    #[error("an array of shape {dims:?} with {values} values; expected the product of the sizes")]
    Array {
        /// Shape given.
        dims: Vec<usize>,
        /// Values given.
        values: usize,
    },
    /// A name that the graph has for another value already.
    #[error(
        "there are two different values of the name `{name}`; give each parameter a name of its own"
    )]
    Taken {
        /// The name.
        name: String,
    },
    /// A graph above the limit of Protocol Buffers.
    #[error(
        "the file would take {bytes} bytes, and Protocol Buffers end at 2 GiB; export a narrower network, or its weights as safetensors"
    )]
    TooLarge {
        /// Size of the file.
        bytes: usize,
    },
}

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
