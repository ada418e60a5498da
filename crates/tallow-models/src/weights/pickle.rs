//! Pickles of checkpoints.

pub(super) use tallow_pickle::{Pickle, Value};

use tallow_pickle::Limits;

use crate::weights::error::{Result, WeightsProblem};

/// Reads one pickle from the front of `bytes`; gives also the number of bytes that it takes. Any name of a function or class may
/// occur: none is called. 150,000 tensors fit in the limits.
pub(super) fn read(bytes: &[u8]) -> Result<(Pickle<'_>, usize)> {
    Pickle::read(bytes, &Limits::default(), |_, _| true).map_err(|error| damaged(error.to_string()))
}

pub(super) fn damaged(found: impl Into<String>) -> WeightsProblem {
    WeightsProblem::Damaged {
        format: "PyTorch checkpoint",
        found: found.into(),
    }
}
