//! Flattened planes: where their pixels are, and how much memory they take.

use crate::kernels::conv::geometry::Geometry;

/// Lanes of the widest register: elements that a loop may read or write past the end of a plane.
pub(super) const SLACK: usize = 16;

/// Sizes of the flattened planes of a convolution.
pub(super) struct Planes {
    pub(super) pitch: usize,
    /// Elements of a padded input plane.
    pub(super) padded: usize,
    /// Positions of an output plane, from its first pixel to its last.
    pub(super) outputs: usize,
    /// Offset of each kernel position from position 0.
    pub(super) offsets: Vec<usize>,
    /// Largest offset: the number of zeros before an output gradient.
    pub(super) lead: usize,
    /// Elements of an output gradient's plane.
    pub(super) gradient: usize,
}

impl Planes {
    pub(super) fn new(g: &Geometry) -> Self {
        let (pitch, rows) = (g.width + 2 * g.padding.1, g.height + 2 * g.padding.0);
        let offset =
            |tap: usize| tap / g.kernel.1 * g.dilation.0 * pitch + tap % g.kernel.1 * g.dilation.1;
        let offsets: Vec<usize> = (0..g.taps()).map(offset).collect();
        let lead = offset(g.taps() - 1);
        Self {
            pitch,
            padded: rows * pitch,
            outputs: (g.out_height - 1) * pitch + g.out_width,
            offsets,
            lead,
            gradient: lead + rows * pitch + SLACK,
        }
    }
}
