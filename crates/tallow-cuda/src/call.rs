//! Launches of kernels as data.

use std::ffi::c_void;

/// Address in the memory of a device; 0 is a null pointer.
pub type Address = u64;

/// Type of the numbers that lie in memory. Arithmetic is done in `f32` or `f64` for either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Numbers {
    /// `f32`.
    #[default]
    F32,
    /// `bf16`.
    Bf16,
}

impl Numbers {
    /// All types.
    pub const ALL: [Self; 2] = [Self::F32, Self::Bf16];

    /// Bytes of a number.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
        }
    }

    /// End of the names of the kernels for it.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::F32 => "",
            Self::Bf16 => "_bf16",
        }
    }
}

/// Precision of the products of convolutions and linear layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// Products and sums in `f32`.
    #[default]
    F32,
    /// Factors rounded to the 11 bits of TF32, sums in `f32`.
    Tf32,
    /// Factors and results in `bf16`, sums in `f32`.
    Bf16,
}

impl Precision {
    /// Numbers of the maps.
    pub fn numbers(self) -> Numbers {
        match self {
            Self::F32 | Self::Tf32 => Numbers::F32,
            Self::Bf16 => Numbers::Bf16,
        }
    }
}

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

/// True if four numbers at a time can be read and written: the addresses lie on as many bytes, and so does every row of `channels`.
pub(crate) fn by_four(channels: usize, numbers: Numbers, addresses: &[Address]) -> bool {
    let bytes = 4 * numbers.bytes() as Address;
    channels.is_multiple_of(4)
        && addresses
            .iter()
            .all(|address| address.is_multiple_of(bytes))
}

/// Names of a kernel for both types of numbers.
#[derive(Clone, Copy)]
pub(crate) struct Kernel(pub(crate) [&'static str; 2]);

impl Kernel {
    /// Name for a type.
    pub(crate) fn of(self, numbers: Numbers) -> &'static str {
        self.0[numbers as usize]
    }
}

/// Names of a kernel that there is for one channel at a time and for four.
#[derive(Clone, Copy)]
pub(crate) struct Family(pub(crate) [Kernel; 2]);

impl Family {
    /// Name for a type, with four at a time or one.
    pub(crate) fn of(self, numbers: Numbers, four: bool) -> &'static str {
        self.0[usize::from(four)].of(numbers)
    }
}

/// [`Kernel`] of a name.
macro_rules! kernel {
    ($name:literal) => {
        $crate::call::Kernel([$name, concat!($name, "_bf16")])
    };
}

/// [`Family`] of a name.
macro_rules! family {
    ($name:literal) => {
        $crate::call::Family([
            $crate::call::Kernel([concat!($name, "_1"), concat!($name, "_1_bf16")]),
            $crate::call::Kernel([concat!($name, "_4"), concat!($name, "_4_bf16")]),
        ])
    };
}

pub(crate) use {family, kernel};
