#![doc = include_str!("../README.md")]

mod claim;
mod claim_result;
mod error;

pub use claim::{Claim, DEFAULT_METRIC, FACTS, Sum};
pub use claim_result::ClaimResult;
pub use error::{Error, Result};
