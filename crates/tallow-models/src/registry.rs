use tallow_ops::{Layout, ParamPath};

use crate::{Error, ModelConfig, Module, Result, zoo};

/// A model that can be built by name.
#[derive(Debug)]
pub struct Entry {
    /// What to ask for.
    pub name: &'static str,
    /// One line on what it is.
    pub description: &'static str,
    /// The images it was made for, `(C, H, W)`.
    pub default_input: (usize, usize, usize),
    /// The number of classes it was made for.
    pub default_classes: usize,
    /// The axis order it works in on the CPU unless the configuration says otherwise; elsewhere that is `(N, C, H, W)`.
    pub default_layout: Layout,
    /// Trained values, made for these images and classes.
    pub parameters: usize,
    /// Multiplications, each with its addition, for one such image, in convolutions and linear layers.
    pub multiply_adds: u64,
    /// Whether [`ModelConfig::hidden`] means something to it.
    pub takes_hidden: bool,
    /// Whether [`ModelConfig::width_divisor`] means something to it.
    pub takes_width_divisor: bool,
    /// Whether [`ModelConfig::dropout`] means something to it.
    pub takes_dropout: bool,
    /// Makes it.
    pub build: Build,
}

/// Makes the network with its parameters under the given path; errors call it by the given name. [`crate::Model::build`] checks the
/// configuration first.
pub type Build = fn(&'static str, &ParamPath, &ModelConfig) -> Result<Box<dyn Module>>;

impl Entry {
    /// The configuration it was made for: seed 0, `f32` on the CPU.
    pub fn config(&self) -> ModelConfig {
        ModelConfig::new(self.default_classes, self.default_input)
    }
}

/// Every model, in the order worth reading.
pub fn registry() -> &'static [Entry] {
    zoo::CATALOGUE
}

/// The model of that name. Fails with the nearest name there is.
pub fn find(name: &str) -> Result<&'static Entry> {
    registry()
        .iter()
        .find(|entry| entry.name == name)
        .ok_or_else(|| Error::UnknownModel {
            name: name.into(),
            nearest: nearest(name, registry().iter().map(|entry| entry.name)),
            known: registry().iter().map(|entry| entry.name).collect(),
        })
}

/// The name most like `name`, if one is. Jaro and Winkler's measure likes a common beginning, Damerau and Levenshtein's a slip of
/// two letters.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    let likeness = |known: &str| {
        strsim::jaro_winkler(&name, known).max(strsim::normalized_damerau_levenshtein(&name, known))
    };
    known
        .map(|known| (likeness(known), known))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        // Below this two names have little but a few letters in common.
        .filter(|(likeness, _)| *likeness > 0.66)
        .map(|(_, name)| name)
}
