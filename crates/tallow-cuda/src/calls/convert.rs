//! Changes between the types of numbers.

use crate::call::{Address, Arg, Call, Numbers, by_four, elements};

/// `x`, which are `from`, as the other type in `y`.
pub fn convert(from: Numbers, x: Address, y: Address, count: u32) -> Call {
    // On 16 bytes as floats, and the others on 8.
    let (floats, halves) = match from {
        Numbers::F32 => (x, y),
        Numbers::Bf16 => (y, x),
    };
    let four = by_four(count as usize, Numbers::F32, &[floats])
        && by_four(count as usize, Numbers::Bf16, &[halves]);
    let kernel = match (from, four) {
        (Numbers::F32, false) => "narrow_1",
        (Numbers::F32, true) => "narrow_4",
        (Numbers::Bf16, false) => "widen_1",
        (Numbers::Bf16, true) => "widen_4",
    };
    let count = if four { count / 4 } else { count };
    let args = vec![Arg::Address(x), Arg::Address(y), Arg::U32(count)];
    elements(kernel, count, args)
}

/// Sizes of filters `(outputs, inputs, taps)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filters {
    /// Filters.
    pub outputs: u32,
    /// Channels of a filter.
    pub inputs: u32,
    /// Weights of a channel.
    pub taps: u32,
}

impl Filters {
    fn call(self, kernel: &'static str, from: Address, to: Address) -> Call {
        let count = self.outputs * self.inputs;
        let args = vec![
            Arg::Address(from),
            Arg::Address(to),
            Arg::U32(count),
            Arg::U32(self.inputs),
            Arg::U32(self.taps),
        ];
        elements(kernel, count, args)
    }

    /// Filters as the parameters lie, in `f32`, to `(outputs, taps, inputs)` in `bf16`.
    pub fn narrow(self, w: Address, out: Address) -> Call {
        self.call("filters_narrow", w, out)
    }

    /// The way back, for their gradients.
    pub fn widen(self, g: Address, out: Address) -> Call {
        self.call("filters_widen", g, out)
    }
}
