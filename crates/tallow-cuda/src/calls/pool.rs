//! Pooling.

use crate::call::{Address, Arg, Call, Numbers, elements, kernel};

/// One axis of a pooling: tap `k` of output `o` is input `o * stride + k * dilation - padding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axis {
    /// Inputs.
    pub input: u32,
    /// Outputs.
    pub output: u32,
    /// Taps of a window.
    pub kernel: u32,
    /// Distance of windows.
    pub stride: u32,
    /// Padding on each side.
    pub padding: u32,
    /// Distance of taps.
    pub dilation: u32,
}

impl Axis {
    fn arg(&self) -> Arg {
        Arg::Six([
            self.input,
            self.output,
            self.kernel,
            self.stride,
            self.padding,
            self.dilation,
        ])
    }
}

/// Windows of a pooling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Numbers of inputs and outputs.
    pub numbers: Numbers,
    /// Images.
    pub batch: u32,
    /// Channels.
    pub channels: u32,
    /// True for (N, H, W, C), false for (N, C, H, W).
    pub channels_last: bool,
    /// Vertical axis.
    pub rows: Axis,
    /// Horizontal axis.
    pub columns: Axis,
}

/// Divisor of an average.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Divisor {
    /// Inputs of the window that are not padding.
    Inside,
    /// Inputs of the window, padding included.
    Padded,
    /// Adaptive pooling: output `i` of `m` is the average of inputs `floor(i * n / m)` to `ceil((i + 1) * n / m)`.
    Adaptive,
}

impl Windows {
    /// Elements of the input.
    pub fn inputs(&self) -> usize {
        self.planes() * self.rows.input as usize * self.columns.input as usize
    }

    /// Elements of the output.
    pub fn outputs(&self) -> usize {
        self.planes() * self.rows.output as usize * self.columns.output as usize
    }

    fn planes(&self) -> usize {
        self.batch as usize * self.channels as usize
    }

    fn args(&self, addresses: &[Address], count: u32, mode: Option<Divisor>) -> Vec<Arg> {
        let mut args: Vec<Arg> = addresses.iter().copied().map(Arg::Address).collect();
        args.extend([
            Arg::U32(count),
            Arg::U32(self.channels),
            Arg::U32(u32::from(self.channels_last)),
        ]);
        args.extend(mode.map(|mode| Arg::U32(mode as u32)));
        args.extend([self.rows.arg(), self.columns.arg()]);
        args
    }
}

/// Maxima and their positions in the input planes. Here and below, neither inputs nor outputs may be more than [`count`](crate::count) allows.
pub fn max(x: Address, y: Address, winner: Address, w: &Windows) -> Call {
    let count = w.outputs() as u32;
    let args = w.args(&[x, y, winner], count, None);
    elements(kernel!("max_pool").of(w.numbers), count, args)
}

/// Gradient of the input of a maximum pooling.
pub fn max_gradient(grad: Address, winner: Address, dx: Address, w: &Windows) -> Call {
    let count = w.inputs() as u32;
    let args = w.args(&[grad, winner, dx], count, None);
    elements(kernel!("max_pool_gradient").of(w.numbers), count, args)
}

/// Averages.
pub fn average(x: Address, y: Address, w: &Windows, divisor: Divisor) -> Call {
    let count = w.outputs() as u32;
    let args = w.args(&[x, y], count, Some(divisor));
    elements(kernel!("avg_pool").of(w.numbers), count, args)
}

/// Gradient of the input of an average pooling.
pub fn average_gradient(grad: Address, dx: Address, w: &Windows, divisor: Divisor) -> Call {
    let count = w.inputs() as u32;
    let args = w.args(&[grad, dx], count, Some(divisor));
    elements(kernel!("avg_pool_gradient").of(w.numbers), count, args)
}
