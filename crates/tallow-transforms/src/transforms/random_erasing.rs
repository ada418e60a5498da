use serde::{Deserialize, Serialize};

use super::on_either::on_either;
use super::window::{Attempts, check_ratio, check_scale};
use crate::error::Problem;
use crate::functional::{self, Fill, ImageMut};
use crate::image::Image;
use crate::rng::SampleRng;
use crate::transform::{Stage, Transform};
use crate::values::{check_fill, check_probability};

/// Erasure of a random rectangle with probability `p` (Zhong et al. 2017, arXiv 1708.04896; torchvision's
/// `RandomErasing`).
///
/// Ten sizes are drawn, and the first that is smaller than the image on both sides is erased; if none is, the image is
/// kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RandomErasing {
    /// Probability in `[0, 1]`.
    #[serde(default = "half")]
    pub p: f64,
    /// Area of the rectangle as a share of the image's: `[min, max]` in `[0, 1]`.
    #[serde(default = "scale")]
    pub scale: [f64; 2],
    /// Height of the rectangle divided by its width: `[min, max]`, above 0. Drawn uniformly on a logarithmic scale.
    #[serde(default = "ratio")]
    pub ratio: [f64; 2],
    /// Values that are written.
    #[serde(default)]
    pub value: ErasingValue,
}

/// Values that [`RandomErasing`] writes: one number, one per channel, or `"random"`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(
    untagged,
    expecting = "value is a number, a list of one number per channel, or \"random\""
)]
pub enum ErasingValue {
    /// One number: 0 to 255 before to-tensor, any finite number after it.
    One(f32),
    /// One number per channel.
    PerChannel(Vec<f32>),
    /// Numbers from the normal distribution with mean 0 and variance 1, for each pixel and channel; after to-tensor only.
    Random(RandomValue),
}

/// The word `"random"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum RandomValue {
    /// `"random"`.
    Random,
}

impl Default for ErasingValue {
    /// 0.
    fn default() -> Self {
        Self::One(0.0)
    }
}

impl RandomErasing {
    /// Erasure with probability `p`, of 2 % to 33 % of the area with a ratio of 0.3 to 3.3, by 0.
    pub fn new(p: f64) -> Self {
        Self {
            p,
            scale: scale(),
            ratio: ratio(),
            value: ErasingValue::default(),
        }
    }

    /// Draws 31 words: whether, the attempts (22: area and ratio of each, then top and left), a fork for the values (8).
    fn apply(&self, mut image: ImageMut<'_>, rng: &mut SampleRng) -> Result<(), Problem> {
        let applies = rng.chance(self.p);
        let attempts = Attempts::draw(self.scale, self.ratio, rng);
        let mut values = rng.fork();
        let (height, width) = image.size();
        let size = attempts
            .sizes((height, width))
            .find(|&(h, w)| h < height && w < width);
        let (true, Some((h, w))) = (applies, size) else {
            return Ok(());
        };
        let place = (attempts.place(0, height - h), attempts.place(1, width - w));
        let fill = match &self.value {
            ErasingValue::One(value) => Fill::Values(std::slice::from_ref(value)),
            ErasingValue::PerChannel(values) => Fill::Values(values),
            ErasingValue::Random(_) => Fill::Normal(&mut values),
        };
        functional::erase(image.reborrow(), place, (h, w), fill)
    }
}

impl Transform for RandomErasing {
    fn name(&self) -> &'static str {
        "random-erasing"
    }

    fn check(&self, stage: Stage) -> Result<(), Problem> {
        check_probability(self.p)?;
        check_scale(self.scale)?;
        check_ratio(self.ratio)?;
        let values = match &self.value {
            ErasingValue::One(value) => std::slice::from_ref(value),
            ErasingValue::PerChannel(values) if values.is_empty() => {
                return Err(Problem::parameter("value", "[]", "one number per channel"));
            }
            ErasingValue::PerChannel(values) => values,
            ErasingValue::Random(_) if stage == Stage::U8 => return Err(Problem::NormalU8),
            ErasingValue::Random(_) => &[],
        };
        values
            .iter()
            .try_for_each(|&value| check_fill(value, stage))
    }

    fn channels(&self, channels: Option<usize>) -> Result<Option<usize>, Problem> {
        match (&self.value, channels) {
            (ErasingValue::PerChannel(values), Some(expected))
                if values.len() != 1 && values.len() != expected =>
            {
                Err(Problem::ValuesPerChannel {
                    key: "value",
                    expected,
                    found: values.len(),
                })
            }
            _ => Ok(channels),
        }
    }

    on_either!();
}

fn half() -> f64 {
    0.5
}

fn scale() -> [f64; 2] {
    [0.02, 0.33]
}

fn ratio() -> [f64; 2] {
    [0.3, 3.3]
}
