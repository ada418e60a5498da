//! Dropout.

use crate::call::{Address, Arg, Call, Numbers, elements, kernel};

/// Mask of a dropout: words of a ChaCha stream.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mask {
    /// Key of the stream, as little-endian words.
    pub key: [u32; 8],
    /// Word that decides about the first element.
    pub start: u64,
    /// Words below it keep their element; 2^32 keeps all.
    pub threshold: u64,
    /// Factor of the elements that are kept.
    pub scale: f32,
}

/// `y = x` times the mask; of a gradient too. `moved` is the address of a `u64` that is added to the start of the mask, or 0: a launch that is
/// repeated draws other words by it.
pub fn dropout(
    numbers: Numbers,
    x: Address,
    y: Address,
    count: u32,
    mask: &Mask,
    moved: Address,
) -> Call {
    let blocks = (mask.start + u64::from(count)).div_ceil(16) - mask.start / 16;
    let args = vec![
        Arg::Address(x),
        Arg::Address(y),
        Arg::U32(count),
        Arg::U64(mask.start),
        Arg::U64(mask.threshold),
        Arg::F32(mask.scale),
        Arg::Eight(mask.key),
        Arg::Address(moved),
    ];
    // Sixteen elements a block, and one block more where the first word is inside one. A start that is moved may need one more than are counted
    // here: a thread takes several.
    elements(kernel!("dropout").of(numbers), blocks as u32, args)
}
