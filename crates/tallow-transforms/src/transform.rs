use serde::{Deserialize, Serialize};

use crate::{MAX_SIDE, Problem};

/// One step of a pipeline, with the name, fields and meaning it has in `torchvision.transforms.v2`.
///
/// In a configuration it is a table with a `name`: `{ name = "random-crop", size = 32, padding = 4 }`. Fields that
/// it does not have are refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Transform {
    /// u8 to f32 in `[0, 1]`: `value / 255`. Every pipeline has exactly one.
    #[serde(deserialize_with = "no_fields")]
    ToTensor,
    /// `(value - mean) / std` in f32. Needs floats.
    Normalize {
        /// One for each channel, or a single one for all.
        mean: Vec<f32>,
        /// As many as `mean`, none 0.
        std: Vec<f32>,
    },
    /// Pads, then cuts out a window whose place is drawn uniformly.
    RandomCrop {
        /// The window; a single number is a square.
        size: Size,
        /// Added before cropping.
        #[serde(default)]
        padding: Padding,
        /// An image still too small gets what it lacks, on either side (so twice in all, as torchvision does).
        #[serde(default)]
        pad_if_needed: bool,
        /// Value of constant padding: 0 to 255 before to-tensor, any finite number after it.
        #[serde(default)]
        fill: f32,
        /// What the padding shows.
        #[serde(default)]
        padding_mode: PadMode,
    },
    /// Mirrors left to right with probability `p`.
    RandomHorizontalFlip {
        /// In `[0, 1]`.
        #[serde(default = "half")]
        p: f64,
    },
    /// Cuts out the middle; an image smaller than the window is padded with 0 first.
    CenterCrop {
        /// The window; a single number is a square.
        size: Size,
    },
    /// Scales the image.
    Resize {
        /// A single number is the shorter side, the other keeping the aspect ratio; `[height, width]` is exact.
        size: Size,
        /// How values between pixels are found.
        #[serde(default)]
        interpolation: Interpolation,
    },
    /// Adds a border.
    Pad {
        /// Its width.
        padding: Padding,
        /// Value of constant padding: 0 to 255 before to-tensor, any finite number after it.
        #[serde(default)]
        fill: f32,
        /// What the padding shows.
        #[serde(default)]
        padding_mode: PadMode,
    },
    /// RGB to luma (ITU-R 601-2). A grey image stays as it is.
    ///
    /// On u8 the rule is that of PIL, which torchvision applies to the images its datasets give:
    /// `(19595 R + 38470 G + 7471 B + 32768) >> 16`, the nearest whole number. (On u8 *tensors* torchvision computes
    /// `0.2989 R + 0.587 G + 0.114 B` in f32 and drops the fraction, which is the same or one less.) After to-tensor
    /// that f32 sum is what is used, unrounded.
    Grayscale {
        /// 1, or 3 to repeat the grey plane.
        #[serde(default = "one")]
        num_output_channels: usize,
    },
    /// Moves every pixel to another place: one permutation of the `H * W` positions, drawn from `seed`, the same for
    /// every sample and channel. See [`permutation`](crate::permutation).
    PermutePixels {
        /// Which permutation.
        seed: u64,
    },
}

impl Transform {
    /// Random crop with constant padding of 0, as in the usual recipe for CIFAR: `random_crop(32, 4)`.
    pub fn random_crop(size: impl Into<Size>, padding: impl Into<Padding>) -> Self {
        Self::RandomCrop {
            size: size.into(),
            padding: padding.into(),
            pad_if_needed: false,
            fill: 0.0,
            padding_mode: PadMode::Constant,
        }
    }

    /// Normalisation by channel.
    pub fn normalize(mean: impl Into<Vec<f32>>, std: impl Into<Vec<f32>>) -> Self {
        Self::Normalize {
            mean: mean.into(),
            std: std.into(),
        }
    }

    /// The name in a configuration.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ToTensor => "to-tensor",
            Self::Normalize { .. } => "normalize",
            Self::RandomCrop { .. } => "random-crop",
            Self::RandomHorizontalFlip { .. } => "random-horizontal-flip",
            Self::CenterCrop { .. } => "center-crop",
            Self::Resize { .. } => "resize",
            Self::Pad { .. } => "pad",
            Self::Grayscale { .. } => "grayscale",
            Self::PermutePixels { .. } => "permute-pixels",
        }
    }

    /// Whether the result depends on the sample's random numbers.
    pub fn is_random(&self) -> bool {
        matches!(
            self,
            Self::RandomCrop { .. } | Self::RandomHorizontalFlip { .. }
        )
    }
}

/// serde lets a unit variant pass with any fields; this refuses them.
fn no_fields<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct NoFields {}

    NoFields::deserialize(deserializer).map(|NoFields {}| ())
}

fn half() -> f64 {
    0.5
}

fn one() -> usize {
    1
}

/// A size: one number (a square; for [`Transform::Resize`] the shorter side) or `[height, width]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a size is a whole number or [height, width]")]
pub enum Size {
    /// One number.
    One(usize),
    /// `[height, width]`.
    Both([usize; 2]),
}

impl Size {
    /// `(height, width)`, a single number being a square.
    pub(crate) fn window(self) -> (usize, usize) {
        match self {
            Self::One(side) => (side, side),
            Self::Both([height, width]) => (height, width),
        }
    }

    /// `(height, width)` to which [`Transform::Resize`] scales an image of `height` x `width`.
    pub(crate) fn scaled(self, height: usize, width: usize) -> Result<(usize, usize), Problem> {
        let short = match self {
            Self::Both([height, width]) => return Ok((height, width)),
            Self::One(short) => short,
        };
        let long = short * height.max(width) / height.min(width);
        if long > MAX_SIDE {
            return Err(Problem::Size(long));
        }
        Ok(if width <= height {
            (long, short)
        } else {
            (short, long)
        })
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

/// Border widths; written as one number (all sides), `[left and right, top and bottom]` or
/// `[left, top, right, bottom]`, as in torchvision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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

/// What padding shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PadMode {
    /// One value.
    #[default]
    Constant,
    /// The nearest pixel: `a a | a b c | c c`.
    Edge,
    /// The image mirrored at its outermost pixel: `c b | a b c | b a`. Must be narrower than the image.
    Reflect,
    /// The image mirrored at its edge: `b a | a b c | c b`. Must not be wider than the image.
    Symmetric,
}

/// How [`Transform::Resize`] finds values between pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Interpolation {
    /// Antialiased bilinear on u8, as PIL's: a triangle filter as wide as the reduction, along rows and then along
    /// columns, in fixed point with 22 fractional bits, rounded to u8 after each. Before to-tensor only.
    ///
    /// Equal to Pillow to the bit up to version 12. Pillow 13 takes columns first where the height shrinks much more
    /// than the width, and torch's kernel for u8 tensors has shorter weights: both may be 1 grey level away.
    #[default]
    Bilinear,
    /// The nearest pixel by centres, as PIL's `NEAREST`. (torch's `nearest-exact` is the same but for centres that
    /// fall between two pixels, where it rounds in f32.)
    Nearest,
}
