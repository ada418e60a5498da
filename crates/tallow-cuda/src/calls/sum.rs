//! Sum of the terms of several processes.

use crate::call::{Address, Arg, Call, elements};

/// Table of the pairs as the kernel reads it: the second term of each is added to the first.
pub fn table(pairs: &[(usize, usize)]) -> Vec<u64> {
    let word = |&(left, right): &(usize, usize)| left as u64 | (right as u64) << 32;
    pairs.iter().map(word).collect()
}

/// Additions of `count` pairs of terms of `length` floats each, in place, with their table in device memory.
pub fn sum(terms: Address, table: Address, count: u32, length: u32) -> Call {
    let args = vec![
        Arg::Address(terms),
        Arg::Address(table),
        Arg::U32(count),
        Arg::U32(length),
    ];
    elements("sum_terms", length, args)
}
