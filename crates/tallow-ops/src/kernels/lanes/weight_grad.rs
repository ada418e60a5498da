//! The gradient of filters: each tap is the product of the output gradient with the input, shifted.

use pulp::Simd;

use crate::kernels::conv::geometry::Geometry;
use crate::kernels::panel::load;

/// Start, and the distances in vectors from channel to channel and from line to line.
type Maps = (*const f32, usize, usize);

/// `dw` `(K, C, KH, KW)`, summed over the images in the lanes.
///
/// # Safety
/// `input` holds the padded input and `gradient` the output gradient of the geometry's sizes.
#[inline(always)]
pub(super) unsafe fn weight_grad<S: Simd>(
    simd: S,
    g: &Geometry,
    input: Maps,
    gradient: Maps,
    dw: &mut [f32],
) {
    let (k, (kh, kw)) = (g.out_channels, g.kernel);
    let block = match S::REGISTER_COUNT >= 32 {
        true if !k.is_multiple_of(4) && k.is_multiple_of(3) => 3,
        true => 4,
        false => 2,
    };
    for first in (0..k).step_by(block) {
        for c in 0..g.channels {
            for ky in 0..kh {
                let mut kx = 0;
                macro_rules! taps {
                    ($block:literal: $($taps:literal)*) => {{$(
                        while kw - kx >= $taps {
                            // SAFETY: promised by the caller.
                            let sums = unsafe {
                                tile::<S, $block, $taps>(simd, g, input, gradient, (first, c, ky, kx))
                            };
                            for (i, sums) in sums.iter().enumerate().take(k - first) {
                                for (t, sum) in sums.iter().enumerate() {
                                    let at = (((first + i) * g.channels + c) * kh + ky) * kw + kx + t;
                                    dw[at] = simd.reduce_sum_f32s(*sum);
                                }
                            }
                            kx += $taps;
                        }
                    )*}};
                }
                match block {
                    3 => taps!(3: 5 3 1),
                    4 => taps!(4: 5 3 1),
                    _ => taps!(2: 5 3 1),
                }
            }
        }
    }
}

/// `TAPS` neighbouring taps of `BLOCK` filters, one sum for each lane.
#[inline(always)]
unsafe fn tile<S: Simd, const BLOCK: usize, const TAPS: usize>(
    simd: S,
    g: &Geometry,
    input: Maps,
    gradient: Maps,
    (first, c, ky, kx): (usize, usize, usize, usize),
) -> [[S::f32s; TAPS]; BLOCK] {
    let l = S::F32_LANES;
    let mut acc = [[simd.splat_f32s(0.0); TAPS]; BLOCK];
    let mut maps = [gradient.0; BLOCK];
    for (i, map) in maps.iter_mut().enumerate() {
        // A block that sticks out reads the last channel again, and its sums go nowhere.
        *map = map.wrapping_add((first + i).min(g.out_channels - 1) * gradient.1 * l);
    }
    for y in 0..g.out_height {
        let line = input
            .0
            .wrapping_add((c * input.1 + (y + ky) * input.2 + kx) * l);
        for x in 0..g.out_width {
            // SAFETY: promised by the caller.
            unsafe {
                let mut pixels = [simd.splat_f32s(0.0); TAPS];
                for t in 0..TAPS {
                    pixels[t] = load::<S>(line.add((x + t) * l));
                }
                for i in 0..BLOCK {
                    let d = load::<S>(maps[i].add((y * gradient.2 + x) * l));
                    for t in 0..TAPS {
                        acc[i][t] = simd.mul_add_e_f32s(d, pixels[t], acc[i][t]);
                    }
                }
            }
        }
    }
    acc
}
