//! Order of the axes.

use crate::call::{Address, Arg, Call, Numbers, elements, kernel};

/// `(batch, rows, columns)` to `(batch, columns, rows)`; `count` is the number of all elements.
pub fn transpose(
    numbers: Numbers,
    x: Address,
    y: Address,
    count: u32,
    (rows, columns): (u32, u32),
) -> Call {
    let args = vec![
        Arg::Address(x),
        Arg::Address(y),
        Arg::U32(count),
        Arg::U32(rows),
        Arg::U32(columns),
    ];
    elements(kernel!("transpose").of(numbers), count, args)
}
