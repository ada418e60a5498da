//! Sharing work between threads. Every piece of the output is written by one call, whoever makes it, so the bits of a result
//! depend neither on the number of threads nor on which of them was free.

use rayon::prelude::*;

use super::simd::arch;

/// Elements a thread must have before waking it pays: at about one element a nanosecond, some ten times the wake-up.
const GRAIN: usize = 1 << 15;

/// Cuts `out` into pieces of `piece` elements and calls `work(index, piece)` on each, on several threads when there is enough
/// to do. `cost` is how many elements one call touches.
///
/// `work` runs with the vector instructions of the CPU at hand, provided that it and all it calls are `#[inline(always)]`.
pub(crate) fn pieces<T: Send>(
    out: &mut [T],
    piece: usize,
    cost: usize,
    work: impl Fn(usize, &mut [T]) + Send + Sync,
) {
    let arch = arch();
    let work = |(i, out): (usize, &mut [T])| {
        arch.dispatch(
            #[inline(always)]
            || work(i, out),
        )
    };
    if out.len() / piece * cost < 2 * GRAIN {
        out.chunks_mut(piece).enumerate().for_each(work);
    } else {
        out.par_chunks_mut(piece)
            .with_min_len(fewest(cost))
            .enumerate()
            .for_each(work);
    }
}

/// As [`pieces`], for two outputs cut into the same number of pieces.
pub(crate) fn pieces2<A: Send, B: Send>(
    (a, piece_a): (&mut [A], usize),
    (b, piece_b): (&mut [B], usize),
    cost: usize,
    work: impl Fn(usize, &mut [A], &mut [B]) + Send + Sync,
) {
    let arch = arch();
    let work = |(i, (a, b)): (usize, (&mut [A], &mut [B]))| {
        arch.dispatch(
            #[inline(always)]
            || work(i, a, b),
        )
    };
    if a.len() / piece_a * cost < 2 * GRAIN {
        a.chunks_mut(piece_a)
            .zip(b.chunks_mut(piece_b))
            .enumerate()
            .for_each(work);
    } else {
        a.par_chunks_mut(piece_a)
            .zip(b.par_chunks_mut(piece_b))
            .with_min_len(fewest(cost))
            .enumerate()
            .for_each(work);
    }
}

fn fewest(cost: usize) -> usize {
    (GRAIN / cost.max(1)).max(1)
}
