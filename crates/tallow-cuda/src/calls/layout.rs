//! Order of the axes, and shortcuts without parameters.

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

/// Shortcut without parameters, of maps in (N, H, W, C): every `stride`-th pixel, with channels of zeros around its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortcut {
    /// Numbers in the maps.
    pub numbers: Numbers,
    /// Images.
    pub batch: u32,
    /// Rows and columns of the input.
    pub size: (u32, u32),
    /// Channels of the input.
    pub channels: u32,
    /// Channels of the output, not fewer.
    pub outputs: u32,
    /// Distance of the pixels that are taken, above 0.
    pub stride: u32,
}

impl Shortcut {
    /// Rows and columns of the output.
    pub fn taken(&self) -> (u32, u32) {
        let taken = |size: u32| size.div_ceil(self.stride.max(1));
        (taken(self.size.0), taken(self.size.1))
    }

    /// Elements of the input.
    pub fn inputs(&self) -> usize {
        elements_of(self.batch, self.size, self.channels)
    }

    /// Elements of the output.
    pub fn outputs(&self) -> usize {
        elements_of(self.batch, self.taken(), self.outputs)
    }

    fn arg(&self) -> Arg {
        let (high, across) = self.taken();
        // The smaller half of the zeros is before.
        let before = (self.outputs - self.channels) / 2;
        Arg::Eight([
            self.size.0,
            self.size.1,
            self.channels,
            high,
            across,
            self.outputs,
            before,
            self.stride,
        ])
    }
}

fn elements_of(batch: u32, (rows, columns): (u32, u32), channels: u32) -> usize {
    [rows, columns, channels]
        .iter()
        .fold(batch as usize, |all, &size| {
            all.saturating_mul(size as usize)
        })
}

/// The shortcut. There are at most as many elements on either side as [`count`](crate::count) allows.
pub fn shortcut(x: Address, y: Address, s: &Shortcut) -> Call {
    let count = s.outputs() as u32;
    let args = vec![Arg::Address(x), Arg::Address(y), Arg::U32(count), s.arg()];
    elements(kernel!("shortcut").of(s.numbers), count, args)
}

/// Gradient of its input.
pub fn shortcut_gradient(grad: Address, dx: Address, s: &Shortcut) -> Call {
    let count = s.inputs() as u32;
    let args = vec![
        Arg::Address(grad),
        Arg::Address(dx),
        Arg::U32(count),
        s.arg(),
    ];
    elements(kernel!("shortcut_gradient").of(s.numbers), count, args)
}
