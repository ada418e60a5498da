use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

/// Random number generator of one sample in one epoch.
///
/// The stream is ChaCha8 under the key `seed || epoch || index || "tallow.s"` (three little-endian u64 and eight
/// ASCII bytes), stream and counter 0. It depends on nothing else: neither the order in which samples are read nor the
/// thread that reads them changes a sample.
#[derive(Clone, Debug)]
pub struct SampleRng(ChaCha8Rng);

impl SampleRng {
    /// Generator of sample `index` in `epoch` of a run with `seed`.
    pub fn new(seed: u64, epoch: u64, index: u64) -> Self {
        Self::keyed([seed, epoch, index, u64::from_le_bytes(*b"tallow.s")])
    }

    fn keyed(words: [u64; 4]) -> Self {
        let mut key = [0; 32];
        for (bytes, word) in key.chunks_exact_mut(8).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        Self(ChaCha8Rng::from_seed(key))
    }

    /// Integer drawn uniformly from `0..n`; 0 when `n` is 0 or 1. At least one word is drawn for any `n`.
    ///
    /// Lemire's multiply-and-reject on 32-bit words (arXiv 1805.10941).
    pub fn below(&mut self, n: u32) -> u32 {
        let n = n.max(1);
        let mut product = u64::from(self.0.next_u32()) * u64::from(n);
        if (product as u32) < n {
            let threshold = n.wrapping_neg() % n;
            while (product as u32) < threshold {
                product = u64::from(self.0.next_u32()) * u64::from(n);
            }
        }
        (product >> 32) as u32
    }

    /// Bernoulli draw: true with probability `p`, if the next word of the stream divided by 2^32 is below `p`.
    pub fn chance(&mut self, p: f64) -> bool {
        f64::from(self.0.next_u32()) < p * 4_294_967_296.0
    }

    /// Number drawn uniformly from `[low, high)`: `low + (high - low) * w / 2^32` with the next word `w` of the stream.
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * (f64::from(self.0.next_u32()) / 4_294_967_296.0)
    }

    /// Number drawn from the normal distribution with mean 0 and variance 1 (Box and Muller 1958): with the next words `u`
    /// and `v` of the stream, `sqrt(-2 ln((u + 1) / 2^32)) cos(2 pi v / 2^32)`.
    pub fn normal(&mut self) -> f64 {
        let [u, v] = [self.0.next_u32(), self.0.next_u32()].map(f64::from);
        let radius = (-2.0 * libm::log((u + 1.0) / 4_294_967_296.0)).sqrt();
        radius * libm::cos(std::f64::consts::TAU * (v / 4_294_967_296.0))
    }

    /// Number drawn from the Gamma distribution of parameter `shape`, above 0, and scale 1 (Marsaglia and Tsang 2000), from
    /// as many words as it takes.
    pub(crate) fn gamma(&mut self, shape: f64) -> f64 {
        // Not 0, whose logarithm is infinite.
        let open = |rng: &mut Self| (f64::from(rng.0.next_u32()) + 0.5) / 4_294_967_296.0;
        if shape < 1.0 {
            let power = libm::pow(open(self), 1.0 / shape);
            return self.gamma(shape + 1.0) * power;
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v = (1.0 + c * x).powi(3);
            if v > 0.0 && libm::log(open(self)) < 0.5 * x * x + d - d * v + d * libm::log(v) {
                return d * v;
            }
        }
    }

    /// Generator of its own stream, whose key are the next eight words. A transform that draws as many numbers as the image
    /// or its settings ask for draws them from a fork, so that later transforms draw the same numbers whatever it did.
    pub fn fork(&mut self) -> Self {
        let mut key = [0; 32];
        self.0.fill_bytes(&mut key);
        Self(ChaCha8Rng::from_seed(key))
    }

    /// Seed, epoch and index of the sample, as given to [`new`](Self::new). Not those of a [`fork`](Self::fork).
    pub fn sample(&self) -> (u64, u64, u64) {
        let key = self.0.get_seed();
        let word = |i: usize| {
            let bytes = key[8 * i..].first_chunk().copied().unwrap_or_default();
            u64::from_le_bytes(bytes)
        };
        (word(0), word(1), word(2))
    }
}

/// Permutation of `0..n` that [`PermutePixels`](crate::PermutePixels) applies: output pixel `i` (row-major) takes the
/// value of input pixel `permutation[i]`.
///
/// Fisher-Yates: from `i = n - 1` down to 1, swap entry `i` with entry `below(i + 1)` of the identity, drawing from
/// ChaCha8 under the key `seed || n || 0 || "tallow.p"` (three little-endian u64 and eight ASCII bytes) with
/// [`SampleRng::below`]. The same on every platform and in every version of this crate.
pub fn permutation(seed: u64, n: u32) -> Vec<u32> {
    let mut rng = SampleRng::keyed([seed, u64::from(n), 0, u64::from_le_bytes(*b"tallow.p")]);
    let mut order: Vec<u32> = (0..n).collect();
    for i in (1..n).rev() {
        order.swap(i as usize, rng.below(i + 1) as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gamma_variates_have_the_mean_and_variance_of_their_shape() {
        for shape in [0.1, 0.5, 1.0, 2.0, 20.0] {
            let mut rng = SampleRng::new(5, 0, 0);
            let numbers: Vec<f64> = (0..100_000).map(|_| rng.gamma(shape)).collect();
            let mean = numbers.iter().sum::<f64>() / 1e5;
            let variance = numbers.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 1e5;
            // Five standard errors: the fourth central moment is 3 shape^2 + 6 shape.
            assert!(
                (mean - shape).abs() < 5.0 * (shape / 1e5).sqrt(),
                "{shape}: {mean}"
            );
            let error = ((2.0 * shape * shape + 6.0 * shape) / 1e5).sqrt();
            assert!(
                (variance - shape).abs() < 5.0 * error,
                "{shape}: {variance}"
            );
        }
    }
}
