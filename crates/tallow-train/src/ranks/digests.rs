//! Comparison of the weights of all ranks.

use std::io::{BufWriter, Write};

use sha2::{Digest, Sha256};
use tallow_ops::ParamStore;

use super::communicator::Communicator;
use crate::error::{Error, Result};

/// Bytes of the digest of one tensor.
const DIGEST: usize = 8;

/// Checks that all ranks have the parameters and buffers of rank 0.
///
/// # Errors
/// [`Error::Ranks`] names the first rank and the first tensor that differ.
pub(super) fn compare(ranks: &dyn Communicator, store: &ParamStore, when: &str) -> Result<()> {
    let vars = store.parameters().into_iter().chain(store.buffers());
    let (mut names, mut digests) = (Vec::new(), Vec::new());
    for (name, var) in vars {
        let mut hash = Sha256::new();
        let mut bytes = BufWriter::new(&mut hash);
        var.as_detached_tensor().write_bytes(&mut bytes)?;
        bytes.flush().map_err(candle_core::Error::from)?;
        drop(bytes);
        digests.extend_from_slice(&hash.finalize()[..DIGEST]);
        names.push(name);
    }
    let all = ranks.all_gather(&digests)?;
    for (rank, other) in all.iter().enumerate() {
        let mut pairs = all[0].chunks(DIGEST).zip(other.chunks(DIGEST));
        let differs = pairs.position(|(a, b)| a != b);
        let what = match differs.and_then(|at| names.get(at)) {
            Some(name) => format!("`{name}`"),
            None if other.len() != all[0].len() => "the number of parameters".to_string(),
            None => continue,
        };
        return Err(Error::Ranks(format!(
            "the weights of rank {rank} are not those of rank 0 {when}: {what} differs; all ranks need the same program, weights and \
             number of threads"
        )));
    }
    Ok(())
}
