//! Eigenvalues of small symmetric matrices.

/// Sweeps after which the method is certain to have converged: it converges quadratically, and ten sweeps suffice for any matrix.
const SWEEPS: usize = 50;

/// Eigenvalues of a symmetric matrix of `size` rows, largest first, each with its eigenvector of length 1: the cyclic Jacobi method
/// (Golub and Van Loan, section 8.5).
///
/// One thread and one order of operations, so that the bits are the same everywhere. Meant for a few dozen rows: each sweep takes
/// `O(size^3)` operations.
pub(crate) fn symmetric_eigen(matrix: &[f64], size: usize) -> Vec<(f64, Vec<f64>)> {
    let mut a = matrix.to_vec();
    // Columns of `v` are the eigenvectors.
    let mut v = vec![0f64; size * size];
    for i in 0..size {
        v[i * size + i] = 1.;
    }
    let scale = a
        .iter()
        .fold(0f64, |largest, value| largest.max(value.abs()));
    for _ in 0..SWEEPS {
        let mut largest = 0f64;
        for p in 0..size {
            for q in p + 1..size {
                let off = a[p * size + q];
                largest = largest.max(off.abs());
                if off == 0. {
                    continue;
                }
                let (cos, sin) = rotation(a[p * size + p], a[q * size + q], off);
                for k in 0..size {
                    rotate(&mut a, k * size + p, k * size + q, cos, sin);
                    rotate(&mut v, k * size + p, k * size + q, cos, sin);
                }
                for k in 0..size {
                    rotate(&mut a, p * size + k, q * size + k, cos, sin);
                }
            }
        }
        if largest <= f64::EPSILON * f64::EPSILON * scale {
            break;
        }
    }
    let mut pairs: Vec<(f64, Vec<f64>)> = (0..size)
        .map(|j| {
            let vector = (0..size).map(|i| v[i * size + j]).collect();
            (a[j * size + j], vector)
        })
        .collect();
    pairs.sort_by(|(x, _), (y, _)| y.total_cmp(x));
    pairs
}

/// Cosine and sine of the rotation that takes the off-diagonal entry of `[[pp, off], [off, qq]]` to 0.
fn rotation(pp: f64, qq: f64, off: f64) -> (f64, f64) {
    let tau = (qq - pp) / (2. * off);
    let sign = if tau < 0. { -1. } else { 1. };
    let tangent = sign / (tau.abs() + (1. + tau * tau).sqrt());
    let cos = 1. / (1. + tangent * tangent).sqrt();
    (cos, tangent * cos)
}

fn rotate(values: &mut [f64], p: usize, q: usize, cos: f64, sin: f64) {
    let (x, y) = (values[p], values[q]);
    values[p] = cos * x - sin * y;
    values[q] = sin * x + cos * y;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_eigenvalues() {
        // [[2, 1], [1, 2]] has 3 along (1, 1) and 1 along (1, -1).
        let pairs = symmetric_eigen(&[2., 1., 1., 2.], 2);
        assert!((pairs[0].0 - 3.).abs() < 1e-15 && (pairs[1].0 - 1.).abs() < 1e-15);
        assert!((pairs[0].1[0] - pairs[0].1[1]).abs() < 1e-15);
        assert!((pairs[1].1[0] + pairs[1].1[1]).abs() < 1e-15);
        assert_eq!(symmetric_eigen(&[5.], 1), [(5., vec![1.])]);
        assert!(symmetric_eigen(&[], 0).is_empty());
        let zeros = symmetric_eigen(&[0.; 9], 3);
        assert!(zeros.iter().all(|(value, _)| *value == 0.));
    }

    /// Defining equations, on matrices with eigenvalues over ten orders of magnitude and with equal ones.
    #[test]
    fn eigenvectors_satisfy_their_equations() {
        let size = 12;
        for case in 0..8 {
            let entry = |i: usize, j: usize| {
                let (i, j) = (i.min(j) as f64, i.max(j) as f64);
                ((i * 1.3 + j * j * 0.7 + f64::from(case)).sin())
                    * 10f64.powf(-0.4 * (i + j) * f64::from(case % 3))
            };
            let matrix: Vec<f64> = (0..size * size)
                .map(|k| match case {
                    7 if k % (size + 1) == 0 => 2.,
                    7 => 1.,
                    _ => entry(k / size, k % size),
                })
                .collect();
            let scale = matrix.iter().fold(0f64, |m, v| m.max(v.abs()));
            let pairs = symmetric_eigen(&matrix, size);
            for (a, (value, x)) in pairs.iter().enumerate() {
                for i in 0..size {
                    let product: f64 = (0..size).map(|j| matrix[i * size + j] * x[j]).sum();
                    assert!((product - value * x[i]).abs() < 1e-13 * scale * size as f64);
                }
                for (b, (_, y)) in pairs.iter().enumerate() {
                    let dot: f64 = x.iter().zip(y).map(|(x, y)| x * y).sum();
                    let expected = if a == b { 1. } else { 0. };
                    assert!((dot - expected).abs() < 1e-13, "case {case}: {a} {b} {dot}");
                }
            }
            assert!(pairs.windows(2).all(|pair| pair[0].0 >= pair[1].0));
        }
    }
}
