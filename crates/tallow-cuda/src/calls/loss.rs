//! Cross entropy with labels.

use crate::call::{Address, Arg, Call, elements};

/// Threads of a block, which takes one row.
const ROW: u32 = 128;

/// Softmax of each row (`rows * classes` floats), and its loss (`rows` doubles).
pub fn cross_entropy(
    logits: Address,
    labels: Address,
    softmax: Address,
    losses: Address,
    (rows, classes): (u32, u32),
    smoothing: f64,
) -> Call {
    Call {
        kernel: "cross_entropy",
        grid: (rows, 1),
        block: ROW,
        args: vec![
            Arg::Address(logits),
            Arg::Address(labels),
            Arg::Address(softmax),
            Arg::Address(losses),
            Arg::U32(classes),
            Arg::F64(smoothing),
        ],
    }
}

/// Mean of the losses of the rows, one float.
pub fn mean(losses: Address, loss: Address, rows: u32) -> Call {
    Call {
        kernel: "mean_loss",
        grid: (1, 1),
        block: ROW,
        args: vec![Arg::Address(losses), Arg::Address(loss), Arg::U32(rows)],
    }
}

/// Gradient of the logits; `upstream` is the gradient of the loss, one float.
pub fn gradient(
    softmax: Address,
    labels: Address,
    upstream: Address,
    dz: Address,
    (rows, classes): (u32, u32),
    smoothing: f64,
) -> Call {
    let count = rows * classes;
    let args = vec![
        Arg::Address(softmax),
        Arg::Address(labels),
        Arg::Address(upstream),
        Arg::Address(dz),
        Arg::U32(count),
        Arg::U32(classes),
        Arg::F32((1. - smoothing) as f32),
        Arg::F32((smoothing / f64::from(classes)) as f32),
    ];
    elements("cross_entropy_gradient", count, args)
}
