use super::float::Float;
use super::parallel::pieces;

/// A tile's side: 16 `f32` are one cache line, and a tile of each matrix stays in the first-level cache.
const TILE: usize = 16;

/// Transposes `count` matrices of `rows` x `columns`.
pub(crate) fn batched<T: Float>(x: &[T], count: usize, rows: usize, columns: usize, y: &mut [T]) {
    let size = rows * columns;
    debug_assert_eq!(x.len(), count * size);
    pieces(
        y,
        size,
        size,
        #[inline(always)]
        |i, y| {
            let x = &x[i * size..][..size];
            for left in (0..columns).step_by(TILE) {
                for top in (0..rows).step_by(TILE) {
                    let bottom = rows.min(top + TILE);
                    for column in left..columns.min(left + TILE) {
                        let out = &mut y[column * rows..][top..bottom];
                        for (out, row) in out.iter_mut().zip(top..) {
                            *out = x[row * columns + column];
                        }
                    }
                }
            }
        },
    );
}
