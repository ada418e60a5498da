//! Chunks of a batch.

use std::ops::Range;

/// Positions in a batch of `samples` samples of its chunk `chunk` of `chunks`: `chunk samples / chunks` to
/// `(chunk + 1) samples / chunks`, both rounded down. No chunks count as one.
pub fn chunk_range(samples: usize, chunks: usize, chunk: usize) -> Range<usize> {
    let at = |chunk: usize| chunk * samples / chunks.max(1);
    at(chunk)..at(chunk + 1)
}
