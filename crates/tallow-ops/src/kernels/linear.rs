//! The fully connected layer: `y = x w^T + b` with `x` `(n, i)`, `w` `(o, i)`, `y` `(n, o)`.

use super::gemm::{Matrix, MatrixMut, gemm};
use super::packed;
use super::parallel::Threads;
use super::real::Real;

/// The sizes of a fully connected layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) batch: usize,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
}

impl Shape {
    fn threads(&self) -> Threads {
        Threads::for_work(self.batch * self.inputs * self.outputs)
    }
}

pub(crate) fn forward<T: Real>(s: Shape, x: &[T], w: &[T], b: Option<&[T]>, y: &mut [T]) {
    if packed::suits(s.batch, s.outputs, s.inputs)
        && let (Some(x), Some(w)) = (T::f32s(x), T::f32s(w))
        && let Some(y) = T::f32s_mut(y)
    {
        let bias = b.and_then(T::f32s);
        let w = packed::transposed(w, s.outputs, s.inputs);
        return packed::product(s.threads(), x, &w, s.inputs, bias, y, s.outputs);
    }
    if let Some(b) = b {
        y.chunks_exact_mut(s.outputs)
            .for_each(|row| row.copy_from_slice(b));
    }
    let (x, w) = (
        Matrix::dense(x, s.batch, s.inputs),
        Matrix::dense(w, s.outputs, s.inputs),
    );
    gemm(
        MatrixMut::dense(y, s.batch, s.outputs),
        x,
        w.t(),
        b.is_some(),
        s.threads(),
    );
}

/// `dx = dy w`.
pub(crate) fn grad_input<T: Real>(s: Shape, w: &[T], dy: &[T], dx: &mut [T]) {
    if packed::suits(s.batch, s.inputs, s.outputs)
        && let (Some(w), Some(dy)) = (T::f32s(w), T::f32s(dy))
        && let Some(dx) = T::f32s_mut(dx)
    {
        let w = packed::rows(w, s.outputs, s.inputs);
        return packed::product(s.threads(), dy, &w, s.outputs, None, dx, s.inputs);
    }
    let (w, dy) = (
        Matrix::dense(w, s.outputs, s.inputs),
        Matrix::dense(dy, s.batch, s.outputs),
    );
    gemm(
        MatrixMut::dense(dx, s.batch, s.inputs),
        dy,
        w,
        false,
        s.threads(),
    );
}

/// `dw = dy^T x`.
pub(crate) fn grad_weight<T: Real>(s: Shape, x: &[T], dy: &[T], dw: &mut [T]) {
    if packed::suits(s.outputs, s.inputs, s.batch)
        && let (Some(x), Some(dy)) = (T::f32s(x), T::f32s(dy))
        && let Some(dw) = T::f32s_mut(dw)
    {
        let dy = packed::transposed_rows(dy, s.batch, s.outputs);
        let x = packed::rows(x, s.batch, s.inputs);
        return packed::product(s.threads(), &dy, &x, s.batch, None, dw, s.inputs);
    }
    let (x, dy) = (
        Matrix::dense(x, s.batch, s.inputs),
        Matrix::dense(dy, s.batch, s.outputs),
    );
    gemm(
        MatrixMut::dense(dw, s.outputs, s.inputs),
        dy.t(),
        x,
        false,
        s.threads(),
    );
}

/// `db`: the sum of `dy` over the batch.
pub(crate) fn grad_bias<T: Real>(s: Shape, dy: &[T], db: &mut [T]) {
    db.fill(T::ZERO);
    for row in dy.chunks_exact(s.outputs) {
        db.iter_mut().zip(row).for_each(|(sum, &d)| *sum += d);
    }
}
