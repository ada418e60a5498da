//! Reader of damaged files.

use anyhow::Result;
use rand_chacha::ChaCha8Rng;

/// Readers of one kind of files.
pub(super) trait Target: Send {
    /// Makes the damaged file of these random numbers and reads it. Returns whether it could be read.
    fn read(&mut self, rng: &mut ChaCha8Rng) -> Result<bool>;
}
