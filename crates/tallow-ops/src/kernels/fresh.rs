//! Result buffers without initialization: zeroing them would cost a pass over memory.

/// Vector of `len` numbers that `fill` writes.
///
/// # Safety
/// `fill` writes every element, and reads none before it has.
pub(crate) unsafe fn fresh<T: Copy>(len: usize, fill: impl FnOnce(&mut [T])) -> Vec<T> {
    let mut values: Vec<T> = Vec::with_capacity(len);
    // SAFETY: the capacity is there, and the caller promises that nothing is read before it is written.
    unsafe {
        fill(std::slice::from_raw_parts_mut(values.as_mut_ptr(), len));
        values.set_len(len);
    }
    values
}
