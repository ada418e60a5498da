//! Request for a recipe.

use std::str::FromStr;

use crate::monitoring::Validation;

/// Settings that are known beforehand.
#[derive(Clone, Debug)]
pub struct Request {
    /// Dataset as a recipe names it: a name of the catalogue, or `folder:PATH` and the like.
    pub dataset: String,
    /// Name of the model; default: chosen by the size of the pictures.
    pub model: Option<String>,
    /// Begin with the published weights of the model.
    pub pretrained: bool,
    /// Passes over the training pictures; default: chosen by their number and the work of the network.
    pub epochs: Option<usize>,
    /// Side of the square that the network sees, in pixels; default: the median of the pictures' shorter sides, up to a limit.
    pub size: Option<usize>,
    /// Part of the training pictures for validation; default: a tenth.
    pub validation: Option<Validation>,
    /// Amount of augmentation; default: standard.
    pub augment: Option<Augment>,
    /// Seed of the run.
    pub seed: u64,
    /// Assignments `key=value` that replace what was chosen.
    pub sets: Vec<String>,
}

impl Request {
    /// Request for a dataset with everything at its default.
    pub fn new(dataset: impl Into<String>) -> Self {
        Self {
            dataset: dataset.into(),
            model: None,
            pretrained: false,
            epochs: None,
            size: None,
            validation: None,
            augment: None,
            seed: 0,
            sets: Vec::new(),
        }
    }
}

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
