//! Pooling over windows of a plane.

pub(crate) mod avg;
pub(crate) mod max;

use std::ops::Range;

use super::float::Float;

/// One axis of a regular pooling: tap `k` of output `o` is input `o * stride + k * dilation - padding`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Axis {
    pub input: usize,
    pub output: usize,
    pub kernel: usize,
    pub stride: usize,
    pub padding: usize,
    pub dilation: usize,
}

impl Axis {
    /// The taps of output `o` that fall on the input and not on the padding.
    #[inline(always)]
    pub(crate) fn taps(&self, o: usize) -> Range<usize> {
        let at = o * self.stride;
        let first = self.padding.saturating_sub(at).div_ceil(self.dilation);
        let end = (self.input + self.padding)
            .saturating_sub(at)
            .div_ceil(self.dilation)
            .min(self.kernel);
        first..end.max(first)
    }

    /// The outputs whose tap `k` falls on the input.
    #[inline(always)]
    fn outputs(&self, k: usize) -> Range<usize> {
        let at = k * self.dilation;
        let first = self.padding.saturating_sub(at).div_ceil(self.stride);
        let end = (self.input + self.padding)
            .saturating_sub(at)
            .div_ceil(self.stride)
            .min(self.output);
        first..end.max(first)
    }

    /// End of the inputs that output `o` sees; 0 if it sees padding alone.
    #[inline(always)]
    fn end(&self, o: usize) -> usize {
        let taps = self.taps(o);
        if taps.is_empty() {
            return 0;
        }
        self.position(o, taps.end - 1) + 1
    }

    /// Input position of tap `k` of output `o`, which must be one of [`Axis::taps`].
    #[inline(always)]
    pub(crate) fn position(&self, o: usize, k: usize) -> usize {
        o * self.stride + k * self.dilation - self.padding
    }
}

/// Rows of a gradient that windows add to. A row is zeroed just before the first window that reaches it: a pass over all of them before
/// would write to memory what the sums read from there again.
struct Rows<'a, T> {
    values: &'a mut [T],
    row: usize,
    zeroed: usize,
}

impl<'a, T: Float> Rows<'a, T> {
    /// Rows of `row` elements, whose values are not read.
    #[inline(always)]
    fn new(values: &'a mut [T], row: usize) -> Self {
        Self {
            values,
            row,
            zeroed: 0,
        }
    }

    /// All rows, of which those before `end` may be added to.
    #[inline(always)]
    fn up_to(&mut self, end: usize) -> &mut [T] {
        if end > self.zeroed {
            self.values[self.zeroed * self.row..end * self.row].fill(T::ZERO);
            self.zeroed = end;
        }
        self.values
    }
}

#[cfg(test)]
mod tests {
    use super::Axis;

    #[test]
    fn taps_and_outputs_agree_with_the_definition() {
        for (input, kernel, stride, padding, dilation) in [
            (5, 2, 2, 0, 1),
            (5, 3, 2, 1, 1),
            (7, 3, 1, 1, 2),
            (3, 2, 1, 1, 4),
            (1, 3, 3, 1, 1),
            (9, 4, 5, 2, 3),
        ] {
            let output = 6;
            let axis = Axis {
                input,
                output,
                kernel,
                stride,
                padding,
                dilation,
            };
            for o in 0..output {
                let seen = axis.taps(o).map(|k| axis.position(o, k) + 1);
                assert_eq!(axis.end(o), seen.max().unwrap_or(0), "{axis:?} o {o}");
                for k in 0..kernel {
                    let at = (o * stride + k * dilation) as isize - padding as isize;
                    let inside = (0..input as isize).contains(&at);
                    assert_eq!(axis.taps(o).contains(&k), inside, "{axis:?} o {o} k {k}");
                    assert_eq!(axis.outputs(k).contains(&o), inside, "{axis:?} o {o} k {k}");
                    if inside {
                        assert_eq!(axis.position(o, k) as isize, at);
                    }
                }
            }
        }
    }
}
