//! Softmax and the cross entropies behind it, row by row of `(N, K)`.

use super::float::Float;
use super::parallel::{pieces, pieces2};

/// Writes the softmax of every row to `p` and the logarithm of the sum of exponentials to `log_sum`; both after taking the
/// row's maximum out, so that no exponential overflows.
pub(crate) fn forward<T: Float>(z: &[T], classes: usize, p: &mut [T], log_sum: &mut [f64]) {
    // An exponential costs about as much as eight elements elsewhere.
    pieces2(
        (p, classes),
        (log_sum, 1),
        8 * classes,
        #[inline(always)]
        |row, p, log_sum| {
            let z = &z[row * classes..][..classes];
            let max = largest(z);
            for (p, &z) in p.iter_mut().zip(z) {
                *p = (z - max).exp_of_negative();
            }
            let sum = sum(p);
            let inverse = T::from_f64(1. / sum);
            p.iter_mut().for_each(|p| *p = *p * inverse);
            log_sum.fill(max.to_f64() + sum.ln());
        },
    );
}

/// Partial results for the compiler to keep in vector registers.
const LANES: usize = 16;

/// The largest element; a NaN is passed over.
#[inline(always)]
fn largest<T: Float>(z: &[T]) -> T {
    let mut lanes = [T::NEG_INFINITY; LANES];
    let chunks = z.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (max, &z) in lanes.iter_mut().zip(chunk) {
            *max = if z > *max { z } else { *max };
        }
    }
    let larger = |max, &z: &T| if z > max { z } else { max };
    lanes.iter().chain(rest).fold(T::NEG_INFINITY, larger)
}

/// The sum, in `f64`.
#[inline(always)]
fn sum<T: Float>(p: &[T]) -> f64 {
    let mut lanes = [0f64; LANES];
    let chunks = p.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (sum, p) in lanes.iter_mut().zip(chunk) {
            *sum += p.to_f64();
        }
    }
    lanes.iter().sum::<f64>() + rest.iter().map(|p| p.to_f64()).sum::<f64>()
}

/// The mean over the rows of the cross entropy with `(1 - smoothing) * one_hot(label) + smoothing / K`.
pub(crate) fn loss<T: Float>(
    z: &[T],
    classes: usize,
    log_sum: &[f64],
    labels: &[u32],
    smoothing: f64,
) -> f64 {
    let rows = z.chunks_exact(classes).zip(log_sum).zip(labels);
    let total: f64 = rows
        .map(|((z, log_sum), &label)| {
            let hard = log_sum - z[label as usize].to_f64();
            // Left out without smoothing: 0 times an infinite logit would be NaN.
            if smoothing == 0. {
                return hard;
            }
            let even = z.iter().map(|z| log_sum - z.to_f64()).sum::<f64>() / classes as f64;
            (1. - smoothing) * hard + smoothing * even
        })
        .sum();
    total / labels.len() as f64
}

/// The gradient of [`loss`] times `scale`, with respect to the logits.
pub(crate) fn loss_backward<T: Float>(
    p: &[T],
    classes: usize,
    labels: &[u32],
    smoothing: f64,
    scale: f64,
    gz: &mut [T],
) {
    let scale = T::from_f64(scale / labels.len() as f64);
    let hard = T::from_f64(1. - smoothing);
    let even = T::from_f64(smoothing / classes as f64);
    pieces(
        gz,
        classes,
        classes,
        #[inline(always)]
        |row, gz| {
            let p = &p[row * classes..][..classes];
            for (gz, &p) in gz.iter_mut().zip(p) {
                *gz = (p - even) * scale;
            }
            let label = labels[row] as usize;
            if let (Some(gz), Some(&p)) = (gz.get_mut(label), p.get(label)) {
                *gz = (p - even - hard) * scale;
            }
        },
    );
}

/// The mean over the rows of the cross entropy with the target probabilities `q`.
pub(crate) fn soft_loss<T: Float>(z: &[T], classes: usize, log_sum: &[f64], q: &[T]) -> f64 {
    let rows = z
        .chunks_exact(classes)
        .zip(q.chunks_exact(classes))
        .zip(log_sum);
    let total: f64 = rows
        .map(|((z, q), log_sum)| {
            z.iter()
                .zip(q)
                .map(|(z, q)| q.to_f64() * (log_sum - z.to_f64()))
                .sum::<f64>()
        })
        .sum();
    total / log_sum.len() as f64
}

/// The gradient of [`soft_loss`] times `scale`, with respect to the logits.
pub(crate) fn soft_loss_backward<T: Float>(
    p: &[T],
    q: &[T],
    classes: usize,
    scale: f64,
    gz: &mut [T],
) {
    let scale = T::from_f64(scale / (p.len() / classes) as f64);
    pieces(
        gz,
        classes,
        classes,
        #[inline(always)]
        |row, gz| {
            let (p, q) = (
                &p[row * classes..][..classes],
                &q[row * classes..][..classes],
            );
            // One for probabilities; PyTorch does not ask that they add up.
            let mass = T::from_f64(q.iter().map(|q| q.to_f64()).sum());
            gz.iter_mut()
                .zip(p)
                .zip(q)
                .for_each(|((gz, &p), &q)| *gz = (p * mass - q) * scale);
        },
    );
}

/// The gradient of [`soft_loss`] times `scale`, with respect to the target probabilities.
pub(crate) fn soft_loss_backward_targets<T: Float>(
    z: &[T],
    log_sum: &[f64],
    scale: f64,
    gq: &mut [T],
) {
    let classes = z.len() / log_sum.len();
    let scale = scale / log_sum.len() as f64;
    pieces(
        gq,
        classes,
        classes,
        #[inline(always)]
        |row, gq| {
            let z = &z[row * classes..][..classes];
            gq.iter_mut()
                .zip(z)
                .for_each(|(gq, z)| *gq = T::from_f64((log_sum[row] - z.to_f64()) * scale));
        },
    );
}
