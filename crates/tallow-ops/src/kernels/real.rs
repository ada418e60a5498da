//! The two element types of the kernels, and their vectors.

use std::cell::RefCell;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Mul};
use std::thread::LocalKey;

use pulp::Simd;

/// `f32` or `f64`.
pub(crate) trait Real:
    Copy
    + Default
    + PartialOrd
    + Send
    + Sync
    + Add<Output = Self>
    + AddAssign
    + Mul<Output = Self>
    + Sum
    + 'static
{
    /// A register of an instruction set.
    type Vector<S: Simd>: Copy;
    const ZERO: Self;
    const ONE: Self;

    /// Rounds to this type.
    fn from_f64(value: f64) -> Self;
    fn to_f64(self) -> f64;
    /// All lanes equal.
    fn splat<S: Simd>(simd: S, value: Self) -> Self::Vector<S>;
    /// `a * b + c`, fused where the instruction set has it.
    fn mul_add<S: Simd>(
        simd: S,
        a: Self::Vector<S>,
        b: Self::Vector<S>,
        c: Self::Vector<S>,
    ) -> Self::Vector<S>;
    /// The sum of the lanes, in a fixed order.
    fn reduce_sum<S: Simd>(simd: S, a: Self::Vector<S>) -> Self;
    /// Lanes of a register.
    fn lanes<S: Simd>() -> usize {
        size_of::<Self::Vector<S>>() / size_of::<Self>()
    }
    /// The values, if they are `f32`.
    fn f32s(values: &[Self]) -> Option<&[f32]>;
    /// The values, if they are `f32`.
    fn f32s_mut(values: &mut [Self]) -> Option<&mut [f32]>;
    /// This thread's free scratch buffers.
    fn pool() -> &'static LocalKey<RefCell<Vec<Vec<Self>>>>;
}

macro_rules! real {
    ($type:ident, $vector:ident, $pool:ident, $splat:ident, $mul_add:ident, $reduce_sum:ident, $f32s:expr, $f32s_mut:expr) => {
        thread_local!(static $pool: RefCell<Vec<Vec<$type>>> = const { RefCell::new(Vec::new()) });

        impl Real for $type {
            type Vector<S: Simd> = S::$vector;
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;

            #[inline(always)]
            fn from_f64(value: f64) -> Self {
                value as $type
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                self as f64
            }
            #[inline(always)]
            fn splat<S: Simd>(simd: S, value: Self) -> S::$vector {
                simd.$splat(value)
            }
            #[inline(always)]
            fn mul_add<S: Simd>(simd: S, a: S::$vector, b: S::$vector, c: S::$vector) -> S::$vector {
                simd.$mul_add(a, b, c)
            }
            #[inline(always)]
            fn reduce_sum<S: Simd>(simd: S, a: S::$vector) -> Self {
                simd.$reduce_sum(a)
            }
            fn f32s(values: &[Self]) -> Option<&[f32]> {
                $f32s(values)
            }
            fn f32s_mut(values: &mut [Self]) -> Option<&mut [f32]> {
                $f32s_mut(values)
            }
            fn pool() -> &'static LocalKey<RefCell<Vec<Vec<Self>>>> {
                &$pool
            }
        }
    };
}

real!(
    f32,
    f32s,
    POOL_F32,
    splat_f32s,
    mul_add_e_f32s,
    reduce_sum_f32s,
    Some,
    Some
);
real!(
    f64,
    f64s,
    POOL_F64,
    splat_f64s,
    mul_add_e_f64s,
    reduce_sum_f64s,
    |_| None,
    |_| None
);
