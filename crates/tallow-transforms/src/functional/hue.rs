//! Rotation of the hue in HSV space.

use super::color::rgb;
use super::image_mut::ImageMut;
use crate::error::Problem;

/// Shift of the hue by `factor` turns of the colour circle, in `[-0.5, 0.5]` (torchvision's `adjust_hue`). A grey image
/// is kept.
///
/// To the bit on PIL images, where hue and saturation are rounded down to 256 levels, also for a shift of 0. Within 1e-5
/// on float tensors, whose values must be in `[0, 1]`.
///
/// # Errors
/// [`Problem::Channels`] unless the image has 1 or 3 channels.
pub fn adjust_hue<'a>(image: impl Into<ImageMut<'a>>, factor: f64) -> Result<(), Problem> {
    match image.into() {
        ImageMut::U8(image) => {
            // Negative shifts wrap around: a turn has 256 levels.
            let shift = (factor * 255.0) as i32 as u8;
            if let Some([r, g, b]) = rgb(image)? {
                for ((r, g), b) in r.iter_mut().zip(g).zip(b) {
                    let [h, s, v] = hsv_u8(*r, *g, *b);
                    [*r, *g, *b] = rgb_u8(h.wrapping_add(shift), s, v);
                }
            }
        }
        ImageMut::F32(image) => {
            if let Some([r, g, b]) = rgb(image)? {
                for ((r, g), b) in r.iter_mut().zip(g).zip(b) {
                    let [h, s, v] = hsv_f32(*r, *g, *b);
                    let h = (h + factor as f32).rem_euclid(1.0);
                    [*r, *g, *b] = rgb_f32(h, s, v);
                }
            }
        }
    }
    Ok(())
}

/// `rgb2hsv_row` of Pillow's Convert.c, with its mixture of f32 and f64.
fn hsv_u8(r: u8, g: u8, b: u8) -> [u8; 3] {
    let most = r.max(g).max(b);
    let least = r.min(g).min(b);
    if most == least {
        return [0, 0, most];
    }
    let range = f32::from(most - least);
    let s = range / f32::from(most);
    let [rc, gc, bc] = [r, g, b].map(|value| f32::from(most - value) / range);
    let h = if r == most {
        bc - gc
    } else if g == most {
        (2.0 + f64::from(rc) - f64::from(bc)) as f32
    } else {
        (4.0 + f64::from(gc) - f64::from(rc)) as f32
    };
    let turns = f64::from(h) / 6.0 + 1.0;
    // `fmod(turns, 1)` of a number in [5/6, 11/6).
    let h = (turns - turns.trunc()) as f32;
    [
        (f64::from(h) * 255.0) as u8,
        (f64::from(s) * 255.0) as u8,
        most,
    ]
}

/// `hsv2rgb` of Pillow's Convert.c.
fn rgb_u8(h: u8, s: u8, v: u8) -> [u8; 3] {
    if s == 0 {
        return [v; 3];
    }
    let sixth = f64::from(h) * 6.0 / 255.0;
    let i = sixth.floor();
    let f = (sixth - i) as f32;
    let fs = (f64::from(s) / 255.0) as f32;
    let value = f64::from(v);
    let [p, q, t] = [
        1.0 - f64::from(fs),
        1.0 - f64::from(fs * f),
        1.0 - f64::from(fs) * (1.0 - f64::from(f)),
    ]
    // Not negative: rounding half up is rounding half away from zero.
    .map(|share| (value * share + 0.5) as u8);
    match i as u8 % 6 {
        0 => [v, t, p],
        1 => [q, v, p],
        2 => [p, v, t],
        3 => [p, q, v],
        4 => [t, p, v],
        _ => [v, p, q],
    }
}

/// torchvision's `_rgb_to_hsv`.
fn hsv_f32(r: f32, g: f32, b: f32) -> [f32; 3] {
    let most = r.max(g).max(b);
    let least = r.min(g).min(b);
    let range = most - least;
    if range == 0.0 {
        return [0.0, 0.0, most];
    }
    let [rc, gc, bc] = [r, g, b].map(|value| (most - value) / range);
    let h = if r == most {
        bc - gc
    } else if g == most {
        2.0 + rc - bc
    } else {
        4.0 + gc - rc
    };
    [(h * (1.0 / 6.0) + 1.0) % 1.0, range / most, most]
}

/// torchvision's `_hsv_to_rgb`.
fn rgb_f32(h: f32, s: f32, v: f32) -> [f32; 3] {
    let sixth = h * 6.0;
    let i = sixth.floor();
    let f = sixth - i;
    let [p, q, t] =
        [1.0 - s, 1.0 - s * f, s * f + (1.0 - s)].map(|share| (share * v).clamp(0.0, 1.0));
    match i as i32 % 6 {
        0 => [v, t, p],
        1 => [q, v, p],
        2 => [p, v, t],
        3 => [p, q, v],
        4 => [t, p, v],
        _ => [v, p, q],
    }
}
