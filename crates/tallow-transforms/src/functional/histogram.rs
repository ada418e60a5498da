//! Maps of values that depend on the distribution of the channel: autocontrast, equalize.

use super::image_mut::ImageMut;
use super::lut::{Table, histogram, map_plane, table};

/// Stretch of each channel to the whole range: its least value becomes 0, its greatest 255 (torchvision's
/// `autocontrast`, to the bit on u8 and within 1e-6 on f32, where the greatest becomes 1). A channel of one value is
/// kept.
pub fn autocontrast<'a>(image: impl Into<ImageMut<'a>>) {
    match image.into() {
        ImageMut::U8(image) => {
            for plane in image.planes_mut() {
                if let Some(table) = autocontrast_table(&histogram(plane)) {
                    map_plane(plane, &table);
                }
            }
        }
        ImageMut::F32(image) => {
            for plane in image.planes_mut() {
                let least = plane.iter().copied().fold(f32::INFINITY, f32::min);
                let greatest = plane.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let (least, range) = match least == greatest {
                    true => (0.0, 1.0),
                    false => (least, greatest - least),
                };
                for value in plane {
                    *value = ((*value - least) / range).clamp(0.0, 1.0);
                }
            }
        }
    }
}

/// `ImageOps.autocontrast` of Pillow; none for a channel of one value.
pub(crate) fn autocontrast_table(counts: &[u32; 256]) -> Option<Table> {
    let low = counts.iter().position(|&count| count > 0)?;
    let high = counts.iter().rposition(|&count| count > 0)?;
    if high <= low {
        return None;
    }
    let scale = 255.0 / (high - low) as f64;
    let offset = -(low as f64) * scale;
    Some(table(|byte| (f64::from(byte) * scale + offset) as u8))
}

/// Equalisation of the histogram of each channel (torchvision's `equalize`, to the bit on u8).
///
/// f32 values are taken as one of 256 levels first, also where the map is the identity, as torchvision does.
pub fn equalize<'a>(image: impl Into<ImageMut<'a>>) {
    match image.into() {
        ImageMut::U8(image) => {
            for plane in image.planes_mut() {
                if let Some(table) = equalize_table(&histogram(plane)) {
                    map_plane(plane, &table);
                }
            }
        }
        ImageMut::F32(image) => {
            // torchvision's conversion of floats to u8, which spreads [0, 1] evenly over 256 levels.
            let level = |value: f32| (value * (256.0 - 1e-3)) as u8;
            for plane in image.planes_mut() {
                let mut counts = [0; 256];
                for &value in plane.iter() {
                    counts[usize::from(level(value))] += 1;
                }
                let table = equalize_table(&counts).unwrap_or_else(|| table(|byte| byte));
                for value in plane {
                    *value = f32::from(table[usize::from(level(*value))]) / 255.0;
                }
            }
        }
    }
}

/// `ImageOps.equalize` of Pillow; none where it keeps the channel.
pub(crate) fn equalize_table(counts: &[u32; 256]) -> Option<Table> {
    let last = counts.iter().rposition(|&count| count > 0)?;
    let total: u64 = counts.iter().map(|&count| u64::from(count)).sum();
    let step = (total - u64::from(counts[last])) / 255;
    if step == 0 {
        return None;
    }
    let mut sum = step / 2;
    let mut table = [0; 256];
    for (value, &count) in table.iter_mut().zip(counts) {
        *value = (sum / step).min(255) as u8;
        sum += u64::from(count);
    }
    Some(table)
}
