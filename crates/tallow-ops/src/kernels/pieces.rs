//! Sharing work between threads. Every piece of the output is written by one call, whoever makes it, so the bits of a result
//! depend neither on the number of threads nor on which of them was free.

use rayon::prelude::*;

/// Elements a thread must have before waking it pays: at about one element a nanosecond, some ten times the wake-up.
const GRAIN: usize = 1 << 15;

/// Cuts `out` into pieces of `piece` elements and calls `work(index, piece)` on each, on several threads when there is enough
/// to do. `cost` is how many elements one call touches.
pub(crate) fn pieces<T: Send>(
    out: &mut [T],
    piece: usize,
    cost: usize,
    work: impl Fn(usize, &mut [T]) + Send + Sync,
) {
    if out.len() / piece * cost < 2 * GRAIN {
        out.chunks_mut(piece)
            .enumerate()
            .for_each(|(i, out)| work(i, out));
    } else {
        out.par_chunks_mut(piece)
            .with_min_len(fewest(cost))
            .enumerate()
            .for_each(|(i, out)| work(i, out));
    }
}

/// As [`pieces`], for two outputs cut into the same number of pieces.
pub(crate) fn pieces2<A: Send, B: Send>(
    (a, piece_a): (&mut [A], usize),
    (b, piece_b): (&mut [B], usize),
    cost: usize,
    work: impl Fn(usize, &mut [A], &mut [B]) + Send + Sync,
) {
    if a.len() / piece_a * cost < 2 * GRAIN {
        a.chunks_mut(piece_a)
            .zip(b.chunks_mut(piece_b))
            .enumerate()
            .for_each(|(i, (a, b))| work(i, a, b));
    } else {
        a.par_chunks_mut(piece_a)
            .zip(b.par_chunks_mut(piece_b))
            .with_min_len(fewest(cost))
            .enumerate()
            .for_each(|(i, (a, b))| work(i, a, b));
    }
}

fn fewest(cost: usize) -> usize {
    (GRAIN / cost.max(1)).max(1)
}
