//! Operations, and the range of strengths that each policy gives them (torchvision's `_AUGMENTATION_SPACE`).

use crate::rng::SampleRng;

/// Operation of an automatic augmentation, by torchvision's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Identity,
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
    Rotate,
    Brightness,
    Color,
    Contrast,
    Sharpness,
    Posterize,
    Solarize,
    AutoContrast,
    Equalize,
    Invert,
}

impl Operation {
    /// Whether the strength has a random sign.
    fn is_signed(self) -> bool {
        use Operation::*;
        matches!(
            self,
            ShearX
                | ShearY
                | TranslateX
                | TranslateY
                | Rotate
                | Brightness
                | Color
                | Contrast
                | Sharpness
        )
    }

    /// The strength with a random sign, if the operation has one. Draws one word.
    pub fn sign(self, magnitude: f64, rng: &mut SampleRng) -> f64 {
        match rng.chance(0.5) && self.is_signed() {
            true => -magnitude,
            false => magnitude,
        }
    }
}

/// Operations and ranges of one policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Space {
    /// RandAugment, and AutoAugment with ten strengths.
    Rand,
    /// TrivialAugment, the wide space.
    Wide,
    /// AugMix without brightness, color, contrast and sharpness.
    MixPartial,
    /// AugMix.
    Mix,
}

use Operation::*;

const RAND: &[Operation] = &[
    Identity,
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
    Rotate,
    Brightness,
    Color,
    Contrast,
    Sharpness,
    Posterize,
    Solarize,
    AutoContrast,
    Equalize,
];

const MIX: &[Operation] = &[
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
    Rotate,
    Posterize,
    Solarize,
    AutoContrast,
    Equalize,
    Brightness,
    Color,
    Contrast,
    Sharpness,
];

/// Operations at the start of [`MIX`] that the partial space has.
const PARTIAL: usize = 9;

impl Space {
    /// Operations to choose from, in torchvision's order.
    fn operations(self) -> &'static [Operation] {
        match self {
            Self::Rand | Self::Wide => RAND,
            Self::MixPartial => &MIX[..PARTIAL],
            Self::Mix => MIX,
        }
    }

    /// One of the operations, all alike. Draws one word.
    pub fn draw(self, rng: &mut SampleRng) -> Operation {
        let operations = self.operations();
        operations[rng.below(operations.len() as u32) as usize]
    }

    /// Strength `bin` of `bins` (at least two) of `operation` for an image of size `(H, W)`, without its sign; 0 where the
    /// operation has none. In f32 as torchvision's table.
    pub fn magnitude(
        self,
        operation: Operation,
        bin: usize,
        bins: usize,
        (height, width): (usize, usize),
    ) -> f64 {
        let wide = self == Self::Wide;
        let mix = matches!(self, Self::Mix | Self::MixPartial);
        let translation = |side: usize| match self {
            Self::Rand => 150.0 / 331.0 * side as f64,
            Self::Wide => 32.0,
            Self::Mix | Self::MixPartial => side as f64 / 3.0,
        };
        let most = match operation {
            Identity | AutoContrast | Equalize | Invert => return 0.0,
            Solarize => return linspace(1.0, 0.0, bin, bins),
            Posterize => {
                let (start, range) = match (wide, mix) {
                    (true, _) => (8.0, 6.0),
                    (_, true) => (4.0, 4.0),
                    _ => (8.0, 4.0),
                };
                let share = bin as f64 / (bins - 1) as f64;
                return (start - share * range).round_ties_even();
            }
            ShearX | ShearY | Brightness | Color | Contrast | Sharpness if wide => 0.99,
            ShearX | ShearY => 0.3,
            Brightness | Color | Contrast | Sharpness => 0.9,
            TranslateX => translation(width),
            TranslateY => translation(height),
            Rotate if wide => 135.0,
            Rotate => 30.0,
        };
        linspace(0.0, most, bin, bins)
    }
}

/// Entry `i` of `n` (at least two) of `torch.linspace(start, end, n)`: from the nearer end by steps of f32, rounded once.
/// (torch's vectorised code may take the other end, depending on the processor, which can differ in the last bit.)
fn linspace(start: f64, end: f64, i: usize, n: usize) -> f64 {
    let (start, end) = (start as f32, end as f32);
    let step = (end - start) / (n - 1) as f32;
    let (start, end, step) = (f64::from(start), f64::from(end), f64::from(step));
    let entry = match i < n / 2 {
        true => start + step * i as f64,
        false => end - step * (n - 1 - i) as f64,
    };
    f64::from(entry as f32)
}
