use super::float::Float;
use super::parallel::pieces;

/// Elements in one piece of work; fixed, so that a piece is small against the second-level cache.
pub(super) const PIECE: usize = 1 << 14;

/// `y = f(a)`.
pub(crate) fn map1<T: Float>(a: &[T], y: &mut [T], f: impl Fn(T) -> T + Send + Sync) {
    pieces(
        y,
        PIECE,
        PIECE,
        #[inline(always)]
        |i, y| {
            let a = &a[i * PIECE..][..y.len()];
            for (y, &a) in y.iter_mut().zip(a) {
                *y = f(a);
            }
        },
    );
}

/// `y = f(a, b)`.
pub(crate) fn map2<T: Float>(a: &[T], b: &[T], y: &mut [T], f: impl Fn(T, T) -> T + Send + Sync) {
    pieces(
        y,
        PIECE,
        PIECE,
        #[inline(always)]
        |i, y| {
            let (a, b) = (&a[i * PIECE..][..y.len()], &b[i * PIECE..][..y.len()]);
            for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
                *y = f(a, b);
            }
        },
    );
}
