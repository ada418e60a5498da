//! Sampling of an image at mapped positions.
//!
//! On u8 as Pillow's Geometry.c, with its rounding: fixed point for affine maps with nearest pixels, f64 otherwise. On f32
//! as torch's `grid_sample` with zeros outside the image, and torchvision's mask for the fill.

use std::cell::RefCell;

use crate::error::Problem;
use crate::image::Image;
use crate::options::Interpolation;

/// Matrix `(a, b, c, d, e, f)` of a map from output to input positions, pixel centres at halves.
type Matrix = [f64; 6];

/// Denominator `(g, h)` of a perspective map: `g x + h y + 1`.
type Bend = Option<[f64; 2]>;

/// Mark of an output pixel that is outside the input: no image has so many pixels.
const OUTSIDE: u32 = u32::MAX;

thread_local! {
    /// Index of the input pixel for each output pixel, kept by a thread.
    static SOURCES: RefCell<Vec<u32>> = RefCell::default();
}

/// Calls `sample(i, x, y)` with the input position of the centre of each output pixel `i`, row by row.
#[inline(always)]
fn for_each_position(
    (height, width): (usize, usize),
    &[a, b, c, d, e, f]: &Matrix,
    bend: Bend,
    mut sample: impl FnMut(usize, f64, f64),
) {
    for row in 0..height {
        let y = row as f64 + 0.5;
        let (by, ey) = (b * y, e * y);
        match bend {
            None => {
                for column in 0..width {
                    let x = column as f64 + 0.5;
                    sample(row * width + column, a * x + by + c, d * x + ey + f);
                }
            }
            Some([g, h]) => {
                let hy = h * y;
                for column in 0..width {
                    let x = column as f64 + 0.5;
                    let below = g * x + hy + 1.0;
                    sample(
                        row * width + column,
                        (a * x + by + c) / below,
                        (d * x + ey + f) / below,
                    );
                }
            }
        }
    }
}

pub(super) fn warp_u8(
    image: &mut Image<u8>,
    matrix: &Matrix,
    bend: Bend,
    interpolation: Interpolation,
    fill: u8,
) {
    let shape @ (_, height, width) = image.shape();
    let size = (height, width);
    image.replace(shape, |old, new| {
        let pixels = height * width;
        if interpolation == Interpolation::Nearest {
            return SOURCES.with_borrow_mut(|sources| {
                sources.clear();
                sources.resize(pixels, OUTSIDE);
                match bend {
                    None => nearest_affine(size, matrix, sources),
                    Some(_) => for_each_position(size, matrix, bend, |to, x, y| {
                        // Negative numbers above -1 would round to 0.
                        if x >= 0.0 && y >= 0.0 && x < width as f64 && y < height as f64 {
                            sources[to] = (y as usize * width + x as usize) as u32;
                        }
                    }),
                }
                let planes = new.chunks_exact_mut(pixels).zip(old.chunks_exact(pixels));
                for (new, old) in planes {
                    for (new, &from) in new.iter_mut().zip(&*sources) {
                        *new = old.get(from as usize).copied().unwrap_or(fill);
                    }
                }
            });
        }
        new.fill(fill);
        match interpolation {
            Interpolation::Nearest => {}
            Interpolation::Bilinear => for_each_position(size, matrix, bend, |to, x, y| {
                if let Some(window) = Window::<2>::at(x, y, size) {
                    let ([top, bottom], [left, right]) = (window.rows, window.columns);
                    // Indices: slices of the planes cost as much as the interpolation.
                    for plane in (0..new.len()).step_by(pixels) {
                        let at = |row: usize, column: usize| f64::from(old[plane + row + column]);
                        let (a, b) = (at(top, left), at(top, right));
                        let (c, d) = (at(bottom, left), at(bottom, right));
                        let above = a + (b - a) * window.dx;
                        let below = c + (d - c) * window.dx;
                        new[plane + to] = (above + (below - above) * window.dy) as u8;
                    }
                }
            }),
            Interpolation::Bicubic => for_each_position(size, matrix, bend, |to, x, y| {
                if let Some(window) = Window::<4>::at(x, y, size) {
                    let planes = new.chunks_exact_mut(pixels).zip(old.chunks_exact(pixels));
                    for (new, old) in planes {
                        let rows = window.rows.map(|row| {
                            let values = window.columns.map(|column| f64::from(old[row + column]));
                            cubic(values, window.dx)
                        });
                        // `as` drops the fraction and keeps the range.
                        new[to] = cubic(rows, window.dy) as u8;
                    }
                }
            }),
        }
    });
}

/// The floor, without a call where the processor lacks the instruction.
#[inline(always)]
fn floor(x: f64) -> i32 {
    let whole = x as i32;
    whole - i32::from(x < f64::from(whole))
}

/// Pillow's cubic through four values, at `d` between the second and the third.
fn cubic([v1, v2, v3, v4]: [f64; 4], d: f64) -> f64 {
    let p2 = -v1 + v3;
    let p3 = 2.0 * (v1 - v2) + v3 - v4;
    let p4 = -v1 + v2 - v3 + v4;
    v2 + d * (p2 + d * (p3 + d * p4))
}

/// Pixels around a position: offsets of `N` rows and `N` columns, clamped to the image, and the position between the two
/// in the middle.
struct Window<const N: usize> {
    rows: [usize; N],
    columns: [usize; N],
    dx: f64,
    dy: f64,
}

impl<const N: usize> Window<N> {
    /// None outside the image.
    #[inline(always)]
    fn at(x: f64, y: f64, (height, width): (usize, usize)) -> Option<Self> {
        if !(x >= 0.0 && y >= 0.0 && x < width as f64 && y < height as f64) {
            return None;
        }
        let (x, y) = (x - 0.5, y - 0.5);
        let (left, top) = (floor(x), floor(y));
        let first = N as i32 / 2 - 1;
        let clamped = |start: i32, i: usize, side: usize| {
            (start - first + i as i32).clamp(0, side as i32 - 1) as usize
        };
        Some(Self {
            rows: std::array::from_fn(|i| clamped(top, i, height) * width),
            columns: std::array::from_fn(|i| clamped(left, i, width)),
            dx: x - f64::from(left),
            dy: y - f64::from(top),
        })
    }
}

/// Pillow's affine maps with nearest pixels: the index of the input pixel for each output pixel inside the input.
fn nearest_affine(
    (height, width): (usize, usize),
    &[a, b, c, d, e, f]: &Matrix,
    sources: &mut [u32],
) {
    // `ImagingScaleAffine`: positions are sums in f64.
    if b == 0.0 && d == 0.0 {
        let mut y = f + e * 0.5;
        for row in 0..height {
            if y >= 0.0 && y < height as f64 {
                let from = y as usize * width;
                let mut x = c + a * 0.5;
                for source in &mut sources[row * width..][..width] {
                    if x >= 0.0 && x < width as f64 {
                        *source = (from + x as usize) as u32;
                    }
                    x += a;
                }
            }
            y += e;
        }
        return;
    }

    let fits = |x: usize, y: usize| {
        let (x, y) = (x as f64, y as f64);
        (x * a + y * b + c).abs() < 32_768.0 && (x * d + y * e + f).abs() < 32_768.0
    };
    let (right, bottom) = (width, height);
    if fits(0, 0) && fits(right, bottom) && fits(0, bottom) && fits(right, 0) {
        // `affine_fixed`: 16 fractional bits. The sums wrap where Pillow's would overflow.
        let fixed = |value: f64| (value * 65_536.0 + 0.5).floor() as i32;
        let [step_x, step_xy, step_yx, step_y] = [a, b, d, e].map(fixed);
        let mut start_x = fixed(c + a * 0.5 + b * 0.5);
        let mut start_y = fixed(f + d * 0.5 + e * 0.5);
        for row in 0..height {
            let (mut x, mut y) = (start_x, start_y);
            for source in &mut sources[row * width..][..width] {
                let (from_x, from_y) = (x >> 16, y >> 16);
                if (0..width as i32).contains(&from_x) && (0..height as i32).contains(&from_y) {
                    *source = from_y as u32 * width as u32 + from_x as u32;
                }
                x = x.wrapping_add(step_x);
                y = y.wrapping_add(step_yx);
            }
            start_x = start_x.wrapping_add(step_xy);
            start_y = start_y.wrapping_add(step_y);
        }
        return;
    }

    // `ImagingTransformAffine` for large images: sums in f64.
    let mut start_x = c + a * 0.5 + b * 0.5;
    let mut start_y = f + d * 0.5 + e * 0.5;
    for row in 0..height {
        let (mut x, mut y) = (start_x, start_y);
        for source in &mut sources[row * width..][..width] {
            if x >= 0.0 && y >= 0.0 && x < width as f64 && y < height as f64 {
                *source = (y as usize * width + x as usize) as u32;
            }
            x += a;
            y += d;
        }
        start_x += b;
        start_y += e;
    }
}

pub(super) fn warp_f32(
    image: &mut Image<f32>,
    matrix: &Matrix,
    bend: Bend,
    interpolation: Interpolation,
    fill: f32,
) -> Result<(), Problem> {
    if interpolation == Interpolation::Bicubic {
        return Err(Problem::BicubicF32);
    }
    let shape @ (_, height, width) = image.shape();
    let pixels = height * width;
    let inside = |row: isize, column: isize| {
        (row >= 0 && column >= 0 && row < height as isize && column < width as isize)
            .then(|| row as usize * width + column as usize)
    };
    image.replace(shape, |old, new| {
        for_each_position((height, width), matrix, bend, |to, x, y| {
            // Positions of grid_sample: pixel centres at whole numbers.
            let [x, y] = match x.is_finite() && y.is_finite() {
                true => [x - 0.5, y - 0.5],
                false => [-2.0; 2],
            };
            let planes = new.chunks_exact_mut(pixels).zip(old.chunks_exact(pixels));
            if interpolation == Interpolation::Nearest {
                let nearest = inside(y.round_ties_even() as isize, x.round_ties_even() as isize);
                for (new, old) in planes {
                    new[to] = nearest.map_or(fill, |from| old[from]);
                }
                return;
            }
            let (left, top) = (x.floor(), y.floor());
            let (dx, dy) = ((x - left) as f32, (y - top) as f32);
            // Positions far outside would overflow by the steps to their neighbours.
            let [left, top] = [left, top].map(|at| at.clamp(-2.0, 1e6) as isize);
            let corners = [
                (inside(top, left), (1.0 - dx) * (1.0 - dy)),
                (inside(top, left + 1), dx * (1.0 - dy)),
                (inside(top + 1, left), (1.0 - dx) * dy),
                (inside(top + 1, left + 1), dx * dy),
            ];
            let mask: f32 = corners
                .iter()
                .map(|&(at, weight)| at.map_or(0.0, |_| weight))
                .sum();
            for (new, old) in planes {
                let value: f32 = corners
                    .iter()
                    .map(|&(at, weight)| at.map_or(0.0, |at| old[at] * weight))
                    .sum();
                new[to] = (value - fill) * mask + fill;
            }
        });
    });
    Ok(())
}
