//! Rotation, affine and perspective maps.

use super::image_mut::ImageMut;
use super::matrix::{Affine, rotation};
use super::warp::{warp_f32, warp_u8};
use crate::error::Problem;
use crate::image::Image;
use crate::moves::Move;
use crate::options::Interpolation;

/// Rotation by `angle` degrees, counter-clockwise, about `center` `[x, y]` (the centre of the image by default); the
/// image keeps its size, and `fill` covers what is outside it (torchvision's `rotate`).
///
/// On u8 to the bit as on PIL images for any interpolation. On f32 within 1e-4 of torchvision's on tensors; nearest may
/// take the other neighbour where a position is halfway between two pixels.
///
/// # Errors
/// [`Problem::BicubicF32`] for bicubic interpolation of f32.
pub fn rotate<'a>(
    image: impl Into<ImageMut<'a>>,
    angle: f64,
    interpolation: Interpolation,
    center: Option<[f64; 2]>,
    fill: f32,
) -> Result<(), Problem> {
    match image.into() {
        ImageMut::U8(image) => {
            let (height, width) = image.size();
            let angle = angle.rem_euclid(360.0);
            // Pillow turns by these without interpolation.
            if center.is_none() {
                if angle == 0.0 {
                    return Ok(());
                }
                if angle == 180.0 {
                    image.step(Move::FlipHorizontal, |_| 0)?;
                    return image.step(Move::FlipVertical, |_| 0);
                }
                if height == width && (angle == 90.0 || angle == 270.0) {
                    quarter_turn(image, angle == 90.0);
                    return Ok(());
                }
            }
            let center = center.unwrap_or([width as f64 / 2.0, height as f64 / 2.0]);
            warp_u8(
                image,
                &rotation(angle, center),
                None,
                interpolation,
                fill as u8,
            );
            Ok(())
        }
        image @ ImageMut::F32(_) => {
            let map = Affine {
                angle: -angle,
                center,
                ..Affine::default()
            };
            affine(image, &map, interpolation, fill)
        }
    }
}

/// Turn of a square image by 90 degrees, counter-clockwise or clockwise.
fn quarter_turn(image: &mut Image<u8>, counter_clockwise: bool) {
    let (side, _) = image.size();
    let last = side - 1;
    image.rearrange(side, side, |plane, y, x| match counter_clockwise {
        true => plane[x * side + last - y],
        false => plane[(last - x) * side + y],
    });
}

/// Rotation, shift, scale and shear (torchvision's `affine`); the image keeps its size, and `fill` covers what is outside
/// it.
///
/// Equal to torchvision as [`rotate`] is.
///
/// # Errors
/// [`Problem::BicubicF32`] for bicubic interpolation of f32.
pub fn affine<'a>(
    image: impl Into<ImageMut<'a>>,
    map: &Affine,
    interpolation: Interpolation,
    fill: f32,
) -> Result<(), Problem> {
    match image.into() {
        ImageMut::U8(image) => {
            let (height, width) = image.size();
            let middle = [width as f64 * 0.5, height as f64 * 0.5];
            let matrix = map.inverse(map.center.unwrap_or(middle));
            warp_u8(image, &matrix, None, interpolation, fill as u8);
            Ok(())
        }
        ImageMut::F32(image) => {
            // torchvision measures from the centre of the image here.
            let (height, width) = image.size();
            let [x, y] = [width as f64 * 0.5, height as f64 * 0.5];
            let center = map.center.map_or([0.0; 2], |[cx, cy]| [cx - x, cy - y]);
            let [a, b, c, d, e, f] = map.inverse(center);
            let matrix = [a, b, c + x - a * x - b * y, d, e, f + y - d * x - e * y];
            warp_f32(image, &matrix, None, interpolation, fill)
        }
    }
}

/// Perspective map with the given [`coefficients`](super::perspective_coefficients) (torchvision's `perspective`); the
/// image keeps its size, and `fill` covers what is outside it.
///
/// Equal to torchvision as [`rotate`] is.
///
/// # Errors
/// [`Problem::BicubicF32`] for bicubic interpolation of f32.
pub fn perspective<'a>(
    image: impl Into<ImageMut<'a>>,
    coefficients: &[f64; 8],
    interpolation: Interpolation,
    fill: f32,
) -> Result<(), Problem> {
    let [a, b, c, d, e, f, g, h] = *coefficients;
    let (matrix, bend) = ([a, b, c, d, e, f], Some([g, h]));
    match image.into() {
        ImageMut::U8(image) => {
            warp_u8(image, &matrix, bend, interpolation, fill as u8);
            Ok(())
        }
        ImageMut::F32(image) => warp_f32(image, &matrix, bend, interpolation, fill),
    }
}
