//! The gradient of the bias: the output gradient summed over batch and pixels.

use super::geometry::Geometry;
use crate::kernels::parallel::{Threads, for_each_chunk};
use crate::kernels::real::Real;
use crate::kernels::scratch;
use crate::kernels::simd::arch;
use crate::layout::Layout;

/// Rows summed in the element type before the sum moves to `f64`.
const RUN: usize = 256;

/// Fills `db`. The order of the additions does not depend on the number of threads.
pub(crate) fn grad_bias<T: Real>(g: &Geometry, layout: Layout, dy: &[T], db: &mut [T]) {
    let threads = Threads::for_work(dy.len());
    match layout {
        Layout::Nchw => for_each_chunk(db, 1, threads, |o, db| {
            let plane = |n: usize| {
                sum(&dy[n * g.out_image() + o * g.out_plane()..][..g.out_plane()]).to_f64()
            };
            db[0] = T::from_f64((0..g.batch).map(plane).sum());
        }),
        Layout::Nhwc => {
            let o = g.out_channels;
            let runs = (g.batch * g.out_plane()).div_ceil(RUN).max(1);
            let mut partial = scratch::zeroed::<T>(runs * o);
            for_each_chunk(&mut partial, o, threads, |run, sums| {
                let end = ((run + 1) * RUN * o).min(dy.len());
                arch().dispatch(
                    #[inline(always)]
                    || {
                        for row in dy[run * RUN * o..end].chunks_exact(o) {
                            sums.iter_mut().zip(row).for_each(
                                #[inline(always)]
                                |(s, &d)| *s += d,
                            );
                        }
                    },
                );
            });
            for (o, db) in db.iter_mut().enumerate() {
                *db = T::from_f64(
                    partial[o..]
                        .iter()
                        .step_by(g.out_channels)
                        .map(|v| v.to_f64())
                        .sum(),
                );
            }
        }
    }
}

/// A sum with sixteen running totals, which the compiler turns into vectors.
fn sum<T: Real>(values: &[T]) -> T {
    let mut totals = [T::ZERO; 16];
    let runs = values.chunks_exact(16);
    let rest: T = runs.remainder().iter().copied().sum();
    for run in runs {
        totals.iter_mut().zip(run).for_each(|(t, &v)| *t += v);
    }
    totals.into_iter().sum::<T>() + rest
}
