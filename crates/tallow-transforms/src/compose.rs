use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::check::{channels_after, check, pixel_count, shape_after};
use crate::fused::{Fused, Spare};
use crate::geometry::{Frame, moves};
use crate::planes::Planes;
use crate::resize::Resizer;
use crate::rng::permutation;
use crate::transform::{Interpolation, Transform};
use crate::{Error, ImageRef, Problem, Result, SampleRng};

/// A checked pipeline: u8 `C x H x W` in, f32 `C x H x W` out.
///
/// Transforms run in the order given. Before [`Transform::ToTensor`], which every pipeline has once, they work on
/// u8; after it on f32. Geometry may stand on either side. In a configuration a pipeline is the list of its
/// transforms.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Vec<Transform>", into = "Vec<Transform>")]
pub struct Compose {
    transforms: Vec<Transform>,
    to_tensor: usize,
    fused: Option<Fused>,
    /// The permutation of each [`Transform::PermutePixels`], made when the first image shows its length.
    orders: Vec<OnceLock<Vec<u32>>>,
}

impl Compose {
    /// Checks the transforms, their values and their order, and makes the tables of the fast path.
    pub fn new(transforms: Vec<Transform>) -> Result<Self> {
        let mut to_tensor = None;
        let mut channels = None;
        for (position, transform) in transforms.iter().enumerate() {
            check(transform, to_tensor.is_some()).map_err(at(position, transform))?;
            match transform {
                Transform::ToTensor => to_tensor = Some(position),
                Transform::Normalize { mean, .. } if mean.len() > 1 => {
                    channels = channels.or(Some(mean.len()));
                }
                _ => {}
            }
            if let Some(known) = channels {
                channels = Some(channels_after(transform, known).map_err(at(position, transform))?);
            }
            if let Transform::Grayscale {
                num_output_channels,
            } = transform
            {
                channels = Some(*num_output_channels);
            }
        }
        let to_tensor = to_tensor.ok_or(Error::NoToTensor)?;
        let fused = Fused::plan(&transforms, to_tensor);
        let orders = vec![OnceLock::new(); transforms.len()];
        Ok(Self {
            transforms,
            to_tensor,
            fused,
            orders,
        })
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
        self.transforms
            .iter()
            .enumerate()
            .try_fold(shape, |shape, (position, transform)| {
                shape_after(transform, shape).map_err(at(position, transform))
            })
    }

    /// Transforms one image into `out`, `C x H x W` of the length that [`output_shape`](Self::output_shape) gives.
    ///
    /// Geometry, to-tensor, normalisation and a last pixel permutation run as one pass that reads the image and
    /// writes `out`; only what stands before them and does not belong there (bilinear resizing, say) goes through
    /// buffers, which are kept for each thread. Nothing is allocated once a thread has seen images of one size.
    ///
    /// Fails if the image does not suit the pipeline or `out` has another length; `out` is then as it was.
    pub fn apply(&self, image: ImageRef<'_>, rng: &mut SampleRng, out: &mut [f32]) -> Result<()> {
        image.check()?;
        SCRATCH.with_borrow_mut(|scratch| match &self.fused {
            Some(fused) => self.apply_fused(fused, image, rng, scratch, out),
            None => self.apply_steps(image, rng, scratch, out),
        })
    }

    /// [`apply`](Self::apply) the plain way, one transform after the other on whole images: what the fast path is
    /// held against, and equal to it to the bit.
    pub fn apply_reference(
        &self,
        image: ImageRef<'_>,
        rng: &mut SampleRng,
        out: &mut [f32],
    ) -> Result<()> {
        image.check()?;
        self.apply_steps(image, rng, &mut Scratch::default(), out)
    }

    fn apply_fused(
        &self,
        fused: &Fused,
        image: ImageRef<'_>,
        rng: &mut SampleRng,
        scratch: &mut Scratch,
        out: &mut [f32],
    ) -> Result<()> {
        let Scratch {
            bytes,
            resizer,
            frame,
            spare,
            ..
        } = scratch;
        let image = if fused.start == 0 {
            image
        } else {
            self.run_on_bytes(fused.start, image, rng, bytes, resizer)?;
            bytes.view()
        };

        frame.reset(image.height, image.width);
        for (position, transform) in self.transforms.iter().enumerate().skip(fused.start) {
            channels_after(transform, image.channels).map_err(at(position, transform))?;
            let steps = moves(transform, frame.size(), rng).map_err(at(position, transform))?;
            for step in steps.into_iter().flatten() {
                frame.add(step, position);
            }
        }
        let (height, width) = frame.size();
        let expected = image.channels * height * width;
        if out.len() != expected {
            return Err(Error::OutputLength {
                expected,
                found: out.len(),
            });
        }
        let order = match fused.permutation {
            Some(position) => Some(self.order(position, height * width)?),
            None => None,
        };
        fused.write(image, frame, order.as_deref(), spare, out);
        Ok(())
    }

    fn apply_steps(
        &self,
        image: ImageRef<'_>,
        rng: &mut SampleRng,
        scratch: &mut Scratch,
        out: &mut [f32],
    ) -> Result<()> {
        let Scratch {
            bytes,
            floats,
            resizer,
            ..
        } = scratch;
        self.run_on_bytes(self.to_tensor, image, rng, bytes, resizer)?;
        floats.load(
            bytes.data.iter().map(|&byte| f32::from(byte) / 255.0),
            bytes.shape(),
        );
        for (position, transform) in self.transforms.iter().enumerate().skip(self.to_tensor + 1) {
            channels_after(transform, floats.channels).map_err(at(position, transform))?;
            let steps = moves(transform, floats.size(), rng).map_err(at(position, transform))?;
            for step in steps.into_iter().flatten() {
                floats.step(step, |fill| fill);
            }
            match transform {
                Transform::Normalize { mean, std } => floats.normalize(mean, std),
                Transform::Grayscale {
                    num_output_channels,
                } => {
                    floats.grayscale(*num_output_channels, |r, g, b| {
                        0.2989 * r + 0.587 * g + 0.114 * b
                    });
                }
                Transform::PermutePixels { .. } => {
                    floats.permute(&self.order(position, floats.height * floats.width)?);
                }
                _ => {}
            }
        }
        floats.copy_to(out)
    }

    /// The first `count` transforms, all of them before to-tensor.
    fn run_on_bytes(
        &self,
        count: usize,
        image: ImageRef<'_>,
        rng: &mut SampleRng,
        bytes: &mut Planes<u8>,
        resizer: &mut Resizer,
    ) -> Result<()> {
        bytes.load(image.data.iter().copied(), image.shape());
        for (position, transform) in self.transforms[..count].iter().enumerate() {
            channels_after(transform, bytes.channels).map_err(at(position, transform))?;
            let steps = moves(transform, bytes.size(), rng).map_err(at(position, transform))?;
            for step in steps.into_iter().flatten() {
                bytes.step(step, |fill| fill as u8);
            }
            match transform {
                Transform::Resize {
                    size,
                    interpolation: Interpolation::Bilinear,
                } => {
                    let size = size
                        .scaled(bytes.height, bytes.width)
                        .map_err(at(position, transform))?;
                    bytes.resize(size, resizer);
                }
                Transform::Grayscale {
                    num_output_channels,
                } => {
                    bytes.grayscale(*num_output_channels, |r, g, b| {
                        let [r, g, b] = [r, g, b].map(u32::from);
                        ((19_595 * r + 38_470 * g + 7_471 * b + 32_768) >> 16) as u8
                    });
                }
                Transform::PermutePixels { .. } => {
                    bytes.permute(&self.order(position, bytes.height * bytes.width)?);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The permutation at `position` for images of `pixels`. Images of another size than the first seen need one
    /// each of their own.
    fn order(&self, position: usize, pixels: usize) -> Result<Cow<'_, [u32]>> {
        let transform = &self.transforms[position];
        let Transform::PermutePixels { seed } = *transform else {
            return Ok(Cow::Borrowed(&[]));
        };
        let n = pixel_count(pixels).map_err(at(position, transform))?;
        let first = self.orders[position].get_or_init(|| permutation(seed, n));
        Ok(if first.len() == pixels {
            Cow::Borrowed(first)
        } else {
            Cow::Owned(permutation(seed, n))
        })
    }
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// What a thread keeps from sample to sample.
#[derive(Default)]
struct Scratch {
    bytes: Planes<u8>,
    floats: Planes<f32>,
    resizer: Resizer,
    frame: Frame,
    spare: Spare,
}

fn at(position: usize, transform: &Transform) -> impl FnOnce(Problem) -> Error {
    let name = transform.name();
    move |problem| Error::Transform {
        position,
        name,
        problem,
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
