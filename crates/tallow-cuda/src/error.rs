use candle_core::cuda_backend::cudarc::cublas::result::CublasError;
use candle_core::cuda_backend::cudarc::cublaslt::result::CublasError as CublasLtError;
use candle_core::cuda_backend::cudarc::driver::DriverError;
use candle_core::cuda_backend::cudarc::nvrtc::result::NvrtcError;

/// Error of a device.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Error of the CUDA driver.
    #[error("CUDA driver, {call}: {source}")]
    Driver {
        /// Function of the driver, or kernel.
        call: &'static str,
        /// Error of the driver.
        source: DriverError,
    },
    /// Kernels that NVRTC does not compile.
    #[error("kernels of {file} for {architecture}: NVRTC, {call}: {source}\n{log}")]
    Compile {
        /// File of the kernels.
        file: &'static str,
        /// Architecture of the device.
        architecture: String,
        /// Function of NVRTC.
        call: &'static str,
        /// Error of NVRTC.
        source: NvrtcError,
        /// Messages of the compiler.
        log: String,
    },
    /// Kernel that no file has.
    #[error("there is no kernel `{0}`")]
    UnknownKernel(&'static str),
    /// Error of cuBLAS.
    #[error("cuBLAS, {call}: {source}")]
    Cublas {
        /// Function of cuBLAS.
        call: &'static str,
        /// Error that it returned.
        source: CublasError,
    },
    /// Error of cuBLASLt.
    #[error("cuBLASLt, {call}: {source}")]
    CublasLt {
        /// Function of cuBLASLt.
        call: &'static str,
        /// Error that it returned.
        source: CublasLtError,
    },
    /// Error of cuDNN.
    #[error("cuDNN, {call}: {text} (status {status})")]
    Cudnn {
        /// Function of cuDNN.
        call: &'static str,
        /// Status that it returned.
        status: i32,
        /// Text of cuDNN for the status.
        text: String,
    },
    /// cuDNN that is missing or cannot be used.
    #[error("{0}")]
    NoCudnn(String),
    /// Error of NCCL.
    #[error(transparent)]
    Nccl(#[from] crate::nccl::Error),
    /// Argument of another length.
    #[error("{op}: {argument} has {found} values, expected {expected}")]
    Length {
        /// Operator.
        op: &'static str,
        /// Argument.
        argument: &'static str,
        /// Values expected.
        expected: usize,
        /// Values found.
        found: usize,
    },
    /// Sizes that the kernels cannot address.
    #[error(
        "{op}: {elements} elements, expected at least one and fewer than 2^31; a smaller batch has fewer"
    )]
    Size {
        /// Operator.
        op: &'static str,
        /// Elements.
        elements: usize,
    },
    /// Tensor on another device, or not contiguous.
    #[error("{op}: {message}")]
    Argument {
        /// Operator.
        op: &'static str,
        /// Argument, and what was expected.
        message: String,
    },
    /// Work that cannot be recorded as a CUDA graph.
    #[error("a CUDA graph: {0}")]
    Graph(String),
    /// Error of candle.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl From<Error> for candle_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Candle(inner) => inner,
            other => candle_core::Error::wrap(other),
        }
    }
}

/// Result of the driver as one of this crate.
pub(crate) fn driver<T>(call: &'static str, result: Result<T, DriverError>) -> Result<T> {
    result.map_err(|source| Error::Driver { call, source })
}
