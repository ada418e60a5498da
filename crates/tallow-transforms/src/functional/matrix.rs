//! Matrices of affine and perspective maps, from positions in the output to positions in the input.

use crate::error::Problem;

/// Parameters of an affine map, as torchvision's `affine` takes them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine {
    /// Rotation in degrees, clockwise.
    pub angle: f64,
    /// Shift `[x, y]` in pixels, after the rotation.
    pub translate: [f64; 2],
    /// Scale, above 0.
    pub scale: f64,
    /// Shear `[x, y]` in degrees.
    pub shear: [f64; 2],
    /// Fixed point `[x, y]` of rotation, scale and shear, in pixels from the upper left corner; the centre of the image
    /// by default.
    pub center: Option<[f64; 2]>,
}

impl Default for Affine {
    /// The identity.
    fn default() -> Self {
        Self {
            angle: 0.0,
            translate: [0.0; 2],
            scale: 1.0,
            shear: [0.0; 2],
            center: None,
        }
    }
}

impl Affine {
    /// `(a, b, c, d, e, f)`: the output at `(x, y)` shows the input at `(a x + b y + c, d x + e y + f)`, both measured from
    /// the same origin as `center` (torchvision's `_get_inverse_affine_matrix`).
    pub(super) fn inverse(&self, center: [f64; 2]) -> [f64; 6] {
        let rotation = self.angle.to_radians();
        let [shear_x, shear_y] = self.shear.map(f64::to_radians);
        let [cx, cy] = center;
        let (tx, ty) = (cx + self.translate[0], cy + self.translate[1]);

        let a = libm::cos(rotation - shear_y) / libm::cos(shear_y);
        let b = -(a * libm::tan(shear_x) + libm::sin(rotation));
        let c = libm::sin(rotation - shear_y) / libm::cos(shear_y);
        let d = libm::cos(rotation) - c * libm::tan(shear_x);

        let [m0, m1, m3, m4] = [d, -b, -c, a].map(|value| value / self.scale);
        [
            m0,
            m1,
            cx - m0 * tx - m1 * ty,
            m3,
            m4,
            cy - m3 * tx - m4 * ty,
        ]
    }
}

/// The matrix of a rotation by `angle` degrees, counter-clockwise, about `center` (Pillow's `Image.rotate`).
pub(super) fn rotation(angle: f64, [cx, cy]: [f64; 2]) -> [f64; 6] {
    let radians = -angle.to_radians();
    // Pillow rounds, so that right angles are exact.
    let (a, b) = (
        round_to_15_places(libm::cos(radians)),
        round_to_15_places(libm::sin(radians)),
    );
    let d = -b;
    [a, b, a * -cx + b * -cy + cx, d, a, d * -cx + a * -cy + cy]
}

/// Python's `round(value, 15)`. The rounded product may be halfway where the exact one is not: 45 degrees are such a case.
fn round_to_15_places(value: f64) -> f64 {
    let product = value * 1e15;
    let lost = libm::fma(value, 1e15, -product);
    let whole = product.round_ties_even();
    let beyond = product - whole + lost;
    let whole = if beyond > 0.5 {
        whole + 1.0
    } else if beyond < -0.5 {
        whole - 1.0
    } else {
        whole
    };
    whole / 1e15
}

/// Coefficients `(a, b, c, d, e, f, g, h)` of the perspective map that takes the corners `start` of the input to the
/// corners `end` of the output (torchvision's `_get_perspective_coeffs`): the output at `(x, y)` shows the input at
/// `((a x + b y + c) / (g x + h y + 1), (d x + e y + f) / (g x + h y + 1))`. Corners are `[x, y]` in pixels.
///
/// Solved in f64 and rounded to f32, as torchvision does.
///
/// # Errors
/// [`Problem::Corners`] if three corners of `end` are on one line, so that there is no such map.
pub fn perspective_coefficients(
    start: [[f64; 2]; 4],
    end: [[f64; 2]; 4],
) -> Result<[f64; 8], Problem> {
    let mut rows = [[0.0; 9]; 8];
    for (i, ([x, y], [u, v])) in end.into_iter().zip(start).enumerate() {
        rows[2 * i] = [x, y, 1.0, 0.0, 0.0, 0.0, -u * x, -u * y, u];
        rows[2 * i + 1] = [0.0, 0.0, 0.0, x, y, 1.0, -v * x, -v * y, v];
    }
    // Gaussian elimination with the largest pivot of the column.
    for column in 0..8 {
        let largest = (column..8)
            .max_by(|&a, &b| rows[a][column].abs().total_cmp(&rows[b][column].abs()))
            .unwrap_or(column);
        rows.swap(column, largest);
        let pivot = rows[column];
        // Corners are whole pixels, so that a pivot this small is one of rounding.
        if pivot[column].abs() < 1e-9 {
            return Err(Problem::Corners);
        }
        for row in &mut rows[column + 1..] {
            let factor = row[column] / pivot[column];
            for (value, pivot) in row.iter_mut().zip(pivot).skip(column) {
                *value -= factor * pivot;
            }
        }
    }
    let mut solution = [0.0; 8];
    for column in (0..8).rev() {
        let row = rows[column];
        let known: f64 = (column + 1..8).map(|i| row[i] * solution[i]).sum();
        solution[column] = (row[8] - known) / row[column];
    }
    Ok(solution.map(|value| f64::from(value as f32)))
}
