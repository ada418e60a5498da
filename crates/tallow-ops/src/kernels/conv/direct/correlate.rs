//! The correlation that the forward pass and the input gradient are.

use pulp::{Simd, WithSimd};

use crate::kernels::real::Real;

/// Output channels that share a loaded input register.
const CHANNELS: [usize; 5] = [6, 4, 3, 2, 1];

/// Blocks of output channels as (first, how many).
fn channel_blocks(channels: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut next = 0;
    std::iter::from_fn(move || {
        let first = next;
        let size = CHANNELS
            .into_iter()
            .find(|&size| size <= channels - first)?;
        next += size;
        Some((first, size))
    })
}

/// Weights in the order the correlation reads them: block of output channels, input channel, kernel position, output channel.
pub(super) fn pack<T: Real>(
    outputs: usize,
    inputs: usize,
    taps: usize,
    weight: impl Fn(usize, usize, usize) -> T,
) -> Vec<T> {
    let mut packed = Vec::with_capacity(outputs * inputs * taps);
    for (first, size) in channel_blocks(outputs) {
        for input in 0..inputs {
            for tap in 0..taps {
                packed.extend((first..first + size).map(|output| weight(output, input, tap)));
            }
        }
    }
    packed
}

/// `target[j][p] = bias[j] + sum over i, tap of weight[j][i][tap] * source[i][p + offset[tap]]` for `p` in `0..positions`
/// rounded up to whole registers.
pub(super) struct Correlate<'a, T> {
    pub(super) source: &'a [T],
    pub(super) source_plane: usize,
    pub(super) channels: usize,
    pub(super) offsets: &'a [usize],
    pub(super) weights: &'a [T],
    pub(super) bias: Option<&'a [T]>,
    pub(super) target: &'a mut [T],
    pub(super) target_plane: usize,
    pub(super) out_channels: usize,
    pub(super) positions: usize,
}

impl<T: Real> WithSimd for Correlate<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let lanes = T::lanes::<S>();
        let positions = self.positions.next_multiple_of(lanes);
        let reach = self.offsets.iter().copied().max().unwrap_or(0);
        assert!(self.source.len() >= (self.channels - 1) * self.source_plane + reach + positions);
        assert!(
            self.target_plane >= positions
                && self.target.len() >= self.out_channels * self.target_plane
        );
        assert!(self.weights.len() >= self.out_channels * self.channels * self.offsets.len());
        assert!(self.bias.is_none_or(|bias| bias.len() == self.out_channels));
        for (first, size) in channel_blocks(self.out_channels) {
            // SAFETY: every position read lies at most `reach` and a whole register past one of the first `positions` of a
            // plane, and every position written inside a target plane; both were just checked.
            unsafe {
                match size {
                    6 => self.block::<S, 6>(simd, first, positions),
                    4 => self.block::<S, 4>(simd, first, positions),
                    3 => self.block::<S, 3>(simd, first, positions),
                    2 => self.block::<S, 2>(simd, first, positions),
                    _ => self.block::<S, 1>(simd, first, positions),
                }
            }
        }
    }
}

impl<T: Real> Correlate<'_, T> {
    /// # Safety
    /// As asserted in `with_simd`.
    #[inline(always)]
    unsafe fn block<S: Simd, const J: usize>(&mut self, simd: S, first: usize, positions: usize) {
        let lanes = T::lanes::<S>();
        let mut p = 0;
        // SAFETY: the tiles cover `0..positions`, a multiple of `lanes`, and nothing else.
        unsafe {
            if S::REGISTER_COUNT >= 32 {
                while p + 4 * lanes <= positions {
                    self.tile::<S, J, 4>(simd, first, p);
                    p += 4 * lanes;
                }
            }
            while p + 2 * lanes <= positions {
                self.tile::<S, J, 2>(simd, first, p);
                p += 2 * lanes;
            }
            if p < positions {
                self.tile::<S, J, 1>(simd, first, p);
            }
        }
    }

    /// # Safety
    /// `p + V * lanes` must not be past the checked positions.
    #[inline(always)]
    unsafe fn tile<S: Simd, const J: usize, const V: usize>(
        &mut self,
        simd: S,
        first: usize,
        p: usize,
    ) {
        let lanes = T::lanes::<S>();
        let zero = T::splat(simd, T::ZERO);
        let mut sums = [[zero; V]; J];
        if let Some(bias) = self.bias {
            for j in 0..J {
                sums[j] = [T::splat(simd, bias[first + j]); V];
            }
        }
        // SAFETY: `with_simd` checked that the packed weights and the planes reach this far.
        unsafe {
            let mut weights = self
                .weights
                .as_ptr()
                .add(first * self.channels * self.offsets.len());
            for i in 0..self.channels {
                let plane = self.source.as_ptr().add(i * self.source_plane + p);
                for &offset in self.offsets {
                    let from = plane.add(offset);
                    let mut inputs = [zero; V];
                    for v in 0..V {
                        inputs[v] = from.add(v * lanes).cast::<T::Vector<S>>().read_unaligned();
                    }
                    for j in 0..J {
                        let weight = T::splat(simd, *weights.add(j));
                        for v in 0..V {
                            sums[j][v] = T::mul_add(simd, inputs[v], weight, sums[j][v]);
                        }
                    }
                    weights = weights.add(J);
                }
            }
            for j in 0..J {
                let to = self
                    .target
                    .as_mut_ptr()
                    .add((first + j) * self.target_plane + p);
                for v in 0..V {
                    to.add(v * lanes)
                        .cast::<T::Vector<S>>()
                        .write_unaligned(sums[j][v]);
                }
            }
        }
    }
}
