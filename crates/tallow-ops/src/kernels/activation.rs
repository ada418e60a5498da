//! Activation functions and their gradients, elementwise.

use pulp::{Simd, WithSimd};

use super::elementwise::{PIECE, map1, map2};
use super::float::Float;
use super::functions::{Function, Gelu, GeluTanh, HardSigmoid, HardSwish, Relu, Sigmoid, Silu};
use super::parallel::chunks;
use super::simd::arch;

/// Activation function by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activation {
    /// `max(x, 0)`: [`relu`](crate::relu()).
    Relu,
    /// [`sigmoid`](crate::sigmoid).
    Sigmoid,
    /// [`silu`](crate::silu).
    Silu,
    /// [`hard_sigmoid`](crate::hard_sigmoid).
    HardSigmoid,
    /// [`hard_swish`](crate::hard_swish).
    HardSwish,
    /// [`gelu`](crate::gelu).
    Gelu,
    /// [`gelu_tanh`](crate::gelu_tanh).
    GeluTanh,
}

impl Activation {
    /// `y = f(x)`.
    pub(crate) fn forward<T: Float>(self, x: &[T], y: &mut [T]) {
        match self {
            Self::Relu => forward::<T, Relu>(x, y),
            Self::Sigmoid => forward::<T, Sigmoid>(x, y),
            Self::Silu => forward::<T, Silu>(x, y),
            Self::HardSigmoid => forward::<T, HardSigmoid>(x, y),
            Self::HardSwish => forward::<T, HardSwish>(x, y),
            Self::Gelu => forward::<T, Gelu>(x, y),
            Self::GeluTanh => forward::<T, GeluTanh>(x, y),
        }
    }

    /// `dx = f'(x) * dy`.
    pub(crate) fn backward<T: Float>(self, x: &[T], dy: &[T], dx: &mut [T]) {
        match self {
            Self::Relu => backward::<T, Relu>(x, dy, dx),
            Self::Sigmoid => backward::<T, Sigmoid>(x, dy, dx),
            Self::Silu => backward::<T, Silu>(x, dy, dx),
            Self::HardSigmoid => backward::<T, HardSigmoid>(x, dy, dx),
            Self::HardSwish => backward::<T, HardSwish>(x, dy, dx),
            Self::Gelu => backward::<T, Gelu>(x, dy, dx),
            Self::GeluTanh => backward::<T, GeluTanh>(x, dy, dx),
        }
    }
}

/// `y = f(x)`.
fn forward<T: Float, F: Function>(x: &[T], y: &mut [T]) {
    if let (Some(x), Some(y)) = (T::f32s(x), T::f32s_mut(y)) {
        return chunks(y, PIECE, PIECE, |i, y| {
            let x = &x[i * PIECE..][..y.len()];
            arch().dispatch(Map1::<F>(x, y, std::marker::PhantomData));
        });
    }
    map1(
        x,
        y,
        #[inline(always)]
        |x| T::from_f64(F::value_f64(x.to_f64())),
    );
}

/// `dx = f'(x) * dy`.
fn backward<T: Float, F: Function>(x: &[T], dy: &[T], dx: &mut [T]) {
    if let (Some(x), Some(dy), Some(dx)) = (T::f32s(x), T::f32s(dy), T::f32s_mut(dx)) {
        return chunks(dx, PIECE, PIECE, |i, dx| {
            let (x, dy) = (&x[i * PIECE..][..dx.len()], &dy[i * PIECE..][..dx.len()]);
            arch().dispatch(Map2::<F>(x, dy, dx, std::marker::PhantomData));
        });
    }
    map2(
        x,
        dy,
        dx,
        #[inline(always)]
        |x, dy| T::from_f64(F::slope_f64(x.to_f64()) * dy.to_f64()),
    );
}

struct Map1<'a, F>(&'a [f32], &'a mut [f32], std::marker::PhantomData<F>);

impl<F: Function> WithSimd for Map1<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let ((x, x_tail), (y, y_tail)) = (S::as_simd_f32s(self.0), S::as_mut_simd_f32s(self.1));
        for (y, &x) in y.iter_mut().zip(x) {
            *y = F::value(simd, x);
        }
        if !y_tail.is_empty() {
            let x = simd.partial_load_f32s(x_tail);
            simd.partial_store_f32s(y_tail, F::value(simd, x));
        }
    }
}

struct Map2<'a, F>(
    &'a [f32],
    &'a [f32],
    &'a mut [f32],
    std::marker::PhantomData<F>,
);

impl<F: Function> WithSimd for Map2<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let ((x, x_tail), (dy, dy_tail)) = (S::as_simd_f32s(self.0), S::as_simd_f32s(self.1));
        let (dx, dx_tail) = S::as_mut_simd_f32s(self.2);
        for ((dx, &x), &dy) in dx.iter_mut().zip(x).zip(dy) {
            *dx = simd.mul_f32s(F::slope(simd, x), dy);
        }
        if !dx_tail.is_empty() {
            let (x, dy) = (
                simd.partial_load_f32s(x_tail),
                simd.partial_load_f32s(dy_tail),
            );
            simd.partial_store_f32s(dx_tail, simd.mul_f32s(F::slope(simd, x), dy));
        }
    }
}
