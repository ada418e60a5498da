//! Matrix products over panels of sixteen columns.
//!
//! A panel matrix is stored as `[cols / 16][rows][16]`: sixteen neighbouring columns of all rows, then the next sixteen.
//! One layout then serves as left and right operand and as result, a row of a panel is one cache line,
//! and transforms that work on vectors of channels write it directly, so nothing is ever repacked.
//! A row-major matrix is the same thing with other strides, so tensors in `(N, H, W, C)` take part as they are.

use pulp::Simd;

/// Columns in a panel.
pub(crate) const PANEL: usize = 16;

/// Floats a panel matrix of `rows` by `cols` takes.
pub(crate) const fn len(rows: usize, cols: usize) -> usize {
    rows * cols.next_multiple_of(PANEL)
}

/// Strides of a matrix: element `(r, c)` is at `start + r * row + c / 16 * panel + c % 16`.
#[derive(Clone, Copy)]
pub(crate) struct Mat {
    pub(crate) start: *mut f32,
    pub(crate) row: usize,
    pub(crate) panel: usize,
}

// SAFETY: a description of where things are; whoever writes through it answers for that.
unsafe impl Send for Mat {}
// SAFETY: as above.
unsafe impl Sync for Mat {}

impl Mat {
    /// A panel matrix.
    pub(crate) fn panels(start: *mut f32, rows: usize) -> Self {
        Self {
            start,
            row: PANEL,
            panel: rows * PANEL,
        }
    }

    /// A row-major matrix.
    pub(crate) fn rows(start: *mut f32, stride: usize) -> Self {
        Self {
            start,
            row: stride,
            panel: PANEL,
        }
    }

    #[inline(always)]
    pub(crate) fn at(self, row: usize, col: usize) -> *mut f32 {
        self.start
            .wrapping_add(row * self.row + col / PANEL * self.panel + col % PANEL)
    }
}

#[inline(always)]
pub(crate) unsafe fn load<S: Simd>(p: *const f32) -> S::f32s {
    // SAFETY: the caller promises `F32_LANES` readable floats; `f32s` is plain data.
    unsafe { p.cast::<S::f32s>().read_unaligned() }
}

#[inline(always)]
pub(crate) unsafe fn store<S: Simd>(p: *mut f32, v: S::f32s) {
    // SAFETY: the caller promises `F32_LANES` writable floats.
    unsafe { p.cast::<S::f32s>().write_unaligned(v) }
}

/// `out = a b`: `MR` rows at `row`, `NV` vectors of columns at `col`, over `depth`.
#[inline(always)]
unsafe fn nn_tile<S: Simd, const MR: usize, const NV: usize>(
    simd: S,
    (row, col, depth): (usize, usize, usize),
    a: Mat,
    b: Mat,
    out: Mat,
) {
    let mut acc = [[simd.splat_f32s(0.0); NV]; MR];
    let mut columns = [b.start.cast_const(); NV];
    for (v, p) in columns.iter_mut().enumerate() {
        *p = b.at(0, col + v * S::F32_LANES);
    }
    let mut done = 0;
    // SAFETY: the caller promises that the matrices have these rows, columns and depth.
    unsafe {
        while done < depth {
            let left = a.at(row, done).cast_const();
            for l in 0..PANEL.min(depth - done) {
                let mut right = [simd.splat_f32s(0.0); NV];
                for v in 0..NV {
                    right[v] = load::<S>(columns[v].add((done + l) * b.row));
                }
                for (r, acc) in acc.iter_mut().enumerate() {
                    let x = simd.splat_f32s(*left.add(r * a.row + l));
                    for v in 0..NV {
                        acc[v] = simd.mul_add_e_f32s(x, right[v], acc[v]);
                    }
                }
            }
            done += PANEL;
        }
        for (r, acc) in acc.iter().enumerate() {
            for v in 0..NV {
                store::<S>(out.at(row + r, col + v * S::F32_LANES), acc[v]);
            }
        }
    }
}

/// `out (+)= a^T b`: `MR` rows at `row`, which are columns of one panel of `a`, `NV` vectors of columns at `col`, over `depth` rows of both
/// operands.
#[inline(always)]
unsafe fn tn_tile<S: Simd, const MR: usize, const NV: usize>(
    simd: S,
    (row, col, depth): (usize, usize, usize),
    a: Mat,
    b: Mat,
    out: Mat,
    accumulate: bool,
) {
    let mut acc = [[simd.splat_f32s(0.0); NV]; MR];
    let mut columns = [b.start.cast_const(); NV];
    for (v, p) in columns.iter_mut().enumerate() {
        *p = b.at(0, col + v * S::F32_LANES);
    }
    let left = a.at(0, row).cast_const();
    // SAFETY: as above; the caller's tiles do not cross a panel of `a`, so their rows are neighbours.
    unsafe {
        for t in 0..depth {
            let mut right = [simd.splat_f32s(0.0); NV];
            for v in 0..NV {
                right[v] = load::<S>(columns[v].add(t * b.row));
            }
            for (r, acc) in acc.iter_mut().enumerate() {
                let x = simd.splat_f32s(*left.add(t * a.row + r));
                for v in 0..NV {
                    acc[v] = simd.mul_add_e_f32s(x, right[v], acc[v]);
                }
            }
        }
        for (r, acc) in acc.iter_mut().enumerate() {
            for v in 0..NV {
                let p = out.at(row + r, col + v * S::F32_LANES);
                store::<S>(
                    p,
                    if accumulate {
                        simd.add_f32s(load::<S>(p), acc[v])
                    } else {
                        acc[v]
                    },
                );
            }
        }
    }
}

/// Calls `$tile` for the rows from `$row` to `$end`, `$mr` at a time, as often as that many are left.
macro_rules! rows_by {
    ($count:literal, $row:ident, $end:expr, $mr:ident, $tile:expr) => {{
        const $mr: usize = $count;
        while $row + $mr <= $end {
            $tile;
            $row += $mr;
        }
    }};
}

/// Calls `$tile` for all rows from `$row` to `$end`: as many at a time as leave registers for the operands.
macro_rules! all_rows {
    ($row:ident .. $end:expr, |$mr:ident| $tile:expr) => {{
        if S::REGISTER_COUNT >= 32 {
            rows_by!(8, $row, $end, $mr, $tile);
        } else {
            rows_by!(6, $row, $end, $mr, $tile);
        }
        rows_by!(4, $row, $end, $mr, $tile);
        rows_by!(2, $row, $end, $mr, $tile);
        rows_by!(1, $row, $end, $mr, $tile);
    }};
}

/// `out = a b` for `a` of `rows x depth` and `b` of `depth x cols`.
///
/// # Safety
/// The matrices have that many rows; columns of `b` and `out` are rounded up to whole panels, which are written.
#[inline(always)]
pub(crate) unsafe fn nn<S: Simd>(
    simd: S,
    (rows, cols, depth): (usize, usize, usize),
    a: Mat,
    b: Mat,
    out: Mat,
) {
    let cols = cols.next_multiple_of(PANEL);
    let mut col = 0;
    // SAFETY: promised by the caller.
    unsafe {
        while col + 2 * S::F32_LANES <= cols {
            let mut row = 0;
            all_rows!(row..rows, |MR| nn_tile::<S, MR, 2>(
                simd,
                (row, col, depth),
                a,
                b,
                out
            ));
            col += 2 * S::F32_LANES;
        }
        while col < cols {
            let mut row = 0;
            all_rows!(row..rows, |MR| nn_tile::<S, MR, 1>(
                simd,
                (row, col, depth),
                a,
                b,
                out
            ));
            col += S::F32_LANES;
        }
    }
}

/// `out = a^T b`, or `out += a^T b`, for `a` of `depth x rows` and `b` of `depth x cols`.
///
/// # Safety
/// As [`nn`].
#[inline(always)]
pub(crate) unsafe fn tn<S: Simd>(
    simd: S,
    (rows, cols, depth): (usize, usize, usize),
    a: Mat,
    b: Mat,
    out: Mat,
    accumulate: bool,
) {
    let cols = cols.next_multiple_of(PANEL);
    let mut col = 0;
    // SAFETY: promised by the caller.
    unsafe {
        while col + 2 * S::F32_LANES <= cols {
            let mut row = 0;
            while row < rows {
                let end = rows.min(row + PANEL);
                all_rows!(row..end, |MR| tn_tile::<S, MR, 2>(
                    simd,
                    (row, col, depth),
                    a,
                    b,
                    out,
                    accumulate
                ));
            }
            col += 2 * S::F32_LANES;
        }
        while col < cols {
            let mut row = 0;
            while row < rows {
                let end = rows.min(row + PANEL);
                all_rows!(row..end, |MR| tn_tile::<S, MR, 1>(
                    simd,
                    (row, col, depth),
                    a,
                    b,
                    out,
                    accumulate
                ));
            }
            col += S::F32_LANES;
        }
    }
}
