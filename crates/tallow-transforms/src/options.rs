//! Values that several transforms take: sizes, borders and modes.

use serde::{Deserialize, Serialize};

/// Largest side, crop or padding accepted, in pixels.
pub const MAX_SIDE: usize = 65_535;

/// Size: one number (a square; the shorter side for [`Resize`](crate::Resize)) or `[height, width]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged, expecting = "a size is a whole number or [height, width]")]
pub enum Size {
    /// One number.
    One(usize),
    /// `[height, width]`.
    Both([usize; 2]),
}

impl Size {
    /// `(height, width)`; one number is a square.
    pub fn window(self) -> (usize, usize) {
        match self {
            Self::One(side) => (side, side),
            Self::Both([height, width]) => (height, width),
        }
    }
}

impl From<usize> for Size {
    fn from(side: usize) -> Self {
        Self::One(side)
    }
}

impl From<(usize, usize)> for Size {
    /// From `(height, width)`.
    fn from((height, width): (usize, usize)) -> Self {
        Self::Both([height, width])
    }
}

impl From<[usize; 2]> for Size {
    /// From `[height, width]`.
    fn from(sides: [usize; 2]) -> Self {
        Self::Both(sides)
    }
}

/// Border widths in pixels.
///
/// A recipe writes one number (all sides), `[left and right, top and bottom]` or `[left, top, right, bottom]`, as
/// torchvision does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(from = "PaddingRepr", into = "PaddingRepr")]
pub struct Padding {
    /// Columns before the first.
    pub left: usize,
    /// Rows above the first.
    pub top: usize,
    /// Columns after the last.
    pub right: usize,
    /// Rows below the last.
    pub bottom: usize,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(
    untagged,
    expecting = "padding is a whole number, [left and right, top and bottom] or [left, top, right, bottom]"
)]
enum PaddingRepr {
    One(usize),
    Single([usize; 1]),
    Two([usize; 2]),
    Four([usize; 4]),
}

impl From<PaddingRepr> for Padding {
    fn from(repr: PaddingRepr) -> Self {
        let [left, top, right, bottom] = match repr {
            PaddingRepr::One(all) | PaddingRepr::Single([all]) => [all; 4],
            PaddingRepr::Two([x, y]) => [x, y, x, y],
            PaddingRepr::Four(sides) => sides,
        };
        Self {
            left,
            top,
            right,
            bottom,
        }
    }
}

impl From<Padding> for PaddingRepr {
    fn from(
        Padding {
            left,
            top,
            right,
            bottom,
        }: Padding,
    ) -> Self {
        if [top, right, bottom] == [left; 3] {
            Self::One(left)
        } else {
            Self::Four([left, top, right, bottom])
        }
    }
}

impl From<usize> for Padding {
    fn from(all: usize) -> Self {
        PaddingRepr::One(all).into()
    }
}

impl From<[usize; 2]> for Padding {
    /// From `[left and right, top and bottom]`.
    fn from(sides: [usize; 2]) -> Self {
        PaddingRepr::Two(sides).into()
    }
}

impl From<[usize; 4]> for Padding {
    /// From `[left, top, right, bottom]`.
    fn from(sides: [usize; 4]) -> Self {
        PaddingRepr::Four(sides).into()
    }
}

/// Padding mode, torchvision's `padding_mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum PadMode {
    /// One value, the `fill`.
    #[default]
    Constant,
    /// The nearest pixel: `a a | a b c | c c`.
    Edge,
    /// The image mirrored at its outermost pixel: `c b | a b c | b a`. Must be narrower than the image.
    Reflect,
    /// The image mirrored at its edge: `b a | a b c | c b`. Must not be wider than the image.
    Symmetric,
}

/// Interpolation between pixels, of [`Resize`](crate::Resize) and of rotations and other warps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Interpolation {
    /// Antialiased bilinear on u8, as PIL's: a triangle filter as wide as the reduction, along rows and then along
    /// columns, in fixed point with 22 fractional bits, rounded to u8 after each. Scaling works before to-tensor only.
    ///
    /// Equal to Pillow to the bit up to version 12. Pillow 13 filters columns first where the height shrinks much more
    /// than the width, and torch's kernel for u8 tensors has less precise weights: both may differ by 1 grey level.
    ///
    /// A warp takes the four pixels around a position, as PIL's `Image.transform`.
    #[default]
    Bilinear,
    /// Antialiased bicubic on u8, as PIL's (`a = -0.5`): as bilinear with a filter of twice the width, and up to 3 grey levels from
    /// Pillow 13. A warp takes the 16 pixels around a position. Before to-tensor only.
    Bicubic,
    /// Nearest pixel by centers, as PIL's `NEAREST`. (torch's `nearest-exact` differs only for centers halfway
    /// between two pixels, where it rounds in f32.)
    Nearest,
}

/// Interval from which a parameter is drawn uniformly: one number, whose meaning depends on the parameter, or `[min, max]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged, expecting = "expected a number or [min, max]")]
pub enum Interval {
    /// One number: a distance from a centre on both sides, or the value itself.
    One(f64),
    /// `[min, max]`.
    Both([f64; 2]),
}

impl Interval {
    /// `[min, max]`, where one number is the distance from `center`.
    pub fn around(self, center: f64) -> [f64; 2] {
        match self {
            Self::One(distance) => [center - distance, center + distance],
            Self::Both(ends) => ends,
        }
    }

    /// `[min, max]`, where one number is both.
    pub fn ends(self) -> [f64; 2] {
        match self {
            Self::One(value) => [value; 2],
            Self::Both(ends) => ends,
        }
    }
}

impl From<f64> for Interval {
    fn from(value: f64) -> Self {
        Self::One(value)
    }
}

impl From<[f64; 2]> for Interval {
    /// From `[min, max]`.
    fn from(ends: [f64; 2]) -> Self {
        Self::Both(ends)
    }
}
