//! Between tensors in `(N, H, W, C)` and panel matrices, one for each frequency.

use std::mem::MaybeUninit;

use pulp::Simd;

use super::tile::{Line, MOST};
use crate::kernels::conv::passes::Epilogue;
use crate::kernels::panel::{Mat, load, store};
use crate::kernels::simd::{prefetch_read, prefetch_write};

/// Source of pixels outside the map.
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
    /// Distance of the first tile's start before the map.
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

    /// Pointers to the first `size x size` pixels of tile `index`; zeros outside the map.
    #[inline(always)]
    fn pixels(&self, x: *const f32, index: usize, size: usize) -> [[*const f32; MOST]; MOST] {
        let (map, y0, x0) = self.origin(index);
        let mut pixels = [[ZEROS.as_ptr(); MOST]; MOST];
        for (i, line) in pixels.iter_mut().enumerate().take(size) {
            let y = y0 + i as isize;
            for (j, pixel) in line.iter_mut().enumerate().take(size) {
                let x_ = x0 + j as isize;
                if y >= 0 && (y as usize) < self.h && x_ >= 0 && (x_ as usize) < self.w {
                    *pixel = x.wrapping_add(
                        ((map * self.h + y as usize) * self.w + x_ as usize) * self.c,
                    );
                }
            }
        }
        pixels
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

/// Loads the pixels around each tile, transforms both dimensions by `L`, stores the frequencies.
///
/// # Safety
/// `x` holds the maps, `out` has room for tile rows `row..row + count` and all channels rounded up to panels.
#[inline(always)]
pub(super) unsafe fn gather<S: Simd, L: Line>(
    simd: S,
    x: *const f32,
    maps: Maps,
    first: usize,
    count: usize,
    out: Planes,
    row: usize,
) {
    let c = maps.c;
    let whole = c / S::F32_LANES * S::F32_LANES;
    let mut next = maps.pixels(x, first, L::FROM);
    for t in 0..count {
        let pixels = next;
        next = maps.pixels(x, first + (t + 1).min(count - 1), L::FROM);
        for channel in (0..whole).step_by(S::F32_LANES) {
            // The processor's own prefetching does not follow six rows at a time.
            for line in next.iter().take(L::FROM) {
                for pixel in line.iter().take(L::FROM) {
                    prefetch_read(pixel.wrapping_add(channel));
                }
            }
            let to = out.first.at(row + t, channel);
            // SAFETY: whole vectors of pixels inside the map, or of the zeros; the rest is promised by the caller.
            unsafe { gather_vector::<S, L, true>(simd, &pixels, channel, c, to, out.plane) };
        }
        if whole < c {
            let to = out.first.at(row + t, whole);
            // SAFETY: as above, for the rest of the pixels.
            unsafe { gather_vector::<S, L, false>(simd, &pixels, whole, c, to, out.plane) };
        }
    }
}

/// One vector of channels of a tile.
#[inline(always)]
unsafe fn gather_vector<S: Simd, L: Line, const WHOLE: bool>(
    simd: S,
    pixels: &[[*const f32; MOST]; MOST],
    channel: usize,
    channels: usize,
    to: *mut f32,
    plane: usize,
) {
    let zero = simd.splat_f32s(0.0);
    let mut half = [[MaybeUninit::uninit(); MOST]; MOST];
    for i in 0..L::FROM {
        let mut v = [zero; MOST];
        for j in 0..L::FROM {
            let p = pixels[i][j].wrapping_add(channel);
            // SAFETY: promised by the caller.
            v[j] = unsafe {
                if WHOLE {
                    load::<S>(p)
                } else {
                    simd.partial_load_f32s(std::slice::from_raw_parts(p, channels - channel))
                }
            };
        }
        let v = L::apply(simd, v);
        for j in 0..L::TO {
            half[j][i].write(v[j]);
        }
    }
    for j in 0..L::TO {
        // SAFETY: as many as `L` takes were written; the rest is promised by the caller.
        unsafe {
            let column = L::apply(simd, column::<S, L>(simd, &half[j]));
            for i in 0..L::TO {
                store::<S>(to.add((i * L::TO + j) * plane), column[i])
            }
        }
    }
}

/// Vectors of `from` that `L` reads; the others are not initialized, since zeroing them would cost as much as the transform.
#[inline(always)]
unsafe fn column<S: Simd, L: Line>(
    simd: S,
    from: &[MaybeUninit<S::f32s>; MOST],
) -> [S::f32s; MOST] {
    let mut v = [simd.splat_f32s(0.0); MOST];
    for i in 0..L::FROM {
        // SAFETY: promised by the caller.
        v[i] = unsafe { from[i].assume_init() };
    }
    v
}

/// The way back: transforms the frequencies by `L` to output pixels, clipped to the map, then the epilogue.
///
/// # Safety
/// As [`gather`]; no other thread writes these tiles of `y`.
#[inline(always)]
pub(super) unsafe fn scatter<S: Simd, L: Line>(
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
    // Where a tile's pixels start, and how many rows and columns of it lie inside the map.
    let tile = |index: usize| {
        let (map, y0, x0) = maps.origin(index);
        let (y0, x0) = (y0 as usize, x0 as usize);
        let start = ((map * h + y0) * w + x0) * c;
        (start, L::TO.min(h - y0), L::TO.min(w - x0))
    };
    let mut next = tile(first);
    for t in 0..count {
        let (start, rows, cols) = next;
        next = tile(first + (t + 1).min(count - 1));
        let mut channel = 0;
        while channel < c {
            for i in 0..next.1 {
                for j in 0..next.2 {
                    prefetch_write(y.wrapping_add(next.0 + (i * w + j) * c + channel));
                }
            }
            let lanes = S::F32_LANES.min(c - channel);
            let from = m.first.at(row + t, channel).cast_const();
            let offset = match epilogue.bias {
                Some(bias) => simd.partial_load_f32s(&bias[channel..channel + lanes]),
                None => zero,
            };
            let scale = match epilogue.scale {
                Some(scale) => simd.partial_load_f32s(&scale[channel..channel + lanes]),
                None => simd.splat_f32s(1.0),
            };
            let mut half = [[MaybeUninit::uninit(); MOST]; MOST];
            for i in 0..L::FROM {
                let mut v = [zero; MOST];
                for j in 0..L::FROM {
                    // SAFETY: promised by the caller.
                    v[j] = unsafe { load::<S>(from.add((i * L::FROM + j) * m.plane)) };
                }
                let v = L::apply(simd, v);
                for j in 0..L::TO {
                    half[j][i].write(v[j]);
                }
            }
            for j in 0..cols {
                // SAFETY: as many as `L` takes were written.
                let column = unsafe { L::apply(simd, column::<S, L>(simd, &half[j])) };
                for i in 0..rows {
                    let at = start + (i * w + j) * c + channel;
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
