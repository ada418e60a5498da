//! Sizes of a convolution.

use std::ops::Range;

use crate::layout::Extents;

/// Sizes of a convolution, already checked: strides, dilations, groups and every dimension but the batch are at least one,
/// `groups` divides both channel counts, and the output sizes follow from the rest. Pairs are (vertical, horizontal).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) batch: usize,
    pub(crate) channels: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) out_channels: usize,
    pub(crate) out_height: usize,
    pub(crate) out_width: usize,
    pub(crate) kernel: (usize, usize),
    pub(crate) stride: (usize, usize),
    pub(crate) padding: (usize, usize),
    pub(crate) dilation: (usize, usize),
    pub(crate) groups: usize,
}

impl Geometry {
    /// Input channels of a group.
    pub(crate) fn group_in(&self) -> usize {
        self.channels / self.groups
    }

    /// Output channels of a group.
    pub(crate) fn group_out(&self) -> usize {
        self.out_channels / self.groups
    }

    /// Positions of the kernel.
    pub(crate) fn taps(&self) -> usize {
        self.kernel.0 * self.kernel.1
    }

    /// Multiply-adds of one output element.
    pub(crate) fn depth(&self) -> usize {
        self.group_in() * self.taps()
    }

    /// Pixels of an input channel.
    pub(crate) fn plane(&self) -> usize {
        self.height * self.width
    }

    /// Pixels of an output channel.
    pub(crate) fn out_plane(&self) -> usize {
        self.out_height * self.out_width
    }

    /// Elements of one input image.
    pub(crate) fn image(&self) -> usize {
        self.channels * self.plane()
    }

    /// Elements of one output image.
    pub(crate) fn out_image(&self) -> usize {
        self.out_channels * self.out_plane()
    }

    /// Extents of the output.
    pub(crate) fn maps(&self) -> Extents {
        Extents {
            n: self.batch,
            c: self.out_channels,
            h: self.out_height,
            w: self.out_width,
        }
    }

    /// Elements of the weight.
    pub(crate) fn weights(&self) -> usize {
        self.out_channels * self.depth()
    }

    /// Multiply-adds of one pass.
    pub(crate) fn multiply_adds(&self) -> usize {
        self.batch * self.out_image() * self.depth()
    }

    /// True if the convolution only mixes channels: each output pixel depends on its own input pixel.
    pub(crate) fn is_pointwise(&self) -> bool {
        self.kernel == (1, 1) && self.stride == (1, 1) && self.padding == (0, 0)
    }

    /// The input row that kernel row `ky` sees from output row `oy`, unless it lies in the padding.
    #[inline]
    pub(crate) fn input_row(&self, oy: usize, ky: usize) -> Option<usize> {
        (oy * self.stride.0 + ky * self.dilation.0)
            .checked_sub(self.padding.0)
            .filter(|&iy| iy < self.height)
    }

    /// The output columns from which kernel column `kx` sees the image and not the padding, and the input column that the
    /// first of them sees.
    #[inline]
    pub(crate) fn columns_inside(&self, kx: usize) -> (Range<usize>, usize) {
        let (stride, shift) = (self.stride.1, kx * self.dilation.1);
        let start = self
            .padding
            .1
            .saturating_sub(shift)
            .div_ceil(stride)
            .min(self.out_width);
        let end = (self.width + self.padding.1)
            .saturating_sub(shift)
            .div_ceil(stride)
            .clamp(start, self.out_width);
        (
            start..end,
            (start * stride + shift).saturating_sub(self.padding.1),
        )
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Geometry with its output sizes computed.
    pub(crate) fn geometry(
        (batch, channels, height, width): (usize, usize, usize, usize),
        out_channels: usize,
        kernel: (usize, usize),
        stride: (usize, usize),
        padding: (usize, usize),
        dilation: (usize, usize),
    ) -> Geometry {
        let out = |size, k, s, p, d| (size + 2 * p - d * (k - 1) - 1) / s + 1;
        let out_height = out(height, kernel.0, stride.0, padding.0, dilation.0);
        let out_width = out(width, kernel.1, stride.1, padding.1, dilation.1);
        Geometry {
            batch,
            channels,
            height,
            width,
            out_channels,
            out_height,
            out_width,
            kernel,
            stride,
            padding,
            dilation,
            groups: 1,
        }
    }

    /// Convolution of one row of one channel.
    pub(crate) fn row(
        width: usize,
        kernel: usize,
        stride: usize,
        padding: usize,
        dilation: usize,
    ) -> Geometry {
        geometry(
            (1, 1, 1, width),
            1,
            (1, kernel),
            (1, stride),
            (0, padding),
            (1, dilation),
        )
    }

    #[test]
    fn columns_inside_agrees_with_trying_each() {
        for (width, kernel, stride, padding, dilation) in [
            (5, 3, 1, 1, 1),
            (7, 3, 2, 2, 2),
            (4, 5, 1, 4, 1),
            (9, 2, 3, 0, 3),
            (1, 3, 1, 5, 2),
            (6, 1, 4, 9, 1),
        ] {
            let g = row(width, kernel, stride, padding, dilation);
            for kx in 0..kernel {
                let sees = |ox: usize| {
                    (ox * stride + kx * dilation)
                        .checked_sub(padding)
                        .filter(|&ix| ix < width)
                };
                let inside: Vec<usize> =
                    (0..g.out_width).filter(|&ox| sees(ox).is_some()).collect();
                let (range, first) = g.columns_inside(kx);
                assert_eq!(range.clone().collect::<Vec<_>>(), inside);
                if let Some(&ox) = inside.first() {
                    assert_eq!(Some(first), sees(ox));
                }
            }
        }
    }
}
