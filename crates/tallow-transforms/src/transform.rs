//! The extension point: what a pipeline needs to know of a transform.

use std::any::Any;
use std::fmt;

use crate::error::Problem;
use crate::image::Image;
use crate::moves::Move;
use crate::rng::SampleRng;

/// Transform applied to each image.
///
/// The built-in transforms implement it, and so can yours: [`Compose::from_transforms`](crate::Compose::from_transforms)
/// takes both. [`name`](Self::name) is the one required method. A transform that can change an image in any way
/// implements [`apply_u8`](Self::apply_u8) (before to-tensor), [`apply_f32`](Self::apply_f32) (after it) or both. One
/// that only moves pixels or only maps values declares its [`kind`](Self::kind) instead and runs in the same single
/// pass as the built-in transforms.
///
/// All random numbers must come from the [`SampleRng`] handed in, so that a sample depends on (seed, epoch, index)
/// alone. Draw the same number of words whatever the hyper-parameters, so that they do not change what later transforms
/// draw.
///
/// ```
/// use tallow_transforms::{Compose, Image, ImageRef, Problem, SampleRng, ToTensor, Transform};
///
/// /// Adds a random brightness in `[-max, max]`.
/// #[derive(Debug)]
/// struct Brightness {
///     max: f64,
/// }
///
/// impl Transform for Brightness {
///     fn name(&self) -> &'static str {
///         "brightness"
///     }
///
///     fn apply_f32(&self, image: &mut Image<f32>, rng: &mut SampleRng) -> Result<(), Problem> {
///         let shift = rng.uniform(-self.max, self.max) as f32;
///         for value in image.data_mut() {
///             *value = (*value + shift).clamp(0.0, 1.0);
///         }
///         Ok(())
///     }
/// }
///
/// let pipeline = Compose::from_transforms(vec![Box::new(ToTensor), Box::new(Brightness { max: 0.2 })])?;
/// let image = ImageRef::new(&[128; 4], 1, 2, 2)?;
/// let mut out = [0.0; 4];
/// pipeline.apply(image, &mut SampleRng::new(0, 0, 0), &mut out)?;
/// assert!((out[0] - 128.0 / 255.0).abs() <= 0.2);
/// # Ok::<(), tallow_transforms::Error>(())
/// ```
pub trait Transform: Any + fmt::Debug + Send + Sync {
    /// Name in error messages; for a built-in transform also its `name` in a recipe.
    fn name(&self) -> &'static str;

    /// Class of the transform, which decides the methods that a pipeline calls.
    fn kind(&self) -> Kind {
        Kind::General
    }

    /// Checks the hyper-parameters and the position in the pipeline, once, when the pipeline is built.
    ///
    /// # Errors
    /// [`Problem::BeforeToTensor`] or [`Problem::AfterToTensor`] for a wrong `stage`; the problem of a hyper-parameter.
    fn check(&self, stage: Stage) -> Result<(), Problem> {
        let _ = stage;
        Ok(())
    }

    /// Whether the output depends on random numbers. Those that do not return `false`, which saves making a generator.
    fn is_random(&self) -> bool {
        true
    }

    /// Number of channels of the output for an input of `channels`; `None` is a number not known (yet).
    ///
    /// Only [`Kind::General`] may change the number. A transform for one number of channels returns that for `None`.
    ///
    /// # Errors
    /// [`Problem::Channels`] if the transform does not accept that many channels.
    fn channels(&self, channels: Option<usize>) -> Result<Option<usize>, Problem> {
        Ok(channels)
    }

    /// Size `(H, W)` of the output of a transform of [`Kind::General`] for an input of size `(H, W)`. It must not depend
    /// on random numbers.
    ///
    /// # Errors
    /// If the transform does not accept the size.
    fn output_size(&self, size: (usize, usize)) -> Result<(usize, usize), Problem> {
        Ok(size)
    }

    /// [`Kind::Geometry`]: appends the moves for an image of size `(H, W)` to `moves`, in order. The size of the output
    /// must not depend on random numbers.
    ///
    /// # Errors
    /// If the transform does not accept the size.
    fn moves(
        &self,
        size: (usize, usize),
        rng: &mut SampleRng,
        moves: &mut Vec<Move>,
    ) -> Result<(), Problem> {
        let _ = (size, rng, moves);
        Ok(())
    }

    /// [`Kind::Values`] before to-tensor: maps values of channel `channel` in place.
    fn map_u8(&self, values: &mut [u8], channel: usize) {
        let _ = (values, channel);
    }

    /// [`Kind::Values`] after to-tensor: maps values of channel `channel` in place.
    fn map_f32(&self, values: &mut [f32], channel: usize) {
        let _ = (values, channel);
    }

    /// [`Kind::Permutation`]: a permutation of `0..pixels`. Output pixel `i` (row-major) takes the value of input pixel
    /// `permutation[i]`. Computed once per image size.
    fn permutation(&self, pixels: u32) -> Vec<u32> {
        (0..pixels).collect()
    }

    /// [`Kind::General`] before to-tensor: changes a u8 image in place.
    ///
    /// # Errors
    /// By default [`Problem::BeforeToTensor`]: the transform works on f32 alone.
    fn apply_u8(&self, image: &mut Image<u8>, rng: &mut SampleRng) -> Result<(), Problem> {
        let _ = (image, rng);
        Err(Problem::BeforeToTensor)
    }

    /// [`Kind::General`] after to-tensor: changes an f32 image in place.
    ///
    /// # Errors
    /// By default [`Problem::AfterToTensor`]: the transform works on u8 alone.
    fn apply_f32(&self, image: &mut Image<f32>, rng: &mut SampleRng) -> Result<(), Problem> {
        let _ = (image, rng);
        Err(Problem::AfterToTensor)
    }
}

/// Class of a transform.
///
/// A pipeline runs the transforms around to-tensor that are not general as one pass over the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Moves rows and columns: see [`Transform::moves`].
    Geometry,
    /// Maps each value on its own, by channel and without random numbers: see [`Transform::map_u8`] and
    /// [`Transform::map_f32`]. A map that differs between channels must give their number in [`Transform::channels`].
    Values,
    /// Permutes the pixels of every channel, the same way for every sample: see [`Transform::permutation`].
    Permutation,
    /// Conversion of u8 to f32 in `[0, 1]`, which the pipeline does itself: [`ToTensor`](crate::ToTensor).
    ToTensor,
    /// Anything else: see [`Transform::apply_u8`] and [`Transform::apply_f32`].
    General,
}

/// Element type of the image at a position of a pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Before to-tensor: u8, 0 to 255.
    U8,
    /// After to-tensor: f32.
    F32,
}
