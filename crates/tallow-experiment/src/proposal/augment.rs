//! Augmentation of a proposed recipe.

use std::str::FromStr;

use super::network::Network;
use super::{Choice, Survey};

/// Amount of augmentation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Augment {
    /// None.
    None,
    /// Small shifts, or windows of at least 70 % of the picture.
    Light,
    /// Larger ones, and mirror images of pictures in colour or small rotations of grey ones.
    #[default]
    Standard,
    /// Also one of the operations of TrivialAugment on each picture, and erased rectangles.
    Strong,
}

impl Augment {
    /// All amounts, from least to most.
    pub const ALL: [Self; 4] = [Self::None, Self::Light, Self::Standard, Self::Strong];

    /// `none`, `light`, `standard` or `strong`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Light => "light",
            Self::Standard => "standard",
            Self::Strong => "strong",
        }
    }
}

impl FromStr for Augment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|amount| amount.as_str() == text);
        known.ok_or_else(|| format!("`{text}`: expected none, light, standard or strong"))
    }
}

/// Chooses `train.augment`, whose transforms come before those of every picture.
pub(super) fn choose(asked: Option<Augment>, network: &Network, survey: &Survey) -> Choice {
    let amount = asked.unwrap_or_default();
    let size = network.size;
    let strong = amount == Augment::Strong;
    let mut steps = Vec::new();
    let mut words = Vec::new();
    if amount != Augment::None {
        if survey.colour && amount != Augment::Light {
            steps.push(r#"{ name = "random-horizontal-flip" }"#.to_string());
            words.push("mirror images");
        }
        if !survey.colour && amount != Augment::Light {
            steps.push(r#"{ name = "random-rotation", degrees = 10 }"#.to_string());
            words.push("rotations by up to 10 degrees, and no mirror images, since grey pictures may be of letters or digits");
        }
        if strong {
            steps.push(r#"{ name = "trivial-augment-wide" }"#.to_string());
            words.push("an operation of TrivialAugment");
        }
        let scaled = survey.shape.is_none_or(|(_, h, w)| (h, w) != (size, size));
        if scaled {
            let least = match amount {
                Augment::Light => 0.7,
                _ => 0.35,
            };
            steps.push(format!(
                r#"{{ name = "random-resized-crop", size = {size}, scale = [{least:?}, 1.0] }}"#
            ));
            words.push("random windows");
        } else {
            let padding = (size / 8).clamp(1, 4);
            steps.push(format!(
                r#"{{ name = "random-crop", size = {size}, padding = {padding} }}"#
            ));
            words.push("shifts by a few pixels");
        }
        if strong {
            steps.push(r#"{ name = "random-erasing", p = 0.25 }"#.to_string());
            words.push("erased rectangles");
        }
    }
    let what = match words.is_empty() {
        true => "the training pictures are not changed".to_string(),
        false => words.join(", "),
    };
    let given = match asked {
        Some(amount) => format!("--augment {}: ", amount.as_str()),
        None => String::new(),
    };
    Choice {
        key: "train.augment".into(),
        value: format!("[{}]", steps.join(", ")),
        reason: format!("{given}{what}"),
    }
}
