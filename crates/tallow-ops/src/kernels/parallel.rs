//! Work on several threads.
//!
//! Every piece of the output is written by one call, so the bits of a result depend neither on the number of threads nor on
//! the thread that computes a piece.

use std::marker::PhantomData;

use rayon::prelude::*;

use super::simd::arch;

/// Multiply-adds below which a single thread is done before a second one wakes.
const SERIAL_BELOW: usize = 1 << 20;

/// Elements per thread from which waking it pays: at about one element per nanosecond, some ten times the wake-up.
const GRAIN: usize = 1 << 15;

/// Threads that one step of a kernel may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Threads {
    One,
    All,
}

impl Threads {
    /// All threads if there are several and `multiply_adds` are worth waking them.
    pub(crate) fn for_work(multiply_adds: usize) -> Self {
        if multiply_adds < SERIAL_BELOW || rayon::current_num_threads() == 1 {
            Threads::One
        } else {
            Threads::All
        }
    }

    /// All threads if `elements` are worth waking them.
    fn for_elements(elements: usize) -> Self {
        if elements < 2 * GRAIN {
            Threads::One
        } else {
            Threads::All
        }
    }

    /// Number of these threads.
    pub(crate) fn count(self) -> usize {
        match self {
            Threads::One => 1,
            Threads::All => rayon::current_num_threads(),
        }
    }
}

/// Calls `f(i)` for each `i` in `0..count`, on several threads at least `fewest` calls each.
///
/// It is not generic: rayon's code is compiled once here and not for every kernel, which would double the crate's size.
#[inline(never)]
pub(crate) fn for_each_index(
    count: usize,
    threads: Threads,
    fewest: usize,
    f: &(dyn Fn(usize) + Sync),
) {
    match threads {
        Threads::One => (0..count).for_each(f),
        Threads::All => (0..count).into_par_iter().with_min_len(fewest).for_each(f),
    }
}

/// [`for_each_index`] on all threads for calls of very different length: each is a task of its own.
#[inline(never)]
pub(crate) fn for_each_task(count: usize, f: &(dyn Fn(usize) + Sync)) {
    (0..count).into_par_iter().with_max_len(1).for_each(f);
}

/// Calls `f(index, chunk)` for each chunk of `size` elements of `data`, the last one possibly shorter.
pub(crate) fn for_each_chunk<T: Send>(
    data: &mut [T],
    size: usize,
    threads: Threads,
    f: impl Fn(usize, &mut [T]) + Sync,
) {
    for_each_chunk_of(data, size, threads, 1, f);
}

/// [`for_each_chunk`] with at least `fewest` chunks per thread.
pub(crate) fn for_each_chunk_of<T: Send>(
    data: &mut [T],
    size: usize,
    threads: Threads,
    fewest: usize,
    f: impl Fn(usize, &mut [T]) + Sync,
) {
    let chunks = Chunks::new(data, size);
    for_each_index(chunks.count(), threads, fewest, &|i| {
        // SAFETY: every index comes once.
        f(i, unsafe { chunks.get(i) });
    });
}

/// Calls `f(index, chunk of a, chunk of b)` for two slices with the same number of chunks.
pub(crate) fn for_each_chunk2<A: Send, B: Send>(
    a: (&mut [A], usize),
    b: (&mut [B], usize),
    threads: Threads,
    f: impl Fn(usize, &mut [A], &mut [B]) + Sync,
) {
    for_each_chunk2_of(a, b, threads, 1, f);
}

fn for_each_chunk2_of<A: Send, B: Send>(
    (a, size_a): (&mut [A], usize),
    (b, size_b): (&mut [B], usize),
    threads: Threads,
    fewest: usize,
    f: impl Fn(usize, &mut [A], &mut [B]) + Sync,
) {
    let (a, b) = (Chunks::new(a, size_a), Chunks::new(b, size_b));
    for_each_index(a.count().min(b.count()), threads, fewest, &|i| {
        // SAFETY: every index comes once.
        f(i, unsafe { a.get(i) }, unsafe { b.get(i) });
    });
}

/// Calls `work(index, piece)` for each piece of `piece` elements of `out`. `cost` is the number of elements that one call touches.
pub(crate) fn chunks<T: Send>(
    out: &mut [T],
    piece: usize,
    cost: usize,
    work: impl Fn(usize, &mut [T]) + Send + Sync,
) {
    let threads = Threads::for_elements(out.len() / piece * cost);
    for_each_chunk_of(out, piece, threads, fewest(cost), work);
}

/// [`chunks`] with the vector instructions of the CPU, provided that `work` and all that it calls are `#[inline(always)]`.
pub(crate) fn pieces<T: Send>(
    out: &mut [T],
    piece: usize,
    cost: usize,
    work: impl Fn(usize, &mut [T]) + Send + Sync,
) {
    let arch = arch();
    chunks(out, piece, cost, |i, out| {
        arch.dispatch(
            #[inline(always)]
            || work(i, out),
        )
    });
}

/// [`pieces`] of two outputs that have the same number of them.
pub(crate) fn pieces2<A: Send, B: Send>(
    (a, piece_a): (&mut [A], usize),
    (b, piece_b): (&mut [B], usize),
    cost: usize,
    work: impl Fn(usize, &mut [A], &mut [B]) + Send + Sync,
) {
    let arch = arch();
    let threads = Threads::for_elements(a.len() / piece_a * cost);
    for_each_chunk2_of(
        (a, piece_a),
        (b, piece_b),
        threads,
        fewest(cost),
        |i, a, b| {
            arch.dispatch(
                #[inline(always)]
                || work(i, a, b),
            )
        },
    );
}

/// Pieces that one thread takes at least.
fn fewest(cost: usize) -> usize {
    (GRAIN / cost.max(1)).max(1)
}

/// Slice cut into chunks that threads borrow one by one.
struct Chunks<'a, T> {
    start: *mut T,
    len: usize,
    size: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: sharing it gives access to elements through `get` alone, whose callers keep chunks apart, and `T` can be sent.
unsafe impl<T: Send> Sync for Chunks<'_, T> {}

impl<'a, T> Chunks<'a, T> {
    fn new(data: &'a mut [T], size: usize) -> Self {
        Self {
            start: data.as_mut_ptr(),
            len: data.len(),
            size,
            slice: PhantomData,
        }
    }

    fn count(&self) -> usize {
        self.len.div_ceil(self.size)
    }

    /// # Safety
    /// No index is taken twice.
    #[allow(
        clippy::mut_from_ref,
        reason = "chunks of different indices do not overlap"
    )]
    unsafe fn get(&self, index: usize) -> &mut [T] {
        assert!(index < self.count());
        let first = index * self.size;
        let len = self.size.min(self.len - first);
        // SAFETY: `first..first + len` lies inside the slice, which is borrowed for as long as `self` is, and no other chunk
        // overlaps it.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(first), len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_chunk_comes_once_with_its_index() {
        for threads in [Threads::One, Threads::All] {
            for (len, size) in [(0, 3), (1, 3), (9, 3), (1000, 7), (5, 9)] {
                let mut data = vec![0usize; len];
                for_each_chunk(&mut data, size, threads, |i, chunk| {
                    assert!(chunk.len() == size || (i + 1) * size > len);
                    for (at, value) in chunk.iter_mut().enumerate() {
                        *value += 1 + i * size + at;
                    }
                });
                assert!(data.iter().copied().eq(1..=len));
            }
        }
    }

    #[test]
    fn chunks_of_two_slices_belong_together() {
        for threads in [Threads::One, Threads::All] {
            let (mut a, mut b) = (vec![0; 100], vec![0; 50]);
            for_each_chunk2((&mut a, 4), (&mut b, 2), threads, |i, a, b| {
                a.fill(i);
                b.fill(i);
            });
            assert!(a.iter().enumerate().all(|(at, value)| *value == at / 4));
            assert!(b.iter().enumerate().all(|(at, value)| *value == at / 2));
        }
        let calls = std::sync::atomic::AtomicUsize::new(0);
        for_each_task(77, &|i| {
            calls.fetch_add(i + 1, std::sync::atomic::Ordering::Relaxed);
        });
        assert_eq!(calls.into_inner(), 77 * 78 / 2);
    }
}
