//! Preparation of photographed or drawn digits as in the datasets of handwriting: light on black, scaled and centred.

use tallow_transforms::{Compose, ImageRef, SampleRng, Size, TransformConfig};

use crate::error::{Error, Result};

/// Size and place of the drawing in a dataset's images.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Style {
    /// Longer side of the bounding box in pixels.
    pub side: usize,
    /// Whether the centre of mass is centred, instead of the bounding box.
    pub by_mass: bool,
    /// Source in words.
    pub source: &'static str,
}

/// Style of a dataset of drawings of 28 x 28 pixels.
pub(super) fn style(dataset: &str) -> Option<Style> {
    let style = |side, by_mass, source| {
        Some(Style {
            side,
            by_mass,
            source,
        })
    };
    match dataset {
        "mnist" => style(20, true, "as MNIST was made (yann.lecun.com/exdb/mnist)"),
        name if name.starts_with("emnist") => {
            style(24, false, "as EMNIST was made (arXiv 1702.05373)")
        }
        name if name.starts_with("fashion-mnist") => {
            style(28, false, "as Fashion-MNIST was made (arXiv 1708.07747)")
        }
        "kmnist" => style(28, false, "filling the image as KMNIST does"),
        _ => None,
    }
}

/// Side of these datasets' images.
const SIDE: usize = 28;

/// Least contrast between ink and paper in grey levels.
const CONTRAST: f64 = 24.0;

/// Longest side in pixels; larger images are scaled down first.
const ENOUGH: usize = 800;

/// Least size of a stroke as a share of the largest one; smaller ones are dust.
const SPECK: f64 = 0.02;

/// The drawing in `grey`, of `height` x `width`, as 28 x 28 in the style; and the changes in words.
pub(super) fn prepare(
    grey: &[u8],
    (height, width): (usize, usize),
    style: &Style,
) -> Result<(Vec<u8>, Vec<String>)> {
    if height.max(width) > ENOUGH {
        let scaled = |n: usize| (n * ENOUGH).div_ceil(height.max(width));
        let to = (scaled(height), scaled(width));
        let small: Vec<u8> = (resize(grey, (height, width), to)?.iter())
            .map(|v| (v * 255.0).round() as u8)
            .collect();
        let (image, mut notes) = prepare(&small, to, style)?;
        notes.insert(0, format!("scaled to {}x{}", to.1, to.0));
        return Ok((image, notes));
    }
    let mut notes = Vec::new();
    let (ink, dark) = ink(grey, (height, width));
    let most = ink.iter().copied().fold(0.0, f64::max);
    if most < CONTRAST {
        return Err(Error::Image(format!(
            "shows no drawing: nothing stands out from its border by more than {most:.0} of 255 grey levels; use a picture with more contrast"
        )));
    }
    notes.push(if dark {
        "inverted (dark on light according to the border; the dataset is light on dark)".to_string()
    } else {
        "not inverted (light on dark according to the border, as the dataset is)".to_string()
    });
    if (height, width) == (SIDE, SIDE) {
        notes.push("otherwise as it is: 28x28 is the dataset's own size".to_string());
        let pixels = grey.iter().map(|&v| if dark { 255 - v } else { v });
        return Ok((pixels.collect(), notes));
    }
    let threshold = otsu(&ink);
    let strokes = without_specks(&ink, (height, width), threshold);
    let (top, bottom, left, right) = bounds(&strokes, width);
    let (rows, columns) = (bottom - top, right - left);
    notes.push(format!(
        "cut to the drawing's box, {columns}x{rows} at ({left}, {top}), by Otsu's threshold {threshold:.0}"
    ));

    // Paper becomes 0 with all its noise, full ink 255, and the edges of strokes stay soft.
    let floor = threshold / 2.0;
    let full = full_ink(&ink, threshold);
    let level = |&v: &f64| ((v - floor) / (full - floor).max(1.0) * 255.0).clamp(0.0, 255.0);
    let mut cut = Vec::with_capacity(rows * columns);
    for y in top..bottom {
        let row = &ink[y * width..];
        let stroke = &strokes[y * width..];
        // What lies near no stroke is a speck.
        cut.extend((left..right).map(|x| if stroke[x] { level(&row[x]) as u8 } else { 0 }));
    }
    let longer = rows.max(columns);
    let scaled = |n: usize| ((n * style.side) as f64 / longer as f64).round().max(1.0) as usize;
    let (h, w) = (scaled(rows), scaled(columns));
    let small = stretched(&resize(&cut, (rows, columns), (h, w))?);
    notes.push(format!("scaled to {w}x{h}, to fit {0}x{0}", style.side));

    let (y, x) = if style.by_mass {
        let (y, x) = centre_of_mass(&small, w);
        // The middle of the images of MNIST is pixel 14 of 0 to 27.
        ((14.0 - y).round(), (14.0 - x).round())
    } else {
        let middle = |n: usize| ((SIDE - n) / 2) as f64;
        (middle(h), middle(w))
    };
    let within = |at: f64, n: usize| at.clamp(0.0, (SIDE - n) as f64) as usize;
    let (y, x) = (within(y, h), within(x, w));
    let mut out = vec![0; SIDE * SIDE];
    for (row, line) in small.chunks_exact(w).enumerate() {
        let start = (y + row) * SIDE + x;
        out[start..start + w].copy_from_slice(line);
    }
    let how = if style.by_mass {
        "its centre of mass"
    } else {
        "its box"
    };
    notes.push(format!(
        "{how} put in the middle of 28x28, {}",
        style.source
    ));
    Ok((out, notes))
}

/// Difference of each pixel from the paper, and whether ink is darker than paper. The paper is a plane fitted to the grey levels at the
/// border, so that light from one side does no harm.
fn ink(grey: &[u8], (height, width): (usize, usize)) -> (Vec<f64>, bool) {
    let value = |y: usize, x: usize| f64::from(grey[y * width + x]);
    let deep = (height.min(width) / 20).max(1);
    let at_border =
        |y: usize, x: usize| y < deep || x < deep || y + deep >= height || x + deep >= width;
    let mut border: Vec<(f64, f64, f64)> = Vec::new();
    for y in 0..height {
        for x in 0..width {
            if at_border(y, x) {
                border.push((y as f64, x as f64, value(y, x)));
            }
        }
    }
    // A drawing that touches the border is not paper: the levels near the middle one decide, then those near the plane.
    let mut levels: Vec<f64> = border.iter().map(|p| p.2).collect();
    levels.sort_by(f64::total_cmp);
    let middle = levels[levels.len() / 2];
    let near: Vec<_> = border
        .iter()
        .filter(|p| (p.2 - middle).abs() < 64.0)
        .copied()
        .collect();
    let mut plane = fit(&near);
    for _ in 0..2 {
        let near: Vec<_> = border
            .iter()
            .filter(|p| (p.2 - at(plane, p.0, p.1)).abs() < 32.0)
            .copied()
            .collect();
        if near.len() > border.len() / 4 {
            plane = fit(&near);
        }
    }
    let differences: Vec<f64> = (0..height * width)
        .map(|i| {
            let (y, x) = (i / width, i % width);
            value(y, x) - at(plane, y as f64, x as f64).clamp(0.0, 255.0)
        })
        .collect();
    // Small differences are the paper's; squares let the ink decide.
    let weight = |sign: f64| {
        let beyond = differences.iter().map(|d| (sign * d).max(0.0));
        beyond.map(|d| d * d).sum::<f64>()
    };
    let dark = weight(-1.0) > weight(1.0);
    let sign = if dark { -1.0 } else { 1.0 };
    let ink = differences.into_iter().map(|d| (sign * d).max(0.0));
    (ink.collect(), dark)
}

/// Level, slope down and slope to the right.
type Plane = [f64; 3];

fn at(plane: Plane, y: f64, x: f64) -> f64 {
    plane[0] + plane[1] * y + plane[2] * x
}

/// Least-squares plane through points `(y, x, value)`; level if they lie on a line.
fn fit(points: &[(f64, f64, f64)]) -> Plane {
    let n = points.len().max(1) as f64;
    let mean = |of: fn(&(f64, f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / n;
    let (my, mx, mv) = (mean(|p| p.0), mean(|p| p.1), mean(|p| p.2));
    let sum = |f: &dyn Fn(f64, f64, f64) -> f64| {
        points
            .iter()
            .map(|p| f(p.0 - my, p.1 - mx, p.2 - mv))
            .sum::<f64>()
    };
    let (yy, xx, yx) = (
        sum(&|y, _, _| y * y),
        sum(&|_, x, _| x * x),
        sum(&|y, x, _| y * x),
    );
    let (yv, xv) = (sum(&|y, _, v| y * v), sum(&|_, x, v| x * v));
    let determinant = yy * xx - yx * yx;
    if determinant <= 1e-9 * yy * xx || determinant <= 0.0 {
        return [mv, 0.0, 0.0];
    }
    let down = (yv * xx - xv * yx) / determinant;
    let across = (xv * yy - yv * yx) / determinant;
    [mv - down * my - across * mx, down, across]
}

/// Threshold that splits the values into two groups with the least variance within (Otsu 1979); at least a quarter of the largest value.
fn otsu(values: &[f64]) -> f64 {
    let mut counts = [0f64; 256];
    for &value in values {
        counts[value.clamp(0.0, 255.0) as usize] += 1.0;
    }
    let total = values.len() as f64;
    let moment: f64 = counts.iter().enumerate().map(|(i, c)| i as f64 * c).sum();
    let (mut below, mut moment_below, mut best) = (0.0, 0.0, (-1.0, 0.0));
    for (i, count) in counts.iter().enumerate() {
        below += count;
        moment_below += i as f64 * count;
        if below == 0.0 || below == total {
            continue;
        }
        let gap = moment_below / below - (moment - moment_below) / (total - below);
        let between = below * (total - below) * gap * gap;
        if between > best.0 {
            best = (between, i as f64 + 1.0);
        }
    }
    let most = values.iter().copied().fold(0.0, f64::max);
    best.1.max(most / 4.0)
}

/// Pixels of strokes and of their soft edges. Connected components that are small relative to the largest are dust.
fn without_specks(ink: &[f64], (height, width): (usize, usize), threshold: f64) -> Vec<bool> {
    // 0 is paper; components are numbered from 1.
    let mut component = vec![0usize; ink.len()];
    let mut sizes = vec![0usize];
    let mut stack = Vec::new();
    for start in 0..ink.len() {
        if ink[start] < threshold || component[start] > 0 {
            continue;
        }
        let number = sizes.len();
        sizes.push(0);
        component[start] = number;
        stack.push(start);
        while let Some(i) = stack.pop() {
            sizes[number] += 1;
            for j in around(i, 1, (height, width)) {
                if ink[j] >= threshold && component[j] == 0 {
                    component[j] = number;
                    stack.push(j);
                }
            }
        }
    }
    let largest = sizes.iter().copied().max().unwrap_or(0) as f64;
    let mut strokes = vec![false; ink.len()];
    let edge = (height.max(width) / 100).max(1);
    for (i, &number) in component.iter().enumerate() {
        if number > 0 && sizes[number] as f64 >= SPECK * largest {
            strokes[i] = true;
            if around(i, 1, (height, width)).any(|j| component[j] == 0) {
                around(i, edge, (height, width)).for_each(|j| strokes[j] = true);
            }
        }
    }
    strokes
}

/// Indices up to `reach` away from `i`, with `i`.
fn around(i: usize, reach: usize, (height, width): (usize, usize)) -> impl Iterator<Item = usize> {
    let (y, x) = (i / width, i % width);
    let span = move |at: usize, n: usize| at.saturating_sub(reach)..(at + reach + 1).min(n);
    span(y, height).flat_map(move |y| span(x, width).map(move |x| y * width + x))
}

/// First and one past the last row, first and one past the last column.
fn bounds(strokes: &[bool], width: usize) -> (usize, usize, usize, usize) {
    let (mut top, mut bottom, mut left, mut right) = (usize::MAX, 0, usize::MAX, 0);
    for (i, _) in strokes.iter().enumerate().filter(|(_, stroke)| **stroke) {
        let (y, x) = (i / width, i % width);
        (top, bottom) = (top.min(y), bottom.max(y + 1));
        (left, right) = (left.min(x), right.max(x + 1));
    }
    (top.min(bottom), bottom, left.min(right), right)
}

/// Level of full ink: the third quartile of the values above the threshold.
fn full_ink(ink: &[f64], threshold: f64) -> f64 {
    let mut above: Vec<f64> = ink.iter().copied().filter(|&v| v >= threshold).collect();
    above.sort_by(f64::total_cmp);
    above.get(above.len() * 3 / 4).copied().unwrap_or(255.0)
}

/// Resized with antialiasing; values in `[0, 1]`.
fn resize(grey: &[u8], (rows, columns): (usize, usize), to: (usize, usize)) -> Result<Vec<f32>> {
    let resize = TransformConfig::resize(Size::from(to));
    let pipeline = Compose::new(vec![resize, TransformConfig::to_tensor()])?;
    let mut out = vec![0f32; to.0 * to.1];
    let image = ImageRef::new(grey, 1, rows, columns)?;
    pipeline.apply(image, &mut SampleRng::new(0, 0, 0), &mut out)?;
    Ok(out)
}

/// Bytes scaled so that the greatest is 255: thin strokes would fade otherwise.
fn stretched(values: &[f32]) -> Vec<u8> {
    let most = values.iter().copied().fold(0f32, f32::max).max(1.0 / 255.0);
    values
        .iter()
        .map(|v| (v / most * 255.0).round() as u8)
        .collect()
}

fn centre_of_mass(grey: &[u8], width: usize) -> (f64, f64) {
    let (mut mass, mut y, mut x) = (0.0, 0.0, 0.0);
    for (i, &value) in grey.iter().enumerate() {
        let value = f64::from(value);
        mass += value;
        y += value * (i / width) as f64;
        x += value * (i % width) as f64;
    }
    (y / f64::max(mass, 1.0), x / f64::max(mass, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An upright bar on paper that gets lighter to the right, with noise and a speck of dust.
    fn page(paper: f64, ink: f64) -> Vec<u8> {
        let mut page = vec![0; 300 * 200];
        for (i, pixel) in page.iter_mut().enumerate() {
            let (y, x) = (i / 200, i % 200);
            let shade = paper + 0.15 * x as f64 + ((i * 7919) % 13) as f64 - 6.0;
            let drawn = (60..180).contains(&y) && (40..64).contains(&x);
            let dust = (250..253).contains(&y) && (150..153).contains(&x);
            *pixel = if drawn || dust { ink } else { shade } as u8;
        }
        page
    }

    #[test]
    fn either_polarity_comes_out_light_on_black_in_the_middle() {
        let mnist = style("mnist").unwrap();
        for (paper, ink, inverted) in [(200.0, 30.0, true), (20.0, 230.0, false)] {
            let (image, notes) = prepare(&page(paper, ink), (300, 200), &mnist).unwrap();
            let told = notes[0].starts_with("inverted");
            assert_eq!(told, inverted, "{notes:?}");
            let lit: Vec<usize> = (0..784).filter(|&i| image[i] > 128).collect();
            let (top, bottom, left, right) =
                bounds(&image.iter().map(|&v| v > 128).collect::<Vec<_>>(), 28);
            // 120 rows become 20, and the middle of the image is pixel 14.
            assert!((19..=20).contains(&(bottom - top)), "{notes:?}");
            assert!((4..=5).contains(&(right - left)), "{notes:?}");
            let (y, x) = centre_of_mass(&image, 28);
            assert!(
                (y - 14.0).abs() <= 0.51 && (x - 14.0).abs() <= 0.51,
                "{y} {x}"
            );
            assert!(lit.len() > 60 && image.iter().filter(|v| **v == 0).count() > 600);
            assert!(
                notes.iter().any(|n| n.contains("yann.lecun.com")),
                "{notes:?}"
            );
            assert!(notes.iter().any(|n| n.contains("Otsu")), "{notes:?}");
        }
    }

    #[test]
    fn the_dataset_s_own_images_stay_as_they_are() {
        let mnist = style("mnist").unwrap();
        let mut image = vec![0; 784];
        image[200..220].fill(250);
        let (same, notes) = prepare(&image, (28, 28), &mnist).unwrap();
        assert!(
            same == image && notes[0].starts_with("not inverted"),
            "{notes:?}"
        );
        let dark: Vec<u8> = image.iter().map(|v| 255 - v).collect();
        let (same, notes) = prepare(&dark, (28, 28), &mnist).unwrap();
        assert!(
            same == image && notes[0].starts_with("inverted"),
            "{notes:?}"
        );
    }

    #[test]
    fn a_blank_page_is_refused() {
        for level in [0, 128, 255] {
            let error = prepare(&[level; 600], (20, 30), &style("mnist").unwrap());
            assert!(error.unwrap_err().to_string().contains("no drawing"));
        }
    }

    #[test]
    fn small_and_narrow_images_do_no_harm() {
        for (height, width) in [(1, 1), (1, 50), (50, 1), (2, 3), (5, 400)] {
            let mut grey = vec![255u8; height * width];
            grey[height * width / 2] = 0;
            for name in ["mnist", "emnist-letters", "fashion-mnist", "kmnist"] {
                if let Ok((image, _)) = prepare(&grey, (height, width), &style(name).unwrap()) {
                    assert_eq!(image.len(), 784);
                }
            }
        }
    }

    #[test]
    fn otsu_parts_two_heaps() {
        let values: Vec<f64> = (0..100)
            .map(|i| if i < 70 { f64::from(i % 5) } else { 200.0 })
            .collect();
        let threshold = otsu(&values);
        assert!((5.0..=200.0).contains(&threshold), "{threshold}");
    }

    #[test]
    fn planes_are_found() {
        let points: Vec<_> = (0..50)
            .map(|i| (f64::from(i % 7), f64::from(i / 7)))
            .map(|(y, x)| (y, x, 3.0 + 0.5 * y - 0.25 * x))
            .collect();
        let [level, down, across] = fit(&points);
        assert!(
            (level - 3.0).abs() < 1e-9 && (down - 0.5).abs() < 1e-9 && (across + 0.25).abs() < 1e-9
        );
        assert_eq!(fit(&[(1.0, 2.0, 9.0)]), [9.0, 0.0, 0.0]);
    }
}
