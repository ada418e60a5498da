//! Choice of a convolution for the lanes, and the sizes of its blocks.

use pulp::{Simd, WithSimd};

use super::tile;
use super::turn::Frame;
use crate::kernels::conv::geometry::Geometry;
use crate::kernels::parallel::Threads;
use crate::kernels::simd::arch;

/// Bytes that a block's input and output gradient may take; more would not stay in the second-level cache.
const MOST_BYTES: usize = 2 << 20;

/// Channels up to which this is faster than matrix products, which need many channels to fill their vectors.
const MOST_CHANNELS: usize = 64;

/// Number of filters from which Winograd's algorithm is faster.
const LEAST_FILTERS: usize = 16;

/// Plan of a convolution of stride 1 followed by ReLU and optional 2x2 max pooling.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) geometry: Geometry,
    pub(crate) pool: bool,
    /// Images in a block.
    pub(super) lanes: usize,
    /// Winograd's algorithm instead of the direct one.
    pub(super) winograd: bool,
}

impl Plan {
    /// Plan of this convolution, if the lanes suit it.
    pub(crate) fn new(geometry: Geometry, pool: bool) -> Option<Self> {
        let g = &geometry;
        let plan = Self {
            geometry,
            pool,
            lanes: lanes(),
            // With few filters the transforms cost more than they save.
            winograd: g.kernel == (5, 5) && g.channels * g.out_channels >= LEAST_FILTERS,
        };
        let plain = (g.stride, g.dilation, g.groups) == ((1, 1), (1, 1), 1);
        let few = g.channels.max(g.out_channels) <= MOST_CHANNELS;
        let small = 4 * (plan.input_block() + plan.gradient_block()) <= MOST_BYTES;
        let poolable = !pool || g.out_height.min(g.out_width) >= 2;
        // The input gradient is computed from the output gradient with margins of the kernel's size less one.
        let margins = g.padding.0 < g.kernel.0 && g.padding.1 < g.kernel.1;
        (plain && few && small && poolable && margins && g.batch > 0).then_some(plan)
    }

    #[inline]
    pub(super) fn blocks(&self) -> usize {
        self.geometry.batch.div_ceil(self.lanes)
    }

    /// Height and width of the result.
    #[inline]
    pub(crate) fn output(&self) -> (usize, usize) {
        let halved = |size| if self.pool { size / 2 } else { size };
        (
            halved(self.geometry.out_height),
            halved(self.geometry.out_width),
        )
    }

    /// Height and width of the convolution's output as far as it is used.
    #[inline]
    pub(super) fn computed(&self) -> (usize, usize) {
        let even = |size| if self.pool { size / 2 * 2 } else { size };
        (
            even(self.geometry.out_height),
            even(self.geometry.out_width),
        )
    }

    /// Height and width of the input with its padding and the pixels beyond it that the last tiles read.
    #[inline]
    pub(super) fn padded(&self) -> (usize, usize) {
        let g = &self.geometry;
        let (h, w) = self.computed();
        let beyond = |size: usize| {
            if self.winograd {
                size.next_multiple_of(tile::M) + tile::R - 1
            } else {
                0
            }
        };
        (
            (g.height + 2 * g.padding.0).max(beyond(h)),
            (g.width + 2 * g.padding.1).max(beyond(w)),
        )
    }

    /// Position of the input in a block.
    #[inline]
    pub(super) fn frame(&self) -> Frame {
        let g = &self.geometry;
        Frame {
            channels: g.channels,
            size: (g.height, g.width),
            block: self.padded(),
            offset: g.padding,
        }
    }

    /// Width of the output gradient with its margins.
    #[inline]
    pub(super) fn gradient_width(&self) -> usize {
        self.geometry.out_width + 2 * (self.geometry.kernel.1 - 1)
    }

    /// Floats of a block's input.
    #[inline]
    pub(super) fn input_block(&self) -> usize {
        let (h, w) = self.padded();
        self.geometry.channels * h * w * self.lanes
    }

    /// Floats of a block's output gradient.
    #[inline]
    pub(super) fn gradient_block(&self) -> usize {
        let g = &self.geometry;
        g.out_channels * g.out_height * self.gradient_width() * self.lanes
    }

    /// Floats of a block's result.
    #[inline]
    pub(super) fn output_block(&self) -> usize {
        let (h, w) = self.output();
        self.geometry.out_channels * h * w * self.lanes
    }

    /// Elements of one image's result.
    #[inline]
    pub(super) fn output_image(&self) -> usize {
        self.output_block() / self.lanes
    }

    /// Images in this block.
    #[inline]
    pub(super) fn images(&self, block: usize) -> usize {
        self.lanes.min(self.geometry.batch - block * self.lanes)
    }

    #[inline]
    pub(super) fn threads(&self, passes: usize) -> Threads {
        Threads::for_work(passes * self.geometry.multiply_adds())
    }
}

/// Number of `f32` lanes of this processor's vectors.
fn lanes() -> usize {
    struct Count;
    impl WithSimd for Count {
        type Output = usize;
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> usize {
            S::F32_LANES
        }
    }
    arch().dispatch(Count)
}
