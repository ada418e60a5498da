//! When and how work is spread over threads.

use rayon::prelude::*;

/// Below this many multiply-adds a single thread is done before a second one wakes.
pub(crate) const SERIAL_BELOW: usize = 1 << 20;

/// The threads that one step of a kernel may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Threads {
    One,
    All,
}

impl Threads {
    /// All threads when there are several and `multiply_adds` is worth waking them.
    pub(crate) fn for_work(multiply_adds: usize) -> Self {
        if multiply_adds < SERIAL_BELOW || rayon::current_num_threads() == 1 {
            Threads::One
        } else {
            Threads::All
        }
    }

    /// How many threads that is.
    pub(crate) fn count(self) -> usize {
        match self {
            Threads::One => 1,
            Threads::All => rayon::current_num_threads(),
        }
    }
}

/// Calls `f(index, chunk)` for each chunk of `size` elements of `data`, the last one possibly shorter.
pub(crate) fn for_each_chunk<T: Send>(
    data: &mut [T],
    size: usize,
    threads: Threads,
    f: impl Fn(usize, &mut [T]) + Sync + Send,
) {
    match threads {
        Threads::One => data
            .chunks_mut(size)
            .enumerate()
            .for_each(|(i, chunk)| f(i, chunk)),
        Threads::All => data
            .par_chunks_mut(size)
            .enumerate()
            .for_each(|(i, chunk)| f(i, chunk)),
    }
}
