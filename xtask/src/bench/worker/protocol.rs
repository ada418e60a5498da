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
    /// Run it so many times in one of its arms: answered by [`Ran`], or by an error after `limit` seconds.
    Run {
        arm: String,
        steps: usize,
        limit: Option<f64>,
    },
    /// Free the memory of one of several arms, which may be run again: answered by `{}`.
    Drop { arm: String },
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
    /// Ways to run it. The fastest counts.
    pub arms: Vec<Arm>,
    /// Trained values of the network, which must be the same everywhere.
    #[serde(default)]
    pub parameters: Option<usize>,
    /// Nominal arithmetic of one run, by direct convolution; what counts as one run is what `seconds` are measured for.
    #[serde(default)]
    pub gflop: Option<f64>,
}

/// Way to run a case: a memory format, a number of threads, a loader, say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Arm {
    /// Its settings in words.
    pub name: String,
    /// Arithmetic of the products.
    #[serde(default)]
    pub precision: Precision,
    /// Whether it is compiled when it runs for the first time.
    #[serde(default)]
    pub compiled: bool,
}

/// Arithmetic of the products.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// f32 throughout.
    #[default]
    Fp32,
    /// bf16 where the library chooses it.
    Bf16,
}

/// Runs are done.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ran {
    /// The time of each.
    pub seconds: Vec<f64>,
}

/// The speed of a large f32 matrix product.
#[derive(Debug, Serialize, Deserialize)]
pub struct Gemm {
    /// Billions of multiplications and additions a second.
    pub gflops: f64,
}
