use crate::error::Problem;
use crate::image::Image;
use crate::moves::Move;
use crate::options::{Interpolation, MAX_SIDE};
use crate::resample::{Shape, Window, resample};

/// Window of `height` x `width` at (`top`, `left`), scaled to `size` `(H, W)` (torchvision's `resized_crop`). Bilinear and
/// bicubic scaling are antialiased.
///
/// To the bit as on PIL images (Pillow 13: see [`Interpolation`]).
///
/// # Errors
/// [`Problem::CropOutside`] if the window is empty or not inside the image, [`Problem::Size`] for a size of 0.
pub fn resized_crop(
    image: &mut Image<u8>,
    (top, left): (usize, usize),
    (height, width): (usize, usize),
    size: (usize, usize),
    interpolation: Interpolation,
) -> Result<(), Problem> {
    let crop = Move::Crop {
        top,
        left,
        height,
        width,
    };
    crop.output_size(image.size())?;
    for side in [size.0, size.1] {
        if !(1..=MAX_SIDE).contains(&side) {
            return Err(Problem::Size(side));
        }
    }
    let shape = match interpolation {
        Interpolation::Nearest => {
            image.step(crop, |_| 0)?;
            let (height, width) = size;
            return image.step(Move::ResizeNearest { height, width }, |_| 0);
        }
        Interpolation::Bilinear => Shape::Bilinear,
        Interpolation::Bicubic => Shape::Bicubic,
    };
    let window = Window {
        top,
        left,
        height,
        width,
    };
    resample(image, window, size, shape);
    Ok(())
}
