//! Order of the axes.

use crate::call::{Address, Arg, Call, elements};

/// `(batch, rows, columns)` to `(batch, columns, rows)`; `count` is the number of all elements.
pub fn transpose(x: Address, y: Address, count: u32, rows: u32, columns: u32) -> Call {
    let args = vec![
        Arg::Address(x),
        Arg::Address(y),
        Arg::U32(count),
        Arg::U32(rows),
        Arg::U32(columns),
    ];
    elements("transpose", count, args)
}
