//! Orthogonalization of matrices.

use candle_core::{DType, Tensor};

use super::norm::norm;

/// Nearest matrix with orthonormal rows or columns, approximately: `U S' V^T` for a matrix `U S V^T`, (M, N), with the singular values
/// `S'` near 1.
///
/// The quintic iteration of Newton and Schulz, as `_zeropower_via_newtonschulz` of `torch.optim.Muon`, in the type of the matrix instead
/// of `bf16`. The usual coefficients bring singular values from 1e-2 of the norm to between 0.7 and 1.2 in five steps, and do not
/// converge to 1. Matrix products are those of candle; on one machine, the same number of threads gives the same bits.
pub(super) fn orthogonalize(
    matrix: &Tensor,
    (a, b, c): (f64, f64, f64),
    steps: usize,
    eps: f64,
) -> candle_core::Result<Tensor> {
    let dtype = matrix.dtype();
    let (rows, columns) = matrix.dims2()?;
    let tall = rows > columns;
    // Half precision has no matrix product on the CPU.
    let mut x = match dtype {
        DType::F16 | DType::BF16 => matrix.to_dtype(DType::F32)?,
        _ => matrix.clone(),
    };
    if tall {
        x = x.t()?.contiguous()?;
    }
    // The largest singular value is at most the norm.
    x = (&x / norm(&x)?.max(eps))?;
    for _ in 0..steps {
        let gram = x.matmul(&x.t()?)?;
        let factor = ((&gram * b)? + (gram.matmul(&gram)? * c)?)?;
        x = ((&x * a)? + factor.matmul(&x)?)?;
    }
    if tall {
        x = x.t()?.contiguous()?;
    }
    x.to_dtype(dtype)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    const COEFFICIENTS: (f64, f64, f64) = (3.4445, -4.775, 2.0315);

    /// Entries in [-1, 1) of a matrix of full rank.
    fn matrix(rows: usize, columns: usize, dtype: DType) -> Tensor {
        let values: Vec<f64> = (0..(rows * columns) as u64)
            .map(|i| {
                let mixed = (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                (mixed >> 11) as f64 / (1u64 << 52) as f64 - 1.0
            })
            .collect();
        let tensor = Tensor::from_vec(values, (rows, columns), &Device::Cpu).unwrap();
        tensor.to_dtype(dtype).unwrap()
    }

    /// Extreme singular values, from the eigenvalues of the Gram matrix by Jacobi's rotations.
    fn singular_values(matrix: &Tensor) -> (f64, f64) {
        let x = matrix.to_dtype(DType::F64).unwrap();
        let x = if x.dim(0).unwrap() > x.dim(1).unwrap() {
            x.t().unwrap().contiguous().unwrap()
        } else {
            x
        };
        let mut gram = x.matmul(&x.t().unwrap()).unwrap().to_vec2::<f64>().unwrap();
        let n = gram.len();
        for _ in 0..30 {
            for p in 0..n {
                for q in p + 1..n {
                    let angle = 0.5 * (2.0 * gram[p][q]).atan2(gram[q][q] - gram[p][p]);
                    let (sin, cos) = angle.sin_cos();
                    for row in &mut gram {
                        (row[p], row[q]) =
                            (cos * row[p] - sin * row[q], sin * row[p] + cos * row[q]);
                    }
                    for k in 0..n {
                        (gram[p][k], gram[q][k]) = (
                            cos * gram[p][k] - sin * gram[q][k],
                            sin * gram[p][k] + cos * gram[q][k],
                        );
                    }
                }
            }
        }
        let values: Vec<f64> = (0..n).map(|i| gram[i][i].max(0.0).sqrt()).collect();
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        (least, values.into_iter().fold(0.0, f64::max))
    }

    #[test]
    fn singular_values_are_near_one() {
        for (rows, columns) in [(8, 8), (6, 54), (40, 9), (1, 5), (24, 75)] {
            for dtype in [DType::F32, DType::F64] {
                let x = matrix(rows, columns, dtype);
                let (_, before) = singular_values(&x);
                assert!((before - 1.0).abs() > 0.2, "{before}");
                let steps = if rows == columns { 8 } else { 5 };
                let y = orthogonalize(&x, COEFFICIENTS, steps, 1e-7).unwrap();
                assert_eq!(y.dims(), [rows, columns]);
                assert_eq!(y.dtype(), dtype);
                let (least, largest) = singular_values(&y);
                assert!(
                    least > 0.65 && largest < 1.25,
                    "{rows} x {columns}: {least} to {largest}"
                );
            }
        }
    }

    /// The classical coefficients converge to 1.
    #[test]
    fn cubic_iteration_converges_to_the_polar_factor() {
        let x = matrix(6, 20, DType::F64);
        let y = orthogonalize(&x, (1.5, -0.5, 0.0), 40, 1e-7).unwrap();
        let (least, largest) = singular_values(&y);
        assert!((least - 1.0).abs() < 1e-9 && (largest - 1.0).abs() < 1e-9);
        // The polar factor Q of X = H Q: X Q^T is symmetric.
        let product = x.matmul(&y.t().unwrap()).unwrap().to_vec2::<f64>().unwrap();
        for (i, row) in product.iter().enumerate() {
            for (j, value) in row.iter().enumerate() {
                assert!((value - product[j][i]).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn zeros_stay_and_half_precision_is_kept() {
        let zeros = Tensor::zeros((3, 4), DType::F32, &Device::Cpu).unwrap();
        let y = orthogonalize(&zeros, COEFFICIENTS, 5, 1e-7).unwrap();
        assert_eq!(y.to_vec2::<f32>().unwrap(), vec![vec![0.0; 4]; 3]);

        let x = matrix(4, 12, DType::BF16);
        let y = orthogonalize(&x, COEFFICIENTS, 5, 1e-7).unwrap();
        assert_eq!(y.dtype(), DType::BF16);
        let (least, largest) = singular_values(&y);
        assert!(least > 0.6 && largest < 1.3, "{least} to {largest}");
    }

    /// Large enough for several threads.
    #[test]
    fn equal_threads_give_equal_bits() {
        let x = matrix(96, 600, DType::F32);
        let run = || {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(2);
            pool.build().unwrap().install(|| {
                let y = orthogonalize(&x, COEFFICIENTS, 5, 1e-7).unwrap();
                y.flatten_all().unwrap().to_vec1::<f32>().unwrap()
            })
        };
        let first = run();
        for _ in 0..5 {
            assert_eq!(first, run());
        }
    }
}
