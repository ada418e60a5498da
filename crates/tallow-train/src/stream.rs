//! Streams of random numbers that depend on the seed of a run and a place in it, and on nothing that was drawn before.

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

/// ChaCha8 stream under the key `seed || epoch || step || tag`: three little-endian u64 and eight ASCII bytes.
pub(crate) struct Stream(ChaCha8Rng);

impl Stream {
    pub fn new(seed: u64, epoch: u64, step: u64, tag: [u8; 8]) -> Self {
        let mut key = [0; 32];
        let words = [seed, epoch, step, u64::from_le_bytes(tag)];
        for (bytes, word) in key.chunks_exact_mut(8).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        Self(ChaCha8Rng::from_seed(key))
    }

    /// The next 64 bits.
    pub fn word(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform number in `[0, 1)`, of 53 bits.
    pub fn uniform(&mut self) -> f64 {
        (self.word() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Integer uniform in `0..n`; 0 for `n = 0`. The bias of the multiplication is below `n / 2^64`.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.word()) * n as u128) >> 64) as usize
    }

    /// Number of the distribution Beta(alpha, alpha), for `alpha > 0`.
    pub fn beta(&mut self, alpha: f64) -> f64 {
        // Logarithms, because both numbers underflow for a small alpha.
        let (x, y) = (self.ln_gamma_variate(alpha), self.ln_gamma_variate(alpha));
        1.0 / (1.0 + libm::exp(y - x))
    }

    /// Logarithm of a number of the distribution Gamma(shape, 1), by Marsaglia and Tsang (2000). A shape below 1 is that of
    /// `shape + 1`, times `u^(1 / shape)`.
    fn ln_gamma_variate(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            let u = 1.0 - self.uniform();
            return self.ln_gamma_variate(shape + 1.0) + libm::log(u) / shape;
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v = (1.0 + c * x).powi(3);
            let u = 1.0 - self.uniform();
            if v > 0.0 && libm::log(u) < 0.5 * x * x + d - d * v + d * libm::log(v) {
                return libm::log(d * v);
            }
        }
    }

    /// Standard normal number, by Box and Muller (1958). `libm` is the same code on all platforms.
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * libm::log(1.0 - self.uniform())).sqrt();
        radius * libm::cos(std::f64::consts::TAU * self.uniform())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(step: u64) -> Stream {
        Stream::new(1, 2, step, *b"tallow.t")
    }

    #[test]
    fn streams_differ_by_every_part_of_the_key() {
        let first = |seed, epoch, step, tag| Stream::new(seed, epoch, step, tag).word();
        let all = [
            first(0, 0, 0, *b"tallow.t"),
            first(1, 0, 0, *b"tallow.t"),
            first(0, 1, 0, *b"tallow.t"),
            first(0, 0, 1, *b"tallow.t"),
            first(0, 0, 0, *b"tallow.u"),
        ];
        let distinct: std::collections::HashSet<u64> = all.into_iter().collect();
        assert_eq!(distinct.len(), 5);
        assert_eq!(stream(3).word(), stream(3).word());
    }

    /// Beta(a, a) has mean 1/2 and variance 1 / (4 (2 a + 1)).
    #[test]
    fn beta_numbers_have_the_moments_of_their_distribution() {
        const COUNT: usize = 20_000;
        for alpha in [0.05, 0.2, 1.0, 2.5, 8.0] {
            let mut stream = stream(0);
            let values: Vec<f64> = (0..COUNT).map(|_| stream.beta(alpha)).collect();
            assert!(values.iter().all(|v| (0.0..=1.0).contains(v)));
            let mean = values.iter().sum::<f64>() / COUNT as f64;
            let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / COUNT as f64;
            let expected = 1.0 / (4.0 * (2.0 * alpha + 1.0));
            // Four standard errors of the mean, and about as many of the variance.
            let error = 4.0 * (expected / COUNT as f64).sqrt();
            assert!((mean - 0.5).abs() < error, "{alpha}: mean {mean}");
            assert!(
                (variance / expected - 1.0).abs() < 0.04,
                "{alpha}: variance {variance}"
            );
        }
    }

    #[test]
    fn integers_are_below_their_bound() {
        let mut stream = stream(1);
        let mut counts = [0; 5];
        for _ in 0..5000 {
            counts[stream.below(5)] += 1;
        }
        assert!(
            counts.iter().all(|count| (900..1100).contains(count)),
            "{counts:?}"
        );
        assert_eq!(stream.below(0), 0);
    }
}
