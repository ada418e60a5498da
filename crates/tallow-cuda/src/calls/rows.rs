//! Gradients before the bias of a linear layer.

use crate::call::{Address, Arg, Call};

/// Rows that the kernel takes at most: a block has them all.
pub const MOST_ROWS: usize = 1024;

/// Columns and threads of a block.
const COLUMNS: u32 = 32;
const THREADS: u32 = 256;

/// Gradient before a ReLU, `masked`, and its sum over the rows, `sums`; 0 leaves one out. `out` is the output of the ReLU; 0 stands for none. `masked`
/// may be `grad`. There are at most [`MOST_ROWS`] rows, and as many elements as [`count`](crate::count) allows.
pub fn gradient(
    out: Address,
    grad: Address,
    masked: Address,
    sums: Address,
    (rows, columns): (u32, u32),
) -> Call {
    let mut args: Vec<Arg> = [out, grad, masked, sums].map(Arg::Address).into();
    args.extend([rows, columns].map(Arg::U32));
    Call {
        kernel: "rows_gradient",
        grid: (columns.div_ceil(COLUMNS), 1),
        block: THREADS,
        args,
    }
}
