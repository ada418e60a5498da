use serde::{Deserialize, Serialize};

use super::on_either::on_either;
use crate::error::Problem;
use crate::functional::{self, Affine, ImageMut};
use crate::image::Image;
use crate::options::{Interpolation, Interval};
use crate::rng::SampleRng;
use crate::transform::{Stage, Transform};
use crate::values::{check_center, check_interval, check_number, check_warp};

/// Random rotation, shift, scale and shear (torchvision's `RandomAffine`). The image keeps its size.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RandomAffine {
    /// Angle in degrees, clockwise: one number `d` for `[-d, d]`, or `[min, max]`.
    pub degrees: Interval,
    /// Largest shift `[x, y]` in either direction, as a share of width and height, in `[0, 1]`. Whole pixels are drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub translate: Option<[f64; 2]>,
    /// Scale `[min, max]`, above 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<[f64; 2]>,
    /// Shear in degrees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shear: Option<Shear>,
    /// Interpolation between pixels.
    #[serde(default = "nearest")]
    pub interpolation: Interpolation,
    /// Fixed point `[x, y]` in pixels from the upper left corner; the centre of the image by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub center: Option<[f64; 2]>,
    /// Value outside the image: 0 to 255 before to-tensor, any finite number after it.
    #[serde(default)]
    pub fill: f32,
}

/// Interval of shears, in degrees.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(
    untagged,
    expecting = "shear is a number, [min, max] or [min x, max x, min y, max y], in degrees"
)]
pub enum Shear {
    /// `[-x, x]` along x.
    One(f64),
    /// `[min, max]` along x.
    Horizontal([f64; 2]),
    /// `[min x, max x, min y, max y]`.
    Both([f64; 4]),
}

impl Shear {
    /// `[min, max]` along x and along y.
    fn ends(self) -> [[f64; 2]; 2] {
        match self {
            Self::One(x) => [[-x, x], [0.0; 2]],
            Self::Horizontal(x) => [x, [0.0; 2]],
            Self::Both([min_x, max_x, min_y, max_y]) => [[min_x, max_x], [min_y, max_y]],
        }
    }
}

impl RandomAffine {
    /// Rotation alone, about the centre with nearest pixels, outside 0.
    pub fn new(degrees: impl Into<Interval>) -> Self {
        Self {
            degrees: degrees.into(),
            translate: None,
            scale: None,
            shear: None,
            interpolation: nearest(),
            center: None,
            fill: 0.0,
        }
    }

    /// Draws six words: the angle, the shift along x and y, the scale, the shear along x and y.
    fn apply(&self, mut image: ImageMut<'_>, rng: &mut SampleRng) -> Result<(), Problem> {
        let (height, width) = image.size();
        let mut draw = |[low, high]: [f64; 2]| rng.uniform(low, high);
        let angle = draw(self.degrees.around(0.0));
        let [x, y] = self.translate.unwrap_or_default();
        let (x, y) = (x * width as f64, y * height as f64);
        let translate = [draw([-x, x]), draw([-y, y])].map(f64::round_ties_even);
        let scale = draw(self.scale.unwrap_or([1.0; 2]));
        let shear = self.shear.map_or([[0.0; 2]; 2], Shear::ends).map(draw);
        let map = Affine {
            angle,
            translate,
            scale,
            shear,
            center: self.center,
        };
        functional::affine(image.reborrow(), &map, self.interpolation, self.fill)
    }
}

impl Transform for RandomAffine {
    fn name(&self) -> &'static str {
        "random-affine"
    }

    fn check(&self, stage: Stage) -> Result<(), Problem> {
        let expected = "a number of at least 0, or [min, max] with min <= max, in degrees";
        check_interval("degrees", self.degrees.around(0.0), FINITE, expected)?;
        for share in self.translate.unwrap_or_default() {
            let expected = "two shares of the sides, [x, y] in [0, 1]";
            check_number("translate", share, (0.0, 1.0), expected)?;
        }
        if let Some(scale) = self.scale {
            let expected = "[min, max] with 0 < min <= max";
            check_interval("scale", scale, (f64::MIN_POSITIVE, f64::MAX), expected)?;
        }
        if let Some(shear) = self.shear {
            let expected =
                "a number of at least 0, [min, max] or [min x, max x, min y, max y], in degrees";
            for ends in shear.ends() {
                check_interval("shear", ends, FINITE, expected)?;
            }
        }
        check_center(self.center)?;
        check_warp(self.interpolation, self.fill, stage)
    }

    on_either!();
}

/// Angles: larger ones lose the digits that matter.
const FINITE: (f64, f64) = (-1e9, 1e9);

fn nearest() -> Interpolation {
    Interpolation::Nearest
}
