//! Taps of the positions along one axis, forward and for the gradient of the input.

use crate::kernels::conv::Geometry;

/// Kernel position and source position.
pub(super) type Tap = (usize, usize);

/// Destinations along an axis.
#[derive(Debug)]
pub(super) struct Axis {
    /// Number of destinations.
    pub(super) len: usize,
    /// From one destination of a span to the next.
    pub(super) step: usize,
    /// From the source that it sees to the next one's.
    pub(super) source_step: usize,
    /// Number of kernel positions.
    pub(super) kernel: usize,
    padding: usize,
    dilation: usize,
    /// Number of sources.
    pub(super) sources: usize,
    forward: bool,
}

impl Axis {
    /// Rows and columns of the result, which see those of the input.
    pub(super) fn forward(g: &Geometry) -> [Self; 2] {
        Self::pair(g, true)
    }

    /// Rows and columns of the input, which see those of the result.
    pub(super) fn gradient(g: &Geometry) -> [Self; 2] {
        Self::pair(g, false)
    }

    fn pair(g: &Geometry, forward: bool) -> [Self; 2] {
        let axis = |input, output, kernel, stride, padding, dilation| Self {
            len: if forward { output } else { input },
            step: if forward { 1 } else { stride },
            source_step: if forward { stride } else { 1 },
            kernel,
            padding,
            dilation,
            sources: if forward { input } else { output },
            forward,
        };
        [
            axis(
                g.height,
                g.out_height,
                g.kernel.0,
                g.stride.0,
                g.padding.0,
                g.dilation.0,
            ),
            axis(
                g.width,
                g.out_width,
                g.kernel.1,
                g.stride.1,
                g.padding.1,
                g.dilation.1,
            ),
        ]
    }

    /// Source position of `destination` through kernel position `k`, counted from the first source; it may lie outside.
    pub(super) fn source(&self, destination: usize, k: usize) -> Option<isize> {
        let (destination, shift) = (destination as isize, (k * self.dilation) as isize);
        let padding = self.padding as isize;
        if self.forward {
            return Some(destination * self.source_step as isize + shift - padding);
        }
        let (at, step) = (destination + padding - shift, self.step as isize);
        (at.rem_euclid(step) == 0).then_some(at.div_euclid(step))
    }

    /// Taps of a destination that lie inside.
    pub(super) fn taps(&self, destination: usize) -> Vec<Tap> {
        (0..self.kernel)
            .filter_map(|k| {
                let source = usize::try_from(self.source(destination, k)?).ok()?;
                (source < self.sources).then_some((k, source))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::conv::geometry::tests::row;

    #[test]
    fn the_two_directions_have_the_same_pairs() {
        for (width, kernel, stride, padding, dilation) in [
            (5, 3, 1, 1, 1),
            (7, 3, 2, 1, 1),
            (16, 5, 2, 2, 1),
            (9, 2, 3, 0, 2),
            (1, 3, 1, 5, 2),
            (6, 1, 4, 3, 1),
        ] {
            let g = row(width, kernel, stride, padding, dilation);
            let pairs = |axis: &Axis, turned: bool| {
                let mut pairs = Vec::new();
                for a in 0..axis.len {
                    let turn = |(k, b)| if turned { (k, b, a) } else { (k, a, b) };
                    pairs.extend(axis.taps(a).into_iter().map(turn));
                }
                pairs.sort_unstable();
                pairs
            };
            let forward = pairs(&Axis::forward(&g)[1], false);
            assert_eq!(forward, pairs(&Axis::gradient(&g)[1], true));
            let mut expected = Vec::new();
            for k in 0..kernel {
                let (inside, first) = g.columns_inside(k);
                expected.extend(inside.enumerate().map(|(j, o)| (k, o, first + j * stride)));
            }
            expected.sort_unstable();
            assert_eq!(forward, expected);
        }
    }
}
