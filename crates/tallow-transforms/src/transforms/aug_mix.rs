use std::cell::RefCell;

use serde::{Deserialize, Serialize};

use super::policy_options::check_policy;
use crate::error::Problem;
use crate::image::Image;
use crate::options::Interpolation;
use crate::policy::{Canvas, Look, Space};
use crate::rng::SampleRng;
use crate::transform::{Stage, Transform};
use crate::values::check_grey_or_rgb;

/// Weighted sum of the image and of chains of random operations on it (Hendrycks et al. 2019, arXiv 1912.02781;
/// torchvision's `AugMix`). Before to-tensor only.
///
/// torchvision computes the operations as on u8 tensors; here they are those on PIL images, as everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AugMix {
    /// Number of strengths, from the weakest of ten, that the operations may have: 1 to 10.
    #[serde(default = "three")]
    pub severity: usize,
    /// Number of chains, at least 1.
    #[serde(default = "three")]
    pub mixture_width: usize,
    /// Operations of a chain; one to three, drawn for each chain, if it is not above 0.
    #[serde(default = "random_depth")]
    pub chain_depth: i64,
    /// Parameter of the Dirichlet and Beta distributions of the weights, above 0.
    #[serde(default = "alpha")]
    pub alpha: f64,
    /// Whether brightness, colour, contrast and sharpness are among the operations.
    #[serde(default = "yes")]
    pub all_ops: bool,
    /// Interpolation of the operations that move pixels.
    #[serde(default)]
    pub interpolation: Interpolation,
    /// Value outside the image, 0 to 255.
    #[serde(default)]
    pub fill: f32,
}

impl AugMix {
    /// Three chains of one to three operations of the given severity.
    pub fn new(severity: usize) -> Self {
        Self {
            severity,
            mixture_width: three(),
            chain_depth: random_depth(),
            alpha: alpha(),
            all_ops: yes(),
            interpolation: Interpolation::Bilinear,
            fill: 0.0,
        }
    }
}

/// Buffers that a thread keeps.
#[derive(Default)]
struct Scratch {
    chain: Image<u8>,
    sum: Vec<f32>,
    weights: Vec<f64>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Transform for AugMix {
    fn name(&self) -> &'static str {
        "aug-mix"
    }

    fn check(&self, stage: Stage) -> Result<(), Problem> {
        check_policy(stage, self.fill)?;
        let counts = [
            (
                "severity",
                self.severity as i64,
                1..=10,
                "a whole number in 1..=10",
            ),
            (
                "mixture_width",
                self.mixture_width as i64,
                1..=1000,
                "a whole number in 1..=1000",
            ),
            (
                "chain_depth",
                self.chain_depth,
                i64::MIN..=1000,
                "a whole number up to 1000",
            ),
        ];
        for (key, value, range, expected) in counts {
            if !range.contains(&value) {
                return Err(Problem::parameter(key, value, expected));
            }
        }
        // Gamma variates of a smaller parameter can all be 0, and so have no proportions.
        match (0.1..=1e6).contains(&self.alpha) {
            true => Ok(()),
            false => Err(Problem::parameter(
                "alpha",
                self.alpha,
                "a number in [0.1, 1e6]",
            )),
        }
    }

    fn channels(&self, channels: Option<usize>) -> Result<Option<usize>, Problem> {
        check_grey_or_rgb(channels)
    }

    /// Draws a fork, and from it the weights of image and chains (two Gamma variates), those of the chains (one Gamma
    /// variate each), and for each chain its depth (one word, also where it is given) and three words for each operation:
    /// which, the strength and the sign.
    fn apply_u8(&self, image: &mut Image<u8>, rng: &mut SampleRng) -> Result<(), Problem> {
        let mut rng = rng.fork();
        let size = image.size();
        let look = Look {
            interpolation: self.interpolation,
            fill: self.fill,
        };
        let space = match self.all_ops {
            true => Space::Mix,
            false => Space::MixPartial,
        };
        SCRATCH.with_borrow_mut(
            |Scratch {
                 chain,
                 sum,
                 weights,
             }| {
                let [kept, mixed] = [(); 2].map(|()| rng.gamma(self.alpha));
                let (kept, mixed) = (kept / (kept + mixed), mixed / (kept + mixed));
                weights.clear();
                weights.extend((0..self.mixture_width).map(|_| rng.gamma(self.alpha)));
                let total: f64 = weights.iter().sum();

                sum.clear();
                sum.extend(
                    image
                        .data()
                        .iter()
                        .map(|&value| kept as f32 * f32::from(value)),
                );
                for weight in weights.iter() {
                    chain.load(image.data().iter().copied(), image.shape());
                    let drawn = 1 + rng.below(3) as usize;
                    let depth = usize::try_from(self.chain_depth)
                        .ok()
                        .filter(|&depth| depth > 0);
                    let mut canvas = Canvas::new(chain, look)?;
                    for _ in 0..depth.unwrap_or(drawn) {
                        let operation = space.draw(&mut rng);
                        let bin = rng.below(self.severity as u32) as usize;
                        let magnitude = space.magnitude(operation, bin, 10, size);
                        canvas.apply(operation, operation.sign(magnitude, &mut rng))?;
                    }
                    canvas.flush();
                    let weight = (weight / total * mixed) as f32;
                    for (sum, &value) in sum.iter_mut().zip(chain.data()) {
                        *sum += weight * f32::from(value);
                    }
                }
                for (value, &sum) in image.data_mut().iter_mut().zip(&*sum) {
                    // The fraction is dropped, as torchvision does.
                    *value = sum as u8;
                }
                Ok(())
            },
        )
    }
}

fn three() -> usize {
    3
}

fn random_depth() -> i64 {
    -1
}

fn alpha() -> f64 {
    1.0
}

fn yes() -> bool {
    true
}
