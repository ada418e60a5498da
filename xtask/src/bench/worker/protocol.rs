//! Messages between `bench` and its worker processes: a line of JSON in each direction.
//!
//! A process says [`Hello`] when it is ready and answers every [`Request`] with what belongs to it, or with `{"error": "..."}`.

use serde::{Deserialize, Serialize};

use super::case::Case;

/// Request to a worker.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
pub enum Request {
    /// Make ready to run this, in place of what was prepared before: answered by [`Prepared`].
    Prepare { case: Case },
    /// Run it so many times in one of its variants: answered by [`Ran`].
    Run { variant: String, steps: usize },
    /// Peak memory of the process: answered by [`Memory`].
    Memory,
    /// The speed of a large matrix product: answered by [`Gemm`].
    Gemm,
}

/// A process is ready.
#[derive(Debug, Serialize, Deserialize)]
pub struct Hello {
    /// Name and version of the library.
    pub version: String,
}

/// A case is ready.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Prepared {
    /// The ways it can be run: memory formats, say. The fastest counts.
    pub variants: Vec<String>,
    /// Trained values of the network, which must be the same everywhere.
    #[serde(default)]
    pub parameters: Option<usize>,
    /// Nominal arithmetic of one run, by direct convolution; what counts as one run is what `seconds` are measured for.
    #[serde(default)]
    pub gflop: Option<f64>,
}

/// Runs are done.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ran {
    /// The time of each.
    pub seconds: Vec<f64>,
}

/// Peak resident memory in MiB, where the system tells.
#[derive(Debug, Serialize, Deserialize)]
pub struct Memory {
    pub mb: Option<f64>,
}

/// The speed of a large f32 matrix product.
#[derive(Debug, Serialize, Deserialize)]
pub struct Gemm {
    /// Billions of multiplications and additions a second.
    pub gflops: f64,
}
