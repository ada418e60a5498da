//! Cross entropy with labels, and the count of right predictions.

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

/// Threads of [`tally`]'s block: 32 for each of eight rows.
const TALLY: u32 = 256;

/// Two floats: the loss of a batch, and the number of its rows whose first largest logit is that of the label.
pub fn tally(
    loss: Address,
    logits: Address,
    labels: Address,
    out: Address,
    (rows, classes): (u32, u32),
) -> Call {
    let mut args: Vec<Arg> = [loss, logits, labels, out].map(Arg::Address).into();
    args.extend([rows, classes].map(Arg::U32));
    Call {
        kernel: "tally",
        grid: (1, 1),
        block: TALLY,
        args,
    }
}
