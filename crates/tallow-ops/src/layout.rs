use std::fmt;

use candle_core::{Shape, Tensor};

use crate::error::{Error, Result};

/// Memory layout of an activation tensor: the order of its axes.
///
/// PyTorch's `channels_last` is a view: the shape is `(N, C, H, W)` and the strides change. Here the shape itself is
/// `(N, H, W, C)`, because candle's backward adds every gradient into a contiguous tensor and would copy a view element by element.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Layout {
    /// `(N, C, H, W)`.
    #[default]
    Nchw,
    /// `(N, H, W, C)`.
    Nhwc,
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::Nchw => "(N, C, H, W)",
            Self::Nhwc => "(N, H, W, C)",
        })
    }
}

/// Sizes of an activation tensor, independent of the layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extents {
    pub n: usize,
    pub c: usize,
    pub h: usize,
    pub w: usize,
}

impl Extents {
    /// Sizes of `x`. All but the batch must be above zero, as in PyTorch's 2-d layers.
    pub(crate) fn of(op: &'static str, x: &Tensor, layout: Layout) -> Result<Self> {
        let extents = match (layout, x.dims()) {
            (Layout::Nchw, &[n, c, h, w]) | (Layout::Nhwc, &[n, h, w, c]) => Self { n, c, h, w },
            _ => return Err(wrong_shape(op, x, layout.to_string())),
        };
        if extents.c == 0 || extents.h == 0 || extents.w == 0 {
            return Err(wrong_shape(
                op,
                x,
                format!("{layout} with C, H and W above 0"),
            ));
        }
        Ok(extents)
    }

    /// Shape of a tensor of these sizes.
    pub(crate) fn shape(self, layout: Layout) -> Shape {
        let Self { n, c, h, w } = self;
        match layout {
            Layout::Nchw => (n, c, h, w).into(),
            Layout::Nhwc => (n, h, w, c).into(),
        }
    }

    /// Number of elements.
    pub(crate) fn count(self) -> usize {
        self.n * self.c * self.h * self.w
    }
}

fn wrong_shape(op: &'static str, x: &Tensor, expected: String) -> Error {
    Error::Shape {
        op,
        argument: "input",
        expected,
        found: x.shape().clone(),
    }
}
