//! Grad-CAM heat maps over grey images.

use std::io::Cursor;
use std::path::Path;

use candle_core::{Device, Tensor};
use image::{ImageFormat, Rgb, RgbImage};
use tallow_models::{Model, grad_cam};
use tallow_record::write_atomic;

use crate::error::Result;

/// Opacity of the highest value.
const OPACITY: f32 = 0.7;

/// Every sixteenth colour of matplotlib's `magma` (Smith and van der Walt, CC0), from dark to light, so that the order shows
/// without colours too.
const MAGMA: [[u8; 3]; 17] = [
    [0, 0, 4],
    [10, 8, 34],
    [29, 17, 71],
    [54, 16, 107],
    [81, 18, 124],
    [106, 28, 129],
    [131, 38, 129],
    [156, 46, 127],
    [183, 55, 121],
    [208, 65, 111],
    [231, 82, 99],
    [245, 107, 92],
    [252, 137, 97],
    [254, 167, 114],
    [254, 196, 136],
    [253, 226, 163],
    [252, 253, 191],
];

/// Heat map for each of the images `(N, C, H, W)` and its class, at a layer (Grad-CAM, Selvaraju et al. 2017). The longer side of a
/// picture is at least `side` pixels.
pub fn overlays(
    model: &Model,
    images: &Tensor,
    classes: &[u32],
    layer: &str,
    side: u32,
) -> Result<Vec<RgbImage>> {
    let maps = grad_cam(model, images, classes, Some(layer))?;
    // The input whatever its normalisation: the least value black, the greatest white.
    let grey = images.mean(1)?;
    let (_, h, w) = grey.dims3()?;
    let rows = |maps: &Tensor| -> Result<Vec<Vec<f32>>> {
        Ok(maps.to_device(&Device::Cpu)?.flatten_from(1)?.to_vec2()?)
    };
    let both = rows(&grey)?.into_iter().zip(rows(&maps)?);
    let pictures = both.map(|(grey, map)| overlay(&grey, &map, (h as u32, w as u32), side));
    Ok(pictures.collect())
}

fn overlay(grey: &[f32], map: &[f32], (h, w): (u32, u32), side: u32) -> RgbImage {
    let low = grey.iter().copied().fold(f32::INFINITY, f32::min);
    let high = grey.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let range = (high - low).max(f32::MIN_POSITIVE);
    let times = side.div_ceil(h.max(w)).max(1);
    RgbImage::from_fn(w * times, h * times, |x, y| {
        let pixel = (y / times * w + x / times) as usize;
        let grey = (grey[pixel] - low) / range * 255.0;
        let value = between(map, (h, w), (y, x), times);
        let opacity = OPACITY * value;
        let colour = magma(value);
        Rgb(colour.map(|c| ((1.0 - opacity) * grey + opacity * c).round() as u8))
    })
}

/// Value at a pixel of the picture, which is `times` as large, by bilinear interpolation.
fn between(map: &[f32], (h, w): (u32, u32), (y, x): (u32, u32), times: u32) -> f32 {
    let place = |at: u32, n: u32| {
        let centre = ((at as f32 + 0.5) / times as f32 - 0.5).clamp(0.0, (n - 1) as f32);
        let first = centre as u32;
        (first, (first + 1).min(n - 1), centre - first as f32)
    };
    let ((top, bottom, down), (left, right, across)) = (place(y, h), place(x, w));
    let value = |y: u32, x: u32| map[(y * w + x) as usize];
    let row = |y: u32| value(y, left) * (1.0 - across) + value(y, right) * across;
    row(top) * (1.0 - down) + row(bottom) * down
}

/// Colour of a value in `[0, 1]`.
fn magma(share: f32) -> [f32; 3] {
    let last = MAGMA.len() - 1;
    let place = share.clamp(0.0, 1.0) * last as f32;
    let first = (place as usize).min(last - 1);
    let part = place - first as f32;
    let (a, b) = (MAGMA[first], MAGMA[first + 1]);
    std::array::from_fn(|i| f32::from(a[i]) * (1.0 - part) + f32::from(b[i]) * part)
}

/// Writes a picture as PNG, atomically.
pub fn write_png(path: &Path, picture: &RgbImage) -> Result<()> {
    let mut png = Cursor::new(Vec::new());
    picture.write_to(&mut png, ImageFormat::Png)?;
    Ok(write_atomic(path, png.into_inner())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_get_lighter() {
        let light = |share: f32| {
            let [r, g, b] = magma(share);
            0.2126 * r + 0.7152 * g + 0.0722 * b
        };
        let steps: Vec<f32> = (0..=64).map(|i| light(i as f32 / 64.0)).collect();
        assert!(steps.windows(2).all(|pair| pair[1] > pair[0]), "{steps:?}");
        assert_eq!(magma(1.0), [252.0, 253.0, 191.0]);
    }

    #[test]
    fn low_values_show_the_image_and_high_ones_the_colour() {
        let grey = [-1.0, -1.0, 1.0, 1.0];
        let picture = overlay(&grey, &[0.0, 1.0, 0.0, 1.0], (2, 2), 448);
        assert_eq!(picture.dimensions(), (448, 448));
        assert_eq!(picture.get_pixel(0, 0).0, [0, 0, 0]);
        assert_eq!(picture.get_pixel(0, 447).0, [255, 255, 255]);
        assert_eq!(picture.get_pixel(447, 0).0, [176, 177, 134]);
        let blank = overlay(&[3.0; 4], &[0.0; 4], (2, 2), 1);
        assert!(blank.pixels().all(|p| p.0 == [0, 0, 0]));
    }
}
