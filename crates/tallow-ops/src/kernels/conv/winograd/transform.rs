//! Between tensors in `(N, H, W, C)` and panel matrices, one for each frequency.

use pulp::Simd;

use super::tile::Tile;
use crate::kernels::conv::Epilogue;
use crate::kernels::panel::{Mat, PANEL, load, store};
use crate::kernels::square::square16;

/// An array of six, written out: closures would not inherit the instruction set of the function around them.
macro_rules! six {
    ($i:ident => $value:expr) => {
        [
            {
                let $i = 0usize;
                $value
            },
            {
                let $i = 1usize;
                $value
            },
            {
                let $i = 2usize;
                $value
            },
            {
                let $i = 3usize;
                $value
            },
            {
                let $i = 4usize;
                $value
            },
            {
                let $i = 5usize;
                $value
            },
        ]
    };
}

/// One dimension of [`gather`]'s transform.
#[inline(always)]
fn lines<S: Simd, F: Tile, const GRAD: bool>(simd: S, v: [S::f32s; 6]) -> [S::f32s; 6] {
    if GRAD {
        F::output_grad(simd, [v[0], v[1], v[2], v[3]])
    } else {
        F::input(simd, v)
    }
}

/// What pixels outside the map read.
static ZEROS: [f32; MOST_CHANNELS] = [0.0; MOST_CHANNELS];

/// The most channels there are zeros for.
pub(super) const MOST_CHANNELS: usize = 8192;

/// A batch of maps cut into tiles: which pixels a tile reads or writes.
#[derive(Clone, Copy)]
pub(super) struct Maps {
    /// Height, width and channels of the tensor.
    pub(super) h: usize,
    pub(super) w: usize,
    pub(super) c: usize,
    /// Tiles per column and per row of one map.
    pub(super) th: usize,
    pub(super) tw: usize,
    /// Distance between the origins of neighbouring tiles.
    pub(super) step: usize,
    /// How far the first tile starts before the map.
    pub(super) pad: usize,
}

impl Maps {
    /// Map and origin (row, column; may be negative) of tile `index`.
    #[inline(always)]
    fn origin(&self, index: usize) -> (usize, isize, isize) {
        let per_map = self.th * self.tw;
        let (map, rest) = (index / per_map, index % per_map);
        let at = |i: usize| (i * self.step) as isize - self.pad as isize;
        (map, at(rest / self.tw), at(rest % self.tw))
    }
}

/// Panel matrices of all frequencies: that of frequency `f` starts at `first.start + f * plane`.
#[derive(Clone, Copy)]
pub(super) struct Planes {
    pub(super) first: Mat,
    pub(super) plane: usize,
}

impl Planes {
    /// The matrix of frequency `f`.
    #[inline(always)]
    pub(super) fn of(self, f: usize) -> Mat {
        Mat {
            start: self.first.start.wrapping_add(f * self.plane),
            ..self.first
        }
    }
}

/// Loads `size x size` pixels around each tile, transforms both dimensions, stores `T x T` frequencies.
///
/// `GRAD` false: `B^T d B` of input tiles (`size = T`); true: `A dy A^T` of output tiles (`size = M`).
///
/// # Safety
/// `x` holds the maps, `out` has room for tile rows `row..row + count` and all channels rounded up to panels.
#[inline(always)]
pub(super) unsafe fn gather<S: Simd, F: Tile, const GRAD: bool>(
    simd: S,
    x: *const f32,
    maps: Maps,
    first: usize,
    count: usize,
    out: Planes,
    row: usize,
) {
    let zero = simd.splat_f32s(0.0);
    let size = if GRAD { F::M } else { F::T };
    let Maps { h, w, c, .. } = maps;
    let whole = c / S::F32_LANES * S::F32_LANES;
    for t in 0..count {
        let (map, y0, x0) = maps.origin(first + t);
        // Pixels outside the map read zeros.
        let mut pixels = [[ZEROS.as_ptr(); 6]; 6];
        for (i, line) in pixels.iter_mut().enumerate().take(size) {
            let y = y0 + i as isize;
            for (j, pixel) in line.iter_mut().enumerate().take(size) {
                let x_ = x0 + j as isize;
                if y >= 0 && (y as usize) < h && x_ >= 0 && (x_ as usize) < w {
                    *pixel = x.wrapping_add(((map * h + y as usize) * w + x_ as usize) * c);
                }
            }
        }
        let at = |channel: usize| out.first.at(row + t, channel);
        for channel in (0..whole).step_by(S::F32_LANES) {
            // SAFETY: a whole vector of a pixel inside the map, or of the zeros.
            let half = unsafe {
                six!(i => if i < size {
                    lines::<S, F, GRAD>(simd, six!(j => if j < size { load::<S>(pixels[i][j].add(channel)) } else { zero }))
                } else {
                    [zero; 6]
                })
            };
            let at = at(channel);
            for j in 0..F::T {
                let column = lines::<S, F, GRAD>(simd, six!(i => half[i][j]));
                for i in 0..F::T {
                    // SAFETY: promised by the caller.
                    unsafe { store::<S>(at.add((i * F::T + j) * out.plane), column[i]) };
                }
            }
        }
        if whole < c {
            let mut half = [[zero; 6]; 6];
            for i in 0..size {
                let mut v = [zero; 6];
                for j in 0..size {
                    // SAFETY: the rest of a pixel inside the map, or of the zeros.
                    v[j] = unsafe {
                        simd.partial_load_f32s(std::slice::from_raw_parts(
                            pixels[i][j].add(whole),
                            c - whole,
                        ))
                    };
                }
                half[i] = lines::<S, F, GRAD>(simd, v);
            }
            let at = at(whole);
            for j in 0..F::T {
                let column = lines::<S, F, GRAD>(simd, six!(i => half[i][j]));
                for i in 0..F::T {
                    // SAFETY: promised by the caller.
                    unsafe { store::<S>(at.add((i * F::T + j) * out.plane), column[i]) };
                }
            }
        }
    }
}

/// The way back: `A^T m A` of `T x T` frequencies to `M x M` output pixels, clipped to the map, then the epilogue.
///
/// # Safety
/// As [`gather`]; no other thread writes these tiles of `y`.
#[inline(always)]
pub(super) unsafe fn scatter<S: Simd, F: Tile>(
    simd: S,
    m: Planes,
    row: usize,
    maps: Maps,
    first: usize,
    count: usize,
    epilogue: Epilogue,
    y: *mut f32,
) {
    let zero = simd.splat_f32s(0.0);
    let Maps { h, w, c, .. } = maps;
    for t in 0..count {
        let (map, y0, x0) = maps.origin(first + t);
        let (y0, x0) = (y0 as usize, x0 as usize);
        let (rows, cols) = (F::M.min(h - y0), F::M.min(w - x0));
        let mut channel = 0;
        while channel < c {
            let lanes = S::F32_LANES.min(c - channel);
            let at = m.first.at(row + t, channel).cast_const();
            let offset = match epilogue.bias {
                Some(bias) => simd.partial_load_f32s(&bias[channel..channel + lanes]),
                None => zero,
            };
            let scale = match epilogue.scale {
                Some(scale) => simd.partial_load_f32s(&scale[channel..channel + lanes]),
                None => simd.splat_f32s(1.0),
            };
            // SAFETY: promised by the caller.
            let half = unsafe {
                six!(i => if i < F::T {
                    F::output(
                        simd,
                        six!(j => if j < F::T { load::<S>(at.add((i * F::T + j) * m.plane)) } else { zero }),
                    )
                } else {
                    [zero; 4]
                })
            };
            for j in 0..cols {
                let column = F::output(
                    simd,
                    [
                        half[0][j], half[1][j], half[2][j], half[3][j], half[4][j], half[5][j],
                    ],
                );
                for i in 0..rows {
                    let at = (((map * h) + y0 + i) * w + x0 + j) * c + channel;
                    let mut value = simd.mul_add_e_f32s(column[i], scale, offset);
                    if let Some(addend) = epilogue.addend {
                        value =
                            simd.add_f32s(value, simd.partial_load_f32s(&addend[at..at + lanes]));
                    }
                    if epilogue.relu {
                        // Not the maximum, which drops a NaN on some instruction sets.
                        value = simd.select_f32s(
                            simd.less_than_or_equal_f32s(value, zero),
                            zero,
                            value,
                        );
                    }
                    // SAFETY: the pixel is inside the map, `lanes` channels inside the pixel.
                    unsafe {
                        let p = y.add(at);
                        if lanes == S::F32_LANES {
                            store::<S>(p, value);
                        } else {
                            simd.partial_store_f32s(
                                std::slice::from_raw_parts_mut(p, lanes),
                                value,
                            );
                        }
                    }
                }
            }
            channel += S::F32_LANES;
        }
    }
}

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
        for a in 0..F::T {
            let line = F::weight(simd, [half[0][a], half[1][a], half[2][a]]);
            for b in 0..F::T {
                // SAFETY: promised by the caller.
                unsafe {
                    let p = out.of(a * F::T + b).at(row, col + lane);
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
        for a in 0..F::T {
            let mut line = [zero; 6];
            for b in 0..F::T {
                // SAFETY: promised by the caller.
                line[b] = unsafe { load::<S>(du.of(a * F::T + b).at(row, col + lane)) };
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
