//! Pixels of a decoded image as RGB planes.

use image::DynamicImage;

/// Copies an image into RGB planes. Returns its alpha channel if it has one. Samples of 16 bits give their high byte, as in Pillow.
pub(super) fn planes(image: DynamicImage, out: &mut [u8]) -> Option<Vec<u8>> {
    let high = |sample: u16| (sample >> 8) as u8;
    let same = |sample: u8| sample;
    match image {
        DynamicImage::ImageLuma8(image) => spread(&image, 1, same, out),
        DynamicImage::ImageLumaA8(image) => spread(&image, 2, same, out),
        DynamicImage::ImageRgb8(image) => spread(&image, 3, same, out),
        DynamicImage::ImageRgba8(image) => spread(&image, 4, same, out),
        DynamicImage::ImageLuma16(image) => spread(&image, 1, high, out),
        DynamicImage::ImageLumaA16(image) => spread(&image, 2, high, out),
        DynamicImage::ImageRgb16(image) => spread(&image, 3, high, out),
        DynamicImage::ImageRgba16(image) => spread(&image, 4, high, out),
        other if other.color().has_alpha() => spread(&other.into_rgba8(), 4, same, out),
        other => spread(&other.into_rgb8(), 3, same, out),
    }
}

fn spread<T: Copy>(
    samples: &[T],
    channels: usize,
    byte: impl Fn(T) -> u8,
    out: &mut [u8],
) -> Option<Vec<u8>> {
    let size = out.len() / 3;
    let (red, rest) = out.split_at_mut(size);
    let (green, blue) = rest.split_at_mut(size);
    // Positions of green and blue: a grey picture has one channel for all.
    let (g, b) = if channels > 2 { (1, 2) } else { (0, 0) };
    for (i, pixel) in samples.chunks_exact(channels).take(size).enumerate() {
        (red[i], green[i], blue[i]) = (byte(pixel[0]), byte(pixel[g]), byte(pixel[b]));
    }
    let alpha = || {
        samples
            .chunks_exact(channels)
            .map(|p| byte(p[channels - 1]))
    };
    channels.is_multiple_of(2).then(|| alpha().collect())
}

/// Blends RGB planes with white, or with black if the opaque parts are light. Returns the colour in words.
pub(super) fn blend(planes: &mut [u8], alpha: &[u8]) -> &'static str {
    let size = planes.len() / 3;
    let (mut light, mut cover) = (0.0, 0.0);
    for (i, &a) in alpha.iter().enumerate() {
        let [r, g, b] = [0, 1, 2].map(|plane| f64::from(planes[plane * size + i]));
        light += (0.299 * r + 0.587 * g + 0.114 * b) * f64::from(a);
        cover += f64::from(a);
    }
    let (ground, name) = if light / f64::max(cover, 1.0) > 127.5 && cover > 0.0 {
        (0, "black, since what is drawn is light")
    } else {
        (255, "white")
    };
    for plane in planes.chunks_exact_mut(size.max(1)) {
        for (value, &a) in plane.iter_mut().zip(alpha) {
            let a = u32::from(a);
            *value = ((u32::from(*value) * a + ground * (255 - a) + 127) / 255) as u8;
        }
    }
    name
}

/// Turns and mirrors planes as an EXIF orientation of 2 to 8 says. Returns the new height and width.
pub(super) fn orient(
    planes: &mut [u8],
    (height, width): (usize, usize),
    orientation: u8,
) -> (usize, usize) {
    let (rows, columns) = match orientation {
        5..=8 => (width, height),
        _ => (height, width),
    };
    let (bottom, right) = (height - 1, width - 1);
    let mut stored = Vec::new();
    for plane in planes.chunks_exact_mut(height * width) {
        stored.clear();
        stored.extend_from_slice(plane);
        for (y, row) in plane.chunks_exact_mut(columns).enumerate() {
            for (x, value) in row.iter_mut().enumerate() {
                let (from_y, from_x) = match orientation {
                    2 => (y, right - x),
                    3 => (bottom - y, right - x),
                    4 => (bottom - y, x),
                    5 => (x, y),
                    6 => (bottom - x, y),
                    7 => (bottom - x, right - y),
                    8 => (x, right - y),
                    _ => (y, x),
                };
                *value = stored[from_y * width + from_x];
            }
        }
    }
    (rows, columns)
}

/// One plane of luma as Pillow's `convert("L")` of RGB planes.
pub(crate) fn luma(planes: &[u8], out: &mut [u8]) {
    let size = planes.len() / 3;
    let plane = |i: usize| planes[i * size..].iter().map(|&v| u32::from(v));
    for (((value, r), g), b) in out.iter_mut().zip(plane(0)).zip(plane(1)).zip(plane(2)) {
        *value = ((19_595 * r + 38_470 * g + 7_471 * b + 32_768) >> 16) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_orientation_is_pillow_s() {
        // `ImageOps.exif_transpose` of the rows 1 2 3 and 4 5 6.
        let expected: [(u8, [u8; 6], (usize, usize)); 7] = [
            (2, [3, 2, 1, 6, 5, 4], (2, 3)),
            (3, [6, 5, 4, 3, 2, 1], (2, 3)),
            (4, [4, 5, 6, 1, 2, 3], (2, 3)),
            (5, [1, 4, 2, 5, 3, 6], (3, 2)),
            (6, [4, 1, 5, 2, 6, 3], (3, 2)),
            (7, [6, 3, 5, 2, 4, 1], (3, 2)),
            (8, [3, 6, 2, 5, 1, 4], (3, 2)),
        ];
        for (orientation, pixels, size) in expected {
            let mut planes = [1, 2, 3, 4, 5, 6].repeat(3);
            assert_eq!(orient(&mut planes, (2, 3), orientation), size);
            assert_eq!(planes, pixels.repeat(3), "orientation {orientation}");
        }
    }
}
