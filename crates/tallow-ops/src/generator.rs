use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{DType, Device, Shape, Tensor};
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

use crate::{Error, Result};

/// A stream of random numbers, as `torch.Generator`: cloning gives another handle to the *same* stream.
///
/// candle's CPU generator cannot be seeded, so everything random in a model (initialisation, dropout) draws from one of these.
/// The numbers are a function of the seed and of how many were drawn before, whatever the device, platform or thread count:
/// they are drawn on the CPU and then moved, and no platform's mathematics library has a part in them.
///
/// - The words are those of ChaCha with 8 rounds (Bernstein 2008); the key is the seed's 8 bytes, little endian, then
///   `tallow/generator`, then zeros.
/// - `f32` uniforms take one 32-bit word each and use its upper 24 bits; `f64` uniforms take two words and use 53 bits.
/// - Normals are made in pairs in `f64` by Box and Muller's formula (1958), four words a pair, then rounded to the type asked for.
///   An odd count drops the last one.
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

/// Where a [`Generator`] stands: all that is needed to go on from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GeneratorState {
    /// The seed the stream was made from.
    pub seed: u64,
    /// How many 32-bit words have been taken.
    pub word_position: u64,
}

#[derive(Debug)]
struct Stream {
    seed: u64,
    rng: ChaCha8Rng,
}

impl Generator {
    /// A stream at its beginning.
    pub fn new(seed: u64) -> Self {
        Self {
            stream: Arc::new(Mutex::new(Stream {
                seed,
                rng: chacha(seed),
            })),
        }
    }

    /// Where the stream stands now.
    pub fn state(&self) -> GeneratorState {
        self.with(|stream| GeneratorState {
            seed: stream.seed,
            word_position: stream.rng.get_word_pos() as u64,
        })
    }

    /// Moves the stream, and so every handle to it, to where `state` was taken.
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

    /// Values uniform in `[lo, hi)`; `lo` itself when both are equal.
    ///
    /// Fails when `lo > hi`, when either is not finite, or when `dtype` is not a floating-point type.
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
                format!("wants finite bounds lo <= hi, got lo = {lo}, hi = {hi}"),
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

    /// Values normal with the given mean and standard deviation.
    ///
    /// Fails when `std` is negative, when either is not finite, or when `dtype` is not a floating-point type.
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
                format!("wants a finite mean and std >= 0, got mean = {mean}, std = {std}"),
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

    /// A mask that is 1 with probability `p` and 0 otherwise; one word a value.
    ///
    /// Fails when `p` is outside `[0, 1]` or when `dtype` is not a floating-point type.
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
                format!("wants a probability in [0, 1], got {p}"),
            ));
        }
        // A word below the threshold counts, so that 0 never happens and 1 always does.
        let threshold = (p * 2f64.powi(32)) as u64;
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
                format!("wants a floating-point type, got {other:?}"),
            )),
        }
    }

    fn with<T>(&self, f: impl FnOnce(&mut Stream) -> T) -> T {
        // Nothing in here can leave a stream half-changed, so a panic elsewhere does not spoil it.
        f(&mut self.stream.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn chacha(seed: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..24].copy_from_slice(b"tallow/generator");
    ChaCha8Rng::from_seed(key)
}

fn unit_f32(rng: &mut ChaCha8Rng) -> f32 {
    (rng.next_u32() >> 8) as f32 * (1. / (1u32 << 24) as f32)
}

fn unit_f64(rng: &mut ChaCha8Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 * (1. / (1u64 << 53) as f64)
}

/// Two independent standard normals. `libm` is compiled from one source everywhere; the platform's own `ln` and `sin` differ in the last bit.
fn normal_pair(rng: &mut ChaCha8Rng) -> [f64; 2] {
    let radius = (-2. * libm::log(1. - unit_f64(rng))).sqrt();
    let (sin, cos) = libm::sincos(std::f64::consts::TAU * unit_f64(rng));
    [radius * cos, radius * sin]
}

fn config(op: &'static str, message: String) -> Error {
    Error::Config { op, message }
}
