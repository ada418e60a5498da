use serde::{Deserialize, Serialize};

use crate::{Error, ImageRef, Result, SampleRng, Transform};

/// A checked pipeline: u8 `C x H x W` in, f32 `C x H x W` out.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Vec<Transform>", into = "Vec<Transform>")]
pub struct Compose {
    transforms: Vec<Transform>,
}

impl Compose {
    /// Checks the transforms, their values and their order.
    pub fn new(transforms: Vec<Transform>) -> Result<Self> {
        Ok(Self { transforms })
    }

    /// The transforms in order.
    pub fn transforms(&self) -> &[Transform] {
        &self.transforms
    }

    /// Whether a sample's result depends on its random numbers.
    pub fn is_random(&self) -> bool {
        self.transforms.iter().any(Transform::is_random)
    }

    /// Shape `(C, H, W)` of the output for images of `shape`; an error if they do not suit the pipeline.
    pub fn output_shape(&self, shape: (usize, usize, usize)) -> Result<(usize, usize, usize)> {
        Ok(shape)
    }

    /// Transforms one image into `out`, which must have the length of [`output_shape`](Self::output_shape).
    pub fn apply(&self, image: ImageRef<'_>, _rng: &mut SampleRng, out: &mut [f32]) -> Result<()> {
        image.check()?;
        if out.len() != image.data.len() {
            return Err(Error::OutputLength {
                expected: image.data.len(),
                found: out.len(),
            });
        }
        for (out, &value) in out.iter_mut().zip(image.data) {
            *out = f32::from(value) / 255.0;
        }
        Ok(())
    }
}

impl TryFrom<Vec<Transform>> for Compose {
    type Error = Error;

    fn try_from(transforms: Vec<Transform>) -> Result<Self> {
        Self::new(transforms)
    }
}

impl From<Compose> for Vec<Transform> {
    fn from(pipeline: Compose) -> Self {
        pipeline.transforms
    }
}
