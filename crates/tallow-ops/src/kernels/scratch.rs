//! Scratch memory that outlives a call: large allocations page-fault every time they are made anew.

use std::ops::{Deref, DerefMut};

use super::real::Real;

/// A buffer that goes back to its thread's pool when dropped. Its contents are whatever the last user left.
pub(crate) struct Scratch<T: Real> {
    buffer: Vec<T>,
    len: usize,
}

/// Takes a buffer of `len` elements from this thread's pool. Several may be held at once.
pub(crate) fn take<T: Real>(len: usize) -> Scratch<T> {
    let mut buffer = T::pool().with_borrow_mut(|free| {
        let fitting = free
            .iter()
            .enumerate()
            .filter(|(_, b)| b.len() >= len)
            .min_by_key(|(_, b)| b.len());
        let largest = free.iter().enumerate().max_by_key(|(_, b)| b.len());
        match fitting.or(largest).map(|(i, _)| i) {
            Some(i) => free.swap_remove(i),
            None => Vec::new(),
        }
    });
    if buffer.len() < len {
        // New zeroed pages are cheaper than growing, which would copy the old contents.
        buffer = vec![T::ZERO; len];
    }
    Scratch { buffer, len }
}

/// Takes a buffer of `len` zeros.
pub(crate) fn zeroed<T: Real>(len: usize) -> Scratch<T> {
    let mut scratch = take(len);
    scratch.fill(T::ZERO);
    scratch
}

impl<T: Real> Deref for Scratch<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.buffer[..self.len]
    }
}

impl<T: Real> DerefMut for Scratch<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.buffer[..self.len]
    }
}

impl<T: Real> Drop for Scratch<T> {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        // A thread on its way out has no pool any more; the buffer is then simply freed.
        let _ = T::pool().try_with(|free| free.borrow_mut().push(buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_reused_and_never_shared() {
        std::thread::spawn(|| {
            let (mut a, mut b) = (take::<f32>(100), take::<f32>(50));
            a.fill(1.0);
            b.fill(2.0);
            assert!(a.iter().all(|&v| v == 1.0) && a.len() == 100);
            let address = a.as_ptr();
            drop(a);
            drop(b);
            assert_eq!(take::<f32>(80).as_ptr(), address);
            assert!(zeroed::<f32>(100).iter().all(|&v| v == 0.0));
        })
        .join()
        .unwrap();
    }
}
