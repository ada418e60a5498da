//! 5x5 filters to Winograd's frequencies, and their gradients back.

use pulp::Simd;

use super::correlate::Filters;
use super::tile::{self, R, T, in_both_dimensions};

/// Frequencies of a tile.
pub(super) const F: usize = T * T;

/// Filters at all frequencies.
pub(super) struct Frequencies(pub(super) Vec<Filters>);

impl Frequencies {
    /// `G g G^T` of `(K, C, 5, 5)`; with `turned`, inputs and outputs are exchanged.
    #[inline(always)]
    pub(super) fn new<S: Simd>(simd: S, (k, c): (usize, usize), w: &[f32], turned: bool) -> Self {
        let pairs = k * c;
        // A vector holds the same tap of several filters.
        let mut taps = vec![0f32; R * R * pairs];
        for (pair, filter) in w.chunks_exact(R * R).enumerate() {
            for (tap, v) in filter.iter().enumerate() {
                taps[tap * pairs + pair] = *v;
            }
        }
        let mut u = vec![0f32; F * pairs];
        for first in (0..pairs).step_by(S::F32_LANES) {
            let end = pairs.min(first + S::F32_LANES);
            in_both_dimensions!(
                simd, tile::weight, R => T,
                |i, j| simd.partial_load_f32s(&taps[(i * R + j) * pairs..][first..end]),
                |i, j, value| simd.partial_store_f32s(
                    &mut u[(i * T + j) * pairs..][first..end],
                    value,
                ),
            );
        }
        let (outputs, inputs) = if turned { (c, k) } else { (k, c) };
        Self(
            u.chunks_exact(pairs)
                .map(|u| {
                    Filters::new(outputs, inputs, (1, 1), |o, i, _| {
                        if turned { u[i * c + o] } else { u[o * c + i] }
                    })
                })
                .collect(),
        )
    }
}

/// `G^T du G` of `[frequency][filter]` to `(filter, 5, 5)`.
#[inline(always)]
pub(super) fn weight_grad<S: Simd>(simd: S, pairs: usize, du: &[f32], dw: &mut [f32]) {
    for first in (0..pairs).step_by(S::F32_LANES) {
        let end = pairs.min(first + S::F32_LANES);
        in_both_dimensions!(
            simd, tile::weight_grad, T => R,
            |i, j| simd.partial_load_f32s(&du[(i * T + j) * pairs..][first..end]),
            |i, j, value| {
                for (lane, v) in floats::<S>(&value).iter().enumerate().take(end - first) {
                    dw[(first + lane) * R * R + i * R + j] = *v;
                }
            },
        );
    }
}

/// The floats of a vector.
#[inline(always)]
fn floats<S: Simd>(v: &S::f32s) -> &[f32] {
    // SAFETY: a vector is its floats in a row.
    unsafe { std::slice::from_raw_parts((v as *const S::f32s).cast(), S::F32_LANES) }
}
