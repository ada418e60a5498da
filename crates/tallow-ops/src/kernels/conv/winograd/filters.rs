//! Between PyTorch's filters and panel matrices, one for each frequency of the filters.

use pulp::Simd;

use super::tile::Tile;
use super::transform::Planes;
use crate::kernels::panel::{PANEL, load, store};
use crate::kernels::square::square16;

/// `G g G^T` of PyTorch weights `(O, I, 3, 3)` for one panel of columns.
///
/// Forward (`FLIP` false): rows are input channels, columns output channels. Input gradient (`FLIP` true): rows are output
/// channels, columns input channels, and the filter is turned by 180 degrees.
///
/// # Safety
/// `out` has room for this panel.
#[inline(always)]
pub(super) unsafe fn weights<S: Simd, F: Tile, const FLIP: bool>(
    simd: S,
    w: &[f32],
    (o, i): (usize, usize),
    panel: usize,
    out: Planes,
) {
    let (rows, cols) = if FLIP { (o, i) } else { (i, o) };
    let width = PANEL.min(cols - panel * PANEL);
    // Where a filter's nine taps are.
    let filter = |row: usize, lane: usize| {
        let col = panel * PANEL + lane;
        9 * if FLIP { row * i + col } else { col * i + row }
    };
    // Taps of sixteen filters side by side: of one row, or of sixteen.
    let mut taps = Taps([[0f32; PANEL]; 9 * PANEL]);
    let mut row = 0;
    while row < rows {
        let mut count = 1;
        // SAFETY: the squares lie inside `w`, as the conditions say, and inside the taps.
        unsafe {
            if !FLIP && width == PANEL && row + PANEL <= rows {
                count = PANEL;
                for part in 0..9 {
                    let from = w.as_ptr().add(filter(row, 0) + part * PANEL);
                    let to = taps.0.as_mut_ptr().add(part * PANEL).cast();
                    square16(simd, (from, i * 9), (to, PANEL));
                }
            } else if FLIP && width == PANEL && filter(row, 15) + PANEL <= w.len() {
                let from = w.as_ptr().add(filter(row, 0));
                square16(simd, (from, 9), (taps.0.as_mut_ptr().cast(), PANEL));
            } else {
                for lane in 0..width {
                    for q in 0..9 {
                        taps.0[q][lane] = w[filter(row, lane) + q];
                    }
                }
            }
        }
        for r in 0..count {
            let mut nine = [taps.0.as_ptr().cast::<f32>(); 9];
            for (q, p) in nine.iter_mut().enumerate() {
                let q = if FLIP { 8 - q } else { q };
                *p = p.wrapping_add((r * 9 + q) * PANEL);
            }
            // SAFETY: whole lines of the taps; the rest is promised by the caller.
            unsafe { weight_row::<S, F>(simd, nine, panel * PANEL, row + r, out) };
        }
        row += count;
    }
}

/// Taps on cache lines.
#[repr(align(64))]
struct Taps([[f32; PANEL]; 9 * PANEL]);

/// `G g G^T` of one row of a panel.
#[inline(always)]
unsafe fn weight_row<S: Simd, F: Tile>(
    simd: S,
    taps: [*const f32; 9],
    col: usize,
    row: usize,
    out: Planes,
) {
    let zero = simd.splat_f32s(0.0);
    let mut lane = 0;
    while lane < PANEL {
        let mut half = [[zero; 6]; 3];
        for q in 0..3 {
            // SAFETY: promised by the caller; `lane + F32_LANES <= PANEL`.
            half[q] = unsafe {
                F::weight(
                    simd,
                    [
                        load::<S>(taps[q].add(lane)),
                        load::<S>(taps[3 + q].add(lane)),
                        load::<S>(taps[6 + q].add(lane)),
                    ],
                )
            };
        }
        for a in 0..F::FILTERS {
            let line = F::weight(simd, [half[0][a], half[1][a], half[2][a]]);
            for b in 0..F::FILTERS {
                // SAFETY: promised by the caller.
                unsafe {
                    let p = out.of(a * F::FILTERS + b).at(row, col + lane);
                    store::<S>(p, line[b]);
                }
            }
        }
        lane += S::F32_LANES;
    }
}

/// `G^T du G` to PyTorch weights `(O, I, 3, 3)`: rows of `du` are input channels, columns (one panel of them) output channels.
///
/// # Safety
/// No other thread writes this panel's output channels of `dw`.
#[inline(always)]
pub(super) unsafe fn weights_grad<S: Simd, F: Tile>(
    simd: S,
    du: Planes,
    (o, i): (usize, usize),
    panel: usize,
    dw: *mut f32,
) {
    let width = PANEL.min(o - panel * PANEL);
    let mut taps = Taps([[0f32; PANEL]; 9 * PANEL]);
    for first in (0..i).step_by(PANEL) {
        let count = PANEL.min(i - first);
        for r in 0..count {
            let to = taps.0[r * 9..][..9].as_mut_ptr().cast();
            // SAFETY: nine lines of the taps; the rest is promised by the caller.
            unsafe { weight_grad_row::<S, F>(simd, du, panel * PANEL, first + r, to) };
        }
        // SAFETY: the filters of this panel and these rows are inside `(O, I, 3, 3)`, and a square is sixteen floats of each.
        unsafe {
            let start = dw.add((panel * PANEL * i + first) * 9);
            if width == PANEL && count == PANEL {
                for part in 0..9 {
                    let from = taps.0.as_ptr().add(part * PANEL).cast();
                    square16(simd, (from, PANEL), (start.add(part * PANEL), i * 9));
                }
            } else {
                for lane in 0..width {
                    for at in 0..9 * count {
                        *start.add(lane * i * 9 + at) = taps.0[at][lane];
                    }
                }
            }
        }
    }
}

/// `G^T du G` of one row of a panel, to nine lines of [`PANEL`] floats.
#[inline(always)]
unsafe fn weight_grad_row<S: Simd, F: Tile>(
    simd: S,
    du: Planes,
    col: usize,
    row: usize,
    taps: *mut f32,
) {
    let zero = simd.splat_f32s(0.0);
    let mut lane = 0;
    while lane < PANEL {
        let mut half = [[zero; 3]; 6];
        for a in 0..F::FILTERS {
            let mut line = [zero; 6];
            for b in 0..F::FILTERS {
                // SAFETY: promised by the caller.
                line[b] = unsafe { load::<S>(du.of(a * F::FILTERS + b).at(row, col + lane)) };
            }
            half[a] = F::weight_grad(simd, line);
        }
        for q in 0..3 {
            let column = F::weight_grad(
                simd,
                [
                    half[0][q], half[1][q], half[2][q], half[3][q], half[4][q], half[5][q],
                ],
            );
            for p in 0..3 {
                // SAFETY: promised by the caller; `lane + F32_LANES <= PANEL`.
                unsafe { store::<S>(taps.add((p * 3 + q) * PANEL + lane), column[p]) };
            }
        }
        lane += S::F32_LANES;
    }
}
