//! Digits that are drawn.

use image::{GrayImage, Luma};

/// A path of a pen in a square: `x` to the right and `y` down, both in `[0, 1]`.
type Stroke = Vec<(f64, f64)>;

/// Part of an ellipse, from one angle to another in degrees; 0 is to the right, 90 is down.
fn arc(centre: (f64, f64), radii: (f64, f64), from: f64, to: f64) -> Stroke {
    (0..=24)
        .map(|i| (from + (to - from) * f64::from(i) / 24.0).to_radians())
        .map(|a| (centre.0 + radii.0 * a.cos(), centre.1 + radii.1 * a.sin()))
        .collect()
}

/// The digits as a hand writes them.
fn strokes(digit: usize) -> Vec<Stroke> {
    match digit {
        0 => vec![arc((0.5, 0.5), (0.27, 0.42), 0.0, 360.0)],
        1 => vec![vec![(0.56, 0.08), (0.46, 0.92)]],
        2 => {
            let mut line = arc((0.5, 0.3), (0.25, 0.22), 190.0, 390.0);
            line.extend([(0.22, 0.9), (0.82, 0.88)]);
            vec![line]
        }
        3 => {
            let mut line = arc((0.48, 0.28), (0.24, 0.2), 200.0, 450.0);
            line.extend(arc((0.48, 0.7), (0.27, 0.22), 270.0, 515.0));
            vec![line]
        }
        4 => vec![
            vec![(0.3, 0.1), (0.24, 0.52), (0.76, 0.5)],
            vec![(0.72, 0.12), (0.64, 0.92)],
        ],
        5 => {
            let mut line = vec![(0.34, 0.1), (0.3, 0.46)];
            line.extend(arc((0.46, 0.66), (0.27, 0.25), 250.0, 510.0));
            vec![line, vec![(0.34, 0.1), (0.76, 0.09)]]
        }
        6 => {
            let mut line = vec![(0.62, 0.08), (0.4, 0.34)];
            line.extend(arc((0.48, 0.68), (0.22, 0.22), 190.0, 550.0));
            vec![line]
        }
        7 => vec![vec![(0.2, 0.14), (0.76, 0.12), (0.42, 0.92)]],
        8 => {
            let mut line = arc((0.5, 0.29), (0.2, 0.19), 90.0, 450.0);
            line.extend(arc((0.5, 0.7), (0.24, 0.22), 270.0, 630.0));
            vec![line]
        }
        _ => {
            let mut line = arc((0.5, 0.31), (0.22, 0.22), 0.0, 360.0);
            line.push((0.62, 0.92));
            vec![line]
        }
    }
}

/// Paper of 200 x 300 on which a digit is drawn with a thick pen, off the middle; the light falls from one side and the paper is
/// rough.
pub fn page(digit: usize, (paper, ink): (f64, f64)) -> GrayImage {
    let (left, top, side, pen) = (30.0, 70.0, 130.0, 9.0);
    let points = |stroke: Stroke| -> Vec<(f64, f64)> {
        stroke
            .into_iter()
            .map(|(x, y)| (left + side * x, top + side * 1.25 * y))
            .collect()
    };
    let segments: Vec<_> = strokes(digit)
        .into_iter()
        .map(points)
        .flat_map(|p| p.windows(2).map(|w| (w[0], w[1])).collect::<Vec<_>>())
        .collect();
    let mut noise = 12345u32;
    GrayImage::from_fn(200, 300, |x, y| {
        let at = (f64::from(x), f64::from(y));
        let nearest = segments
            .iter()
            .map(|&(a, b)| distance(at, a, b))
            .fold(f64::INFINITY, f64::min);
        // The edge of the stroke is a pixel wide.
        let cover = (pen + 0.5 - nearest).clamp(0.0, 1.0);
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let rough = f64::from(noise >> 24) / 255.0 * 14.0 - 7.0;
        let light = 0.12 * at.0 + 0.06 * at.1 - 20.0;
        Luma([((1.0 - cover) * (paper + light) + cover * ink + rough).clamp(0.0, 255.0) as u8])
    })
}

/// From a point to a line between two others.
fn distance(p: (f64, f64), a: (f64, f64), b: (f64, f64)) -> f64 {
    let (dx, dy) = (b.0 - a.0, b.1 - a.1);
    let length = (dx * dx + dy * dy).max(1e-12);
    let share = (((p.0 - a.0) * dx + (p.1 - a.1) * dy) / length).clamp(0.0, 1.0);
    (p.0 - a.0 - share * dx).hypot(p.1 - a.1 - share * dy)
}
