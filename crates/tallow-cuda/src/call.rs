//! Launches of kernels as data.

use std::ffi::c_void;

/// Address in the memory of a device; 0 is a null pointer.
pub type Address = u64;

/// Argument of a kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arg {
    /// Pointer.
    Address(Address),
    /// `u32`.
    U32(u32),
    /// `u64`.
    U64(u64),
    /// `float`.
    F32(f32),
    /// `double`.
    F64(f64),
    /// Structure of six `u32`.
    Six([u32; 6]),
    /// Structure of eight `u32`.
    Eight([u32; 8]),
}

impl Arg {
    /// Pointer to the value, as `cuLaunchKernel` takes it. It is valid as long as the argument is not moved.
    pub fn pointer(&self) -> *const c_void {
        match self {
            Self::Address(value) | Self::U64(value) => std::ptr::from_ref(value).cast(),
            Self::U32(value) => std::ptr::from_ref(value).cast(),
            Self::F32(value) => std::ptr::from_ref(value).cast(),
            Self::F64(value) => std::ptr::from_ref(value).cast(),
            Self::Six(value) => std::ptr::from_ref(value).cast(),
            Self::Eight(value) => std::ptr::from_ref(value).cast(),
        }
    }
}

/// One launch of a kernel: what the device is told, and what the tests run on the CPU.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Name of the kernel, one of those of [`FILES`](crate::source::FILES).
    pub kernel: &'static str,
    /// Blocks, across and down.
    pub grid: (u32, u32),
    /// Threads of a block.
    pub block: u32,
    /// Arguments, in the order of the kernel's.
    pub args: Vec<Arg>,
}

/// Threads of a block of the kernels that take one element after another.
const THREADS: u32 = 256;

/// Blocks of such a kernel at most: enough for every multiprocessor. A thread takes several elements beyond.
const BLOCKS: u32 = 4096;

/// Launch of a kernel that takes `count` things one after another.
pub(crate) fn elements(kernel: &'static str, count: u32, args: Vec<Arg>) -> Call {
    Call {
        kernel,
        grid: (count.div_ceil(THREADS).clamp(1, BLOCKS), 1),
        block: THREADS,
        args,
    }
}

/// Elements of a tensor as the kernels count them; `None` above 2^31 - 1, which they cannot address.
pub fn count(elements: usize) -> Option<u32> {
    i32::try_from(elements).ok().map(|count| count as u32)
}

/// True if four floats at a time can be read and written: the addresses lie on 16 bytes, and so does every row of `channels`.
pub(crate) fn by_four(channels: usize, addresses: &[Address]) -> bool {
    channels.is_multiple_of(4) && addresses.iter().all(|address| address.is_multiple_of(16))
}
