//! Settings that the automatic augmentations share.

use crate::error::Problem;
use crate::options::Interpolation;
use crate::transform::Stage;
use crate::values::check_fill;

/// They work on u8, as torchvision's documentation asks for.
pub(super) fn check_policy(stage: Stage, fill: f32) -> Result<(), Problem> {
    match stage {
        Stage::U8 => check_fill(fill, stage),
        Stage::F32 => Err(Problem::AfterToTensor),
    }
}

/// At least two strengths, and few enough to count.
pub(super) fn check_bins(bins: usize) -> Result<(), Problem> {
    match (2..=1_000_000).contains(&bins) {
        true => Ok(()),
        false => Err(Problem::parameter(
            "num_magnitude_bins",
            bins,
            "a whole number in 2..=1000000",
        )),
    }
}

pub(super) fn nearest() -> Interpolation {
    Interpolation::Nearest
}
