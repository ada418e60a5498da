//! What can be said about a transform before there are pixels.

use crate::geometry::moves;
use crate::transform::{Interpolation, Padding, Size, Transform};
use crate::{MAX_SIDE, Problem, SampleRng};

/// Checks a transform's values and whether it may stand where the image is of floats, or of bytes.
pub(crate) fn check(transform: &Transform, floats: bool) -> Result<(), Problem> {
    match transform {
        Transform::ToTensor if floats => Err(Problem::SecondToTensor),
        Transform::ToTensor | Transform::PermutePixels { .. } => Ok(()),
        Transform::Normalize { .. } if !floats => Err(Problem::BeforeToTensor),
        Transform::Normalize { mean, std } => check_normalize(mean, std),
        Transform::RandomCrop {
            size,
            padding,
            fill,
            ..
        } => {
            check_size(*size)?;
            check_padding(*padding)?;
            check_fill(*fill, floats)
        }
        Transform::RandomHorizontalFlip { p } if !(0.0..=1.0).contains(p) => {
            Err(Problem::Probability(*p))
        }
        Transform::RandomHorizontalFlip { .. } => Ok(()),
        Transform::CenterCrop { size } => check_size(*size),
        Transform::Resize {
            interpolation: Interpolation::Bilinear,
            ..
        } if floats => Err(Problem::AfterToTensor),
        Transform::Resize { size, .. } => check_size(*size),
        Transform::Pad { padding, fill, .. } => {
            check_padding(*padding)?;
            check_fill(*fill, floats)
        }
        Transform::Grayscale {
            num_output_channels: 1 | 3,
        } => Ok(()),
        Transform::Grayscale {
            num_output_channels,
        } => Err(Problem::GrayChannels(*num_output_channels)),
    }
}

fn check_size(size: Size) -> Result<(), Problem> {
    let (height, width) = size.window();
    match [height, width]
        .into_iter()
        .find(|side| !(1..=MAX_SIDE).contains(side))
    {
        Some(side) => Err(Problem::Size(side)),
        None => Ok(()),
    }
}

fn check_padding(padding: Padding) -> Result<(), Problem> {
    let Padding {
        left,
        top,
        right,
        bottom,
    } = padding;
    match [left, top, right, bottom]
        .into_iter()
        .find(|side| *side > MAX_SIDE)
    {
        Some(side) => Err(Problem::Padding(side)),
        None => Ok(()),
    }
}

fn check_fill(fill: f32, floats: bool) -> Result<(), Problem> {
    if !floats && (fill.fract() != 0.0 || !(0.0..=255.0).contains(&fill)) {
        return Err(Problem::FillU8(fill));
    }
    if !fill.is_finite() {
        Err(Problem::Fill(fill))
    } else {
        Ok(())
    }
}

fn check_normalize(mean: &[f32], std: &[f32]) -> Result<(), Problem> {
    if mean.is_empty() || mean.len() != std.len() {
        return Err(Problem::Lengths {
            mean: mean.len(),
            std: std.len(),
        });
    }
    if let Some(mean) = mean.iter().find(|mean| !mean.is_finite()) {
        return Err(Problem::Mean(*mean));
    }
    match std.iter().find(|std| **std == 0.0 || !std.is_finite()) {
        Some(std) => Err(Problem::Std(*std)),
        None => Ok(()),
    }
}

/// Checks that the transform suits an image of `channels` and gives the channels that come out.
pub(crate) fn channels_after(transform: &Transform, channels: usize) -> Result<usize, Problem> {
    match transform {
        Transform::Normalize { mean, .. } if mean.len() != 1 && mean.len() != channels => {
            Err(Problem::Channels {
                expected: mean.len(),
                found: channels,
            })
        }
        Transform::Grayscale { .. } if channels != 1 && channels != 3 => Err(Problem::Channels {
            expected: 3,
            found: channels,
        }),
        Transform::Grayscale {
            num_output_channels,
        } => Ok(*num_output_channels),
        _ => Ok(channels),
    }
}

/// The shape `(C, H, W)` that `transform` makes of an image of shape `(channels, height, width)`.
pub(crate) fn shape_after(
    transform: &Transform,
    (channels, height, width): (usize, usize, usize),
) -> Result<(usize, usize, usize), Problem> {
    let channels = channels_after(transform, channels)?;
    // Where a crop falls changes nothing about its size: any random numbers do.
    let steps = moves(transform, (height, width), &mut SampleRng::new(0, 0, 0))?;
    let size = steps
        .into_iter()
        .flatten()
        .fold((height, width), |size, step| step.size_after(size));
    let (height, width) = match transform {
        Transform::Resize { size, .. } => size.scaled(height, width)?,
        _ => size,
    };
    if matches!(transform, Transform::PermutePixels { .. }) {
        pixel_count(height * width)?;
    }
    Ok((channels, height, width))
}

/// The pixels of a permutation, which has indices of 32 bits.
pub(crate) fn pixel_count(pixels: usize) -> Result<u32, Problem> {
    u32::try_from(pixels).map_err(|_| Problem::TooManyPixels(pixels))
}
