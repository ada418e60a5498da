use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{DType, Device, Shape, Tensor};
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

use crate::error::{Error, Result};

/// Random number generator, as `torch.Generator`. A clone is another handle to the *same* stream.
///
/// candle's CPU generator cannot be seeded, so initialization and dropout draw from one of these. The numbers depend on the seed
/// and on how many were drawn before, but not on the device, the platform or the number of threads: they are computed on the CPU
/// without the mathematics library of the platform, and then copied to the device.
///
/// - The words are those of ChaCha with 8 rounds (Bernstein 2008); the key is the seed's 8 bytes, little endian, then
///   `tallow/generator`, then zeros.
/// - `f32` uniforms take one 32-bit word each and use its upper 24 bits; `f64` uniforms take two words and use 53 bits.
/// - Normals are computed in pairs in `f64` by the formula of Box and Muller (1958), four words per pair, then rounded to the type of
///   the tensor. The last one of an odd count is dropped.
/// - `f16` and `bf16` are rounded from `f32`.
///
/// ```
/// use candle_core::{DType, Device};
/// use tallow_ops::Generator;
///
/// let a = Generator::new(7);
/// let state = a.state();
/// let first = a.uniform(0., 1., (2, 3), DType::F32, &Device::Cpu)?;
/// a.set_state(&state);
/// let again = a.uniform(0., 1., (2, 3), DType::F32, &Device::Cpu)?;
/// assert_eq!(first.to_vec2::<f32>()?, again.to_vec2::<f32>()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Generator {
    stream: Arc<Mutex<Stream>>,
}

/// State of a [`Generator`]: the seed and the position in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GeneratorState {
    /// Seed of the stream.
    pub seed: u64,
    /// Number of 32-bit words drawn.
    pub word_position: u64,
}

#[derive(Debug)]
struct Stream {
    seed: u64,
    rng: ChaCha8Rng,
}

impl Generator {
    /// Generator at the beginning of the stream of `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            stream: Arc::new(Mutex::new(Stream {
                seed,
                rng: chacha(seed),
            })),
        }
    }

    /// State of the stream.
    pub fn state(&self) -> GeneratorState {
        self.with(|stream| GeneratorState {
            seed: stream.seed,
            word_position: stream.rng.get_word_pos() as u64,
        })
    }

    /// Sets the stream, and so every handle to it, to `state`.
    pub fn set_state(&self, state: &GeneratorState) {
        let mut rng = chacha(state.seed);
        rng.set_word_pos(state.word_position.into());
        self.with(|stream| {
            *stream = Stream {
                seed: state.seed,
                rng,
            }
        });
    }

    /// Tensor of values uniform in `[lo, hi)`; all `lo` if the two are equal.
    ///
    /// # Errors
    /// [`Error::Config`] if `lo > hi`, if either is not finite, or if `dtype` is not a floating-point type.
    pub fn uniform(
        &self,
        lo: f64,
        hi: f64,
        shape: impl Into<Shape>,
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor> {
        if !(lo.is_finite() && hi.is_finite() && lo <= hi) {
            return Err(config(
                "uniform",
                format!("expected finite bounds with lo <= hi, found lo = {lo}, hi = {hi}"),
            ));
        }
        let (lo32, hi32) = (lo as f32, hi as f32);
        self.draw(
            "uniform",
            shape.into(),
            dtype,
            device,
            // Rounding can reach the upper bound, which is outside: step back, but never below the lower one.
            |rng, out| {
                for value in out {
                    *value = (lo32 + (hi32 - lo32) * unit_f32(rng))
                        .min(hi32.next_down())
                        .max(lo32);
                }
            },
            |rng, out| {
                for value in out {
                    *value = (lo + (hi - lo) * unit_f64(rng)).min(hi.next_down()).max(lo);
                }
            },
        )
    }

    /// Tensor of normal values with the given mean and standard deviation.
    ///
    /// # Errors
    /// [`Error::Config`] if `std` is negative, if either is not finite, or if `dtype` is not a floating-point type.
    pub fn normal(
        &self,
        mean: f64,
        std: f64,
        shape: impl Into<Shape>,
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor> {
        if !(mean.is_finite() && std.is_finite() && std >= 0.) {
            return Err(config(
                "normal",
                format!("expected a finite mean and std >= 0, found mean = {mean}, std = {std}"),
            ));
        }
        self.draw(
            "normal",
            shape.into(),
            dtype,
            device,
            |rng, out| {
                for pair in out.chunks_mut(2) {
                    for (value, z) in pair.iter_mut().zip(normal_pair(rng)) {
                        *value = (mean + std * z) as f32;
                    }
                }
            },
            |rng, out| {
                for pair in out.chunks_mut(2) {
                    for (value, z) in pair.iter_mut().zip(normal_pair(rng)) {
                        *value = mean + std * z;
                    }
                }
            },
        )
    }

    /// Tensor that is 1 with probability `p` and 0 otherwise; one word per value.
    ///
    /// # Errors
    /// [`Error::Config`] if `p` is outside `[0, 1]` or `dtype` is not a floating-point type.
    pub fn bernoulli(
        &self,
        p: f64,
        shape: impl Into<Shape>,
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor> {
        if !(0. ..=1.).contains(&p) {
            return Err(config(
                "bernoulli",
                format!("expected a probability in [0, 1], found {p}"),
            ));
        }
        let threshold = Self::threshold(p);
        let hit = move |rng: &mut ChaCha8Rng| u64::from(rng.next_u32()) < threshold;
        self.draw(
            "bernoulli",
            shape.into(),
            dtype,
            device,
            |rng, out| {
                out.iter_mut()
                    .for_each(|value| *value = f32::from(u8::from(hit(rng))))
            },
            |rng, out| {
                out.iter_mut()
                    .for_each(|value| *value = f64::from(u8::from(hit(rng))))
            },
        )
    }

    /// Words that count for probability `p`: those below. So 0 never happens and 1 always does.
    pub(crate) fn threshold(p: f64) -> u64 {
        (p * 2f64.powi(32)) as u64
    }

    /// Moves on by `count` words without drawing them. Returns the state before.
    pub(crate) fn skip(&self, count: u64) -> GeneratorState {
        self.with(|stream| {
            let start = stream.rng.get_word_pos();
            stream.rng.set_word_pos(start + u128::from(count));
            GeneratorState {
                seed: stream.seed,
                word_position: start as u64,
            }
        })
    }

    /// As [`skip`](Self::skip). Returns the key of the stream, as little-endian words, and the position before.
    #[cfg(feature = "cuda")]
    pub(crate) fn skip_words(&self, count: u64) -> ([u32; 8], u64) {
        let before = self.skip(count);
        let key = key(before.seed);
        let word = |i: usize| {
            u32::from_le_bytes([key[4 * i], key[4 * i + 1], key[4 * i + 2], key[4 * i + 3]])
        };
        (std::array::from_fn(word), before.word_position)
    }

    fn draw(
        &self,
        op: &'static str,
        shape: Shape,
        dtype: DType,
        device: &Device,
        fill32: impl Fn(&mut ChaCha8Rng, &mut [f32]),
        fill64: impl Fn(&mut ChaCha8Rng, &mut [f64]),
    ) -> Result<Tensor> {
        let count = shape.elem_count();
        #[cfg(feature = "cuda")]
        if let Device::Cuda(device) = device
            && tallow_cuda::graph::is_recording(device)
        {
            let message = "random numbers of the host cannot be part of a CUDA graph, which would repeat them";
            return Err(config(op, message.to_string()));
        }
        match dtype {
            DType::F64 => {
                let mut values = vec![0f64; count];
                self.with(|stream| fill64(&mut stream.rng, &mut values));
                Ok(Tensor::from_vec(values, shape, device)?)
            }
            DType::F32 | DType::F16 | DType::BF16 => {
                let mut values = vec![0f32; count];
                self.with(|stream| fill32(&mut stream.rng, &mut values));
                Ok(Tensor::from_vec(values, shape, device)?.to_dtype(dtype)?)
            }
            other => Err(config(
                op,
                format!("expected a floating-point type, found {other:?}"),
            )),
        }
    }

    fn with<T>(&self, f: impl FnOnce(&mut Stream) -> T) -> T {
        // Nothing in here can leave a stream half-changed, so a panic elsewhere does not spoil it.
        f(&mut self.stream.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn chacha(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::from_seed(key(seed))
}

fn key(seed: u64) -> [u8; 32] {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..24].copy_from_slice(b"tallow/generator");
    key
}

fn unit_f32(rng: &mut ChaCha8Rng) -> f32 {
    (rng.next_u32() >> 8) as f32 * (1. / (1u32 << 24) as f32)
}

fn unit_f64(rng: &mut ChaCha8Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 * (1. / (1u64 << 53) as f64)
}

/// Two independent standard normals. `libm` is the same code on all platforms, whose own `ln` and `sin` differ in the last bit.
fn normal_pair(rng: &mut ChaCha8Rng) -> [f64; 2] {
    let radius = (-2. * libm::log(1. - unit_f64(rng))).sqrt();
    let (sin, cos) = libm::sincos(std::f64::consts::TAU * unit_f64(rng));
    [radius * cos, radius * sin]
}

fn config(op: &'static str, message: String) -> Error {
    Error::Config { op, message }
}
