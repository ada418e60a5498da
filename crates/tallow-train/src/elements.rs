//! Element-wise passes over tensors: one pass on all threads for `f32` and `f64` on the CPU, tensor operations elsewhere.
//!
//! The elements are cut into chunks of a fixed size, so that the results are the same for any number of threads.

use candle_core::{CpuStorage, DType, Device, InplaceOp2, Layout, Storage, Tensor, WithDType};
use rayon::prelude::*;

/// Elements of one task. Less work is done on the calling thread, since waking another one takes longer.
const CHUNK: usize = 1 << 15;

/// Runs the first expression with the element type as `$T` for `f32` and `f64` on the CPU, else the second one.
macro_rules! on_cpu {
    ($x:expr, $T:ident => $fast:expr, else $slow:expr) => {
        match ($x.device().is_cpu(), $x.dtype()) {
            (true, DType::F32) => {
                type $T = f32;
                $fast
            }
            (true, DType::F64) => {
                type $T = f64;
                $fast
            }
            _ => $slow,
        }
    };
}

/// Sum of the squares of all elements, accumulated in `f64` on the CPU.
pub(crate) fn sum_of_squares(x: &Tensor) -> candle_core::Result<f64> {
    on_cpu!(x, T => slice(x, squares::<T>), else {
        let x = x.detach().to_dtype(DType::F32)?;
        Ok(f64::from(x.sqr()?.sum_all()?.to_scalar::<f32>()?))
    })
}

/// Sum of the squares of each row, an entry of the first axis, accumulated in `f64` on the CPU.
pub(crate) fn row_sums_of_squares(x: &Tensor) -> candle_core::Result<Vec<f64>> {
    let rows = x.dim(0)?;
    on_cpu!(x, T => slice(x, |x: &[T]| {
        let row = (x.len() / rows.max(1)).max(1);
        x.par_chunks(row).map(squares::<T>).collect()
    }), else {
        let x = x.detach().to_dtype(DType::F32)?.reshape((rows, ()))?;
        let sums = x.sqr()?.sum(1)?.to_vec1::<f32>()?;
        Ok(sums.into_iter().map(f64::from).collect())
    })
}

/// Whether all elements are finite.
pub(crate) fn all_finite(x: &Tensor) -> candle_core::Result<bool> {
    // Without an early end, and not as a sum, whose order the compiler must keep: this is done for every gradient of every step.
    match (x.device().is_cpu(), x.dtype()) {
        (true, DType::F32) => slice(x, |x: &[f32]| {
            every(x, |chunk| {
                chunk.iter().fold(true, |all, x| all & x.is_finite())
            })
        }),
        (true, DType::F64) => slice(x, |x: &[f64]| {
            every(x, |chunk| {
                chunk.iter().fold(true, |all, x| all & x.is_finite())
            })
        }),
        (_, dtype) if !dtype.is_float() => Ok(true),
        _ => {
            let zero = (x.detach().to_dtype(DType::F32)? * 0.0)?;
            Ok(zero.sum_all()?.to_scalar::<f32>()? == 0.0)
        }
    }
}

/// `factor x`.
pub(crate) fn scale(x: &Tensor, factor: f64) -> candle_core::Result<Tensor> {
    on_cpu!(x, T => {
        let factor = T::from_f64(factor);
        map(x, move |x: T| factor * x)
    }, else x.detach() * factor)
}

/// Rows, the entries of the first axis, times one factor each.
pub(crate) fn scale_rows(x: &Tensor, factors: &[f64]) -> candle_core::Result<Tensor> {
    on_cpu!(x, T => {
        let row = (x.elem_count() / factors.len().max(1)).max(1);
        let values = slice(x, |x: &[T]| {
            let mut out = x.to_vec();
            let rows = out.par_chunks_mut(row).zip(factors);
            rows.for_each(|(row, &factor)| {
                let factor = T::from_f64(factor);
                row.iter_mut().for_each(|x| *x *= factor);
            });
            out
        })?;
        Tensor::from_vec(values, x.shape(), &Device::Cpu)
    }, else {
        let mut shape = vec![1; x.rank()];
        shape[0] = factors.len();
        let factors = Tensor::new(factors, x.device())?.to_dtype(x.dtype())?;
        x.detach().broadcast_mul(&factors.reshape(shape)?)
    })
}

/// Elements limited to `[-limit, limit]`; NaN stays NaN.
pub(crate) fn clamp(x: &Tensor, limit: f64) -> candle_core::Result<Tensor> {
    on_cpu!(x, T => {
        let limit = T::from_f64(limit);
        map(x, move |x: T| if x > limit { limit } else if x < -limit { -limit } else { x })
    }, else x.detach().clamp(-limit, limit))
}

/// `wa a + wb b`.
pub(crate) fn weighted_sum(
    (a, wa): (&Tensor, f64),
    (b, wb): (&Tensor, f64),
) -> candle_core::Result<Tensor> {
    on_cpu!(a, T => {
        let (wa, wb) = (T::from_f64(wa), T::from_f64(wb));
        let values = slice(a, |a: &[T]| slice(b, |b: &[T]| {
            let mut out = vec![T::from_f64(0.0); a.len()];
            let tasks = out.par_chunks_mut(CHUNK).zip(a.par_chunks(CHUNK)).zip(b.par_chunks(CHUNK));
            tasks.for_each(|((out, a), b)| {
                for ((out, &a), &b) in out.iter_mut().zip(a).zip(b) {
                    *out = wa * a + wb * b;
                }
            });
            out
        }))??;
        Tensor::from_vec(values, a.shape(), &Device::Cpu)
    }, else (a.detach() * wa)? + (b.detach() * wb)?)
}

/// Moves `average`, which must own its memory, towards `value` in place: `average + weight (value - average)`, as `torch.lerp`.
pub(crate) fn lerp(average: &mut Tensor, value: &Tensor, weight: f64) -> candle_core::Result<()> {
    if weight == 0.0 {
        return Ok(());
    }
    let value = value.detach().contiguous()?;
    if average.device().is_cpu() && matches!(average.dtype(), DType::F32 | DType::F64) {
        return average.inplace_op2(&value, &Lerp(weight));
    }
    // PyTorch rounds from the nearer end.
    let difference = (&value - &*average)?;
    *average = if weight < 0.5 {
        (&*average + (difference * weight)?)?
    } else {
        (&value - (difference * (1.0 - weight))?)?
    };
    Ok(())
}

struct Lerp(f64);

impl Lerp {
    fn run<T: WithDType>(&self, average: &mut [T], value: &[T]) {
        let (weight, rest) = (T::from_f64(self.0), T::from_f64(1.0 - self.0));
        let near = self.0 < 0.5;
        let tasks = average.par_chunks_mut(CHUNK).zip(value.par_chunks(CHUNK));
        tasks.for_each(|(average, value)| {
            let pairs = average.iter_mut().zip(value);
            if near {
                pairs.for_each(|(a, &v)| *a = *a + weight * (v - *a));
            } else {
                pairs.for_each(|(a, &v)| *a = v - (v - *a) * rest);
            }
        });
    }
}

impl InplaceOp2 for Lerp {
    fn name(&self) -> &'static str {
        "lerp"
    }

    fn cpu_fwd(
        &self,
        average: &mut CpuStorage,
        average_layout: &Layout,
        value: &CpuStorage,
        value_layout: &Layout,
    ) -> candle_core::Result<()> {
        let (Some((a0, a1)), Some((v0, v1))) = (
            average_layout.contiguous_offsets(),
            value_layout.contiguous_offsets(),
        ) else {
            candle_core::bail!("averages need contiguous parameters")
        };
        match (average, value) {
            (CpuStorage::F32(a), CpuStorage::F32(v)) => self.run(&mut a[a0..a1], &v[v0..v1]),
            (CpuStorage::F64(a), CpuStorage::F64(v)) => self.run(&mut a[a0..a1], &v[v0..v1]),
            _ => candle_core::bail!("the average and its parameter differ in type"),
        }
        Ok(())
    }
}

fn map<T: WithDType>(x: &Tensor, f: impl Fn(T) -> T + Sync) -> candle_core::Result<Tensor> {
    let values = slice(x, |x: &[T]| {
        let mut out = vec![T::from_f64(0.0); x.len()];
        let tasks = out.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK));
        tasks.for_each(|(out, x)| {
            for (out, &x) in out.iter_mut().zip(x) {
                *out = f(x);
            }
        });
        out
    })?;
    Tensor::from_vec(values, x.shape(), &Device::Cpu)
}

/// Sum of squares, of chunks in parallel and then in their order.
fn squares<T: WithDType>(x: &[T]) -> f64 {
    let of_chunk = |x: &[T]| {
        // Independent sums, for vector instructions.
        let mut lanes = [0.0; 8];
        let chunks = x.chunks_exact(8);
        let rest = chunks.remainder();
        for chunk in chunks {
            for (lane, x) in lanes.iter_mut().zip(chunk) {
                let x = x.to_f64();
                *lane += x * x;
            }
        }
        for (lane, x) in lanes.iter_mut().zip(rest) {
            let x = x.to_f64();
            *lane += x * x;
        }
        lanes.iter().sum::<f64>()
    };
    if x.len() <= CHUNK {
        return of_chunk(x);
    }
    let sums: Vec<f64> = x.par_chunks(CHUNK).map(of_chunk).collect();
    sums.iter().sum()
}

fn every<T: Sync>(x: &[T], f: impl Fn(&[T]) -> bool + Sync + Send) -> bool {
    match x.len() <= CHUNK {
        true => f(x),
        false => x.par_chunks(CHUNK).all(f),
    }
}

/// Calls `f` with the elements of a tensor on the CPU, in row-major order.
pub(crate) fn slice<T: WithDType, R>(
    x: &Tensor,
    f: impl FnOnce(&[T]) -> R,
) -> candle_core::Result<R> {
    let x = x.contiguous()?;
    let (storage, layout) = x.storage_and_layout();
    let Storage::Cpu(storage) = &*storage else {
        candle_core::bail!("expected a tensor on the CPU")
    };
    let start = layout.start_offset();
    let all = T::cpu_storage_as_slice(storage)?;
    Ok(f(&all[start..start + layout.shape().elem_count()]))
}

#[cfg(test)]
mod tests {
    use candle_core::Var;

    use super::*;

    /// More than one chunk, and not a multiple of 8.
    fn values(dtype: DType) -> Tensor {
        let count = 2 * CHUNK + 13;
        let values: Vec<f64> = (0..count)
            .map(|i| ((i * 37) % 101) as f64 / 8.0 - 6.0)
            .collect();
        let tensor = Tensor::from_vec(values, count, &Device::Cpu).unwrap();
        tensor.to_dtype(dtype).unwrap()
    }

    fn vec(x: &Tensor) -> Vec<f64> {
        let x = x.to_dtype(DType::F64).unwrap();
        x.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn passes_equal_tensor_operations() {
        for dtype in [DType::F32, DType::F64] {
            let x = values(dtype);
            let y = (x.flip(&[0]).unwrap() + 0.25).unwrap();
            let expected: f64 = vec(&x).iter().map(|x| x * x).sum();
            assert_eq!(sum_of_squares(&x).unwrap(), expected);
            assert_eq!(vec(&scale(&x, 0.5).unwrap()), vec(&(&x * 0.5).unwrap()));
            let clamped = x.clamp(-2.5, 2.5).unwrap();
            assert_eq!(vec(&clamp(&x, 2.5).unwrap()), vec(&clamped));
            let sum = weighted_sum((&x, 0.25), (&y, 2.0)).unwrap();
            let expected = ((&x * 0.25).unwrap() + (&y * 2.0).unwrap()).unwrap();
            assert_eq!(vec(&sum), vec(&expected));
            for weight in [0.25, 0.75, 1.0] {
                let mut average = x.copy().unwrap();
                lerp(&mut average, &y, weight).unwrap();
                let pairs = vec(&x).into_iter().zip(vec(&y));
                let expected: Vec<f64> = pairs.map(|(x, y)| x + weight * (y - x)).collect();
                let found = vec(&average);
                let close = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-6;
                assert!(found.iter().zip(&expected).all(close), "{weight}");
            }
        }
    }

    #[test]
    fn rows_are_those_of_the_first_axis() {
        let x = Tensor::new(
            &[[[3f32, 0.0], [0.0, 4.0]], [[1.0, 1.0], [1.0, 1.0]]],
            &Device::Cpu,
        );
        let x = x.unwrap();
        assert_eq!(row_sums_of_squares(&x).unwrap(), [25.0, 4.0]);
        let scaled = scale_rows(&x, &[2.0, 0.5]).unwrap();
        assert_eq!(vec(&scaled), [6.0, 0.0, 0.0, 8.0, 0.5, 0.5, 0.5, 0.5]);
        // A view that is not contiguous.
        let turned = x.transpose(0, 2).unwrap();
        assert_eq!(row_sums_of_squares(&turned).unwrap(), [11.0, 18.0]);
    }

    #[test]
    fn elements_that_are_not_finite_are_found_and_large_ones_are_not() {
        for dtype in [DType::F32, DType::F64, DType::BF16] {
            assert!(all_finite(&values(dtype)).unwrap());
            for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                let bad = Tensor::new(&[bad], &Device::Cpu)
                    .unwrap()
                    .to_dtype(dtype)
                    .unwrap();
                let x = Tensor::cat(&[&values(dtype), &bad, &values(dtype)], 0).unwrap();
                assert!(!all_finite(&x).unwrap());
            }
        }
        let large = Tensor::new(&[f32::MAX, -f32::MAX], &Device::Cpu).unwrap();
        assert!(all_finite(&large).unwrap());
        assert!(all_finite(&Tensor::new(&[1u32], &Device::Cpu).unwrap()).unwrap());
    }

    #[test]
    fn an_average_does_not_change_what_it_was_copied_from() {
        let var = Var::new(&[1f32, 2.0], &Device::Cpu).unwrap();
        let mut average = var.as_detached_tensor().copy().unwrap();
        let value = Tensor::new(&[3f32, 4.0], &Device::Cpu).unwrap();
        lerp(&mut average, &value, 0.5).unwrap();
        assert_eq!(average.to_vec1::<f32>().unwrap(), [2.0, 3.0]);
        assert_eq!(var.to_vec1::<f32>().unwrap(), [1.0, 2.0]);
    }
}
