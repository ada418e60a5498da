//! The weight gradient, several output channels and kernel columns in registers at a time.

use pulp::{Simd, WithSimd};

use super::planes::{Planes, SLACK};
use crate::kernels::conv::geometry::Geometry;
use crate::kernels::real::Real;

/// `dw[o][c][tap] += sum over images, p of gradient[o][p] * input[c][p + offset[tap]]`.
pub(super) struct GradWeight<'a, T> {
    pub(super) g: &'a Geometry,
    pub(super) planes: &'a Planes,
    pub(super) images: usize,
    pub(super) inputs: &'a [T],
    pub(super) gradients: &'a [T],
    pub(super) dw: &'a mut [T],
}

impl<T: Real> WithSimd for GradWeight<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let (g, planes) = (self.g, self.planes);
        assert!(
            self.inputs.len() >= self.images * g.channels * planes.padded + SLACK
                && T::lanes::<S>() <= SLACK
        );
        assert!(self.gradients.len() >= self.images * g.out_channels * planes.gradient);
        let mut o = 0;
        while o < g.out_channels {
            let block = match g.out_channels - o {
                4.. if S::REGISTER_COUNT >= 32 => 4,
                2.. => 2,
                _ => 1,
            };
            for c in 0..g.channels {
                for ky in 0..g.kernel.0 {
                    let mut kx = 0;
                    while kx < g.kernel.1 {
                        let taps = match g.kernel.1 - kx {
                            5.. => 5,
                            3.. => 3,
                            _ => 1,
                        };
                        // SAFETY: an input is read at most `lead` past an output position, which ends inside its padded
                        // plane, and less than a register beyond; a gradient less than a register past its last position,
                        // which `SLACK` elements follow. The sizes of both buffers were just checked.
                        unsafe {
                            match (block, taps) {
                                (4, 5) => self.tile::<S, 4, 5>(simd, o, c, ky, kx),
                                (4, 3) => self.tile::<S, 4, 3>(simd, o, c, ky, kx),
                                (4, _) => self.tile::<S, 4, 1>(simd, o, c, ky, kx),
                                (2, 5) => self.tile::<S, 2, 5>(simd, o, c, ky, kx),
                                (2, 3) => self.tile::<S, 2, 3>(simd, o, c, ky, kx),
                                (2, _) => self.tile::<S, 2, 1>(simd, o, c, ky, kx),
                                (_, 5) => self.tile::<S, 1, 5>(simd, o, c, ky, kx),
                                (_, 3) => self.tile::<S, 1, 3>(simd, o, c, ky, kx),
                                _ => self.tile::<S, 1, 1>(simd, o, c, ky, kx),
                            }
                        }
                        kx += taps;
                    }
                }
            }
            o += block;
        }
    }
}

impl<T: Real> GradWeight<'_, T> {
    /// # Safety
    /// As asserted in `with_simd`; `o + O` and `kx + K` must not pass the output channels and the kernel's width.
    #[inline(always)]
    unsafe fn tile<S: Simd, const O: usize, const K: usize>(
        &mut self,
        simd: S,
        o: usize,
        c: usize,
        ky: usize,
        kx: usize,
    ) {
        let (g, planes, lanes) = (self.g, self.planes, T::lanes::<S>());
        let tap = ky * g.kernel.1 + kx;
        let zero = T::splat(simd, T::ZERO);
        let mut sums = [[zero; K]; O];
        // SAFETY: passed on to the caller.
        unsafe {
            for image in 0..self.images {
                let gradients = self
                    .gradients
                    .as_ptr()
                    .add((image * g.out_channels + o) * planes.gradient + planes.lead);
                let inputs = self
                    .inputs
                    .as_ptr()
                    .add((image * g.channels + c) * planes.padded + planes.offsets[tap]);
                for p in (0..planes.outputs).step_by(lanes) {
                    let mut dy = [zero; O];
                    for j in 0..O {
                        dy[j] = gradients
                            .add(j * planes.gradient + p)
                            .cast::<T::Vector<S>>()
                            .read_unaligned();
                    }
                    for k in 0..K {
                        let input = inputs
                            .add(p + k * g.dilation.1)
                            .cast::<T::Vector<S>>()
                            .read_unaligned();
                        for j in 0..O {
                            sums[j][k] = T::mul_add(simd, dy[j], input, sums[j][k]);
                        }
                    }
                }
            }
        }
        for (j, sums) in sums.iter().enumerate() {
            for (k, &sum) in sums.iter().enumerate() {
                self.dw[((o + j) * g.channels + c) * g.taps() + tap + k] +=
                    T::reduce_sum(simd, sum);
            }
        }
    }
}
