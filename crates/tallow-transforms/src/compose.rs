use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::arrangement::Arrangement;
use crate::error::{Error, Problem, Result};
use crate::frame::Frame;
use crate::fused::{Fused, Spare};
use crate::image::{Image, ImageRef};
use crate::moves::Move;
use crate::rng::SampleRng;
use crate::transform::{Kind, Stage, Transform};
use crate::transforms::TransformConfig;

/// Checked pipeline of transforms: a u8 image `(C, H, W)` in, f32 values `(C, H, W)` out.
///
/// Transforms run in the order given. Before to-tensor, which every pipeline has once, they work on u8, after it on
/// f32.
///
/// In a recipe a pipeline is the list of its transforms, and serialization writes that list. A transform that is not
/// built in is written as its name and its [`Debug`] form: enough to compare two pipelines, but not to read it back.
#[derive(Clone, Debug)]
pub struct Compose {
    transforms: Vec<Arc<dyn Transform>>,
    to_tensor: usize,
    fused: Fused,
    /// Whether the fused part is all, without a permutation, and every transform is built in.
    arranges: bool,
    /// Permutation of each transform of that kind, computed when the first image shows its length.
    orders: Vec<OnceLock<Vec<u32>>>,
}

impl Compose {
    /// Pipeline of built-in transforms.
    ///
    /// # Errors
    /// If a hyper-parameter is invalid, a transform is on the wrong side of to-tensor, or there is not exactly one
    /// to-tensor.
    pub fn new(transforms: impl IntoIterator<Item = TransformConfig>) -> Result<Self> {
        Self::from_transforms(transforms.into_iter().map(Into::into).collect())
    }

    /// Pipeline of any transforms: built-in ones, and your own implementations of [`Transform`].
    ///
    /// ```
    /// use tallow_transforms::{Compose, Normalize, RandomCrop, ToTensor};
    ///
    /// let pipeline = Compose::from_transforms(vec![
    ///     Box::new(RandomCrop::new(32, 4)),
    ///     Box::new(ToTensor),
    ///     Box::new(Normalize::new([0.5], [0.25])),
    /// ])?;
    /// assert_eq!(pipeline.output_shape((3, 40, 40))?, (3, 32, 32));
    /// # Ok::<(), tallow_transforms::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn from_transforms(transforms: Vec<Box<dyn Transform>>) -> Result<Self> {
        let transforms: Vec<Arc<dyn Transform>> = transforms.into_iter().map(Arc::from).collect();
        let mut to_tensor = None;
        let mut channels = None;
        for (position, transform) in transforms.iter().enumerate() {
            let transform = transform.as_ref();
            let stage = match to_tensor {
                None => Stage::U8,
                Some(_) => Stage::F32,
            };
            transform.check(stage).map_err(at(position, transform))?;
            if transform.kind() == Kind::ToTensor {
                if to_tensor.is_some() {
                    return Err(at(position, transform)(Problem::SecondToTensor));
                }
                to_tensor = Some(position);
            }
            channels = transform
                .channels(channels)
                .map_err(at(position, transform))?;
        }
        let to_tensor = to_tensor.ok_or(Error::NoToTensor)?;
        let fused = Fused::plan(&transforms, to_tensor);
        let built_in =
            |transform: &Arc<dyn Transform>| TransformConfig::of(transform.as_ref()).is_some();
        Ok(Self {
            arranges: fused.range == (0..transforms.len())
                && fused.permutation.is_none()
                && transforms.iter().all(built_in),
            fused,
            orders: vec![OnceLock::new(); transforms.len()],
            transforms,
            to_tensor,
        })
    }

    /// The transforms in order.
    pub fn transforms(&self) -> impl ExactSizeIterator<Item = &dyn Transform> {
        self.transforms.iter().map(AsRef::as_ref)
    }

    /// Configurations of the built-in transforms in order; those that are not built in are left out.
    pub fn configs(&self) -> Vec<TransformConfig> {
        self.transforms().filter_map(TransformConfig::of).collect()
    }

    /// Whether the output depends on the random numbers of the sample.
    pub fn is_random(&self) -> bool {
        self.transforms().any(Transform::is_random)
    }

    /// Shape `(C, H, W)` of the output for images of `shape`.
    ///
    /// # Errors
    /// If a transform does not accept its input.
    pub fn output_shape(&self, shape: (usize, usize, usize)) -> Result<(usize, usize, usize)> {
        self.transforms()
            .enumerate()
            .try_fold(shape, |shape, (position, transform)| {
                shape_after(transform, shape).map_err(at(position, transform))
            })
    }

    /// Transforms one image into `out`, `(C, H, W)` in row-major order with the length of
    /// [`output_shape`](Self::output_shape).
    ///
    /// Around to-tensor, transforms of any kind but [`Kind::General`] run as one pass that reads the image and writes
    /// `out`. The others use buffers that are kept by each thread.
    ///
    /// # Errors
    /// If a transform does not accept its input or `out` has another length; `out` is unchanged then.
    pub fn apply(&self, image: ImageRef<'_>, rng: &mut SampleRng, out: &mut [f32]) -> Result<()> {
        image.check()?;
        // Taken and put back, so that a transform may itself run a pipeline.
        let mut scratch = SCRATCH.take();
        let result = self.apply_fused(image, rng, &mut scratch, out);
        SCRATCH.set(scratch);
        result
    }

    /// [`apply`](Self::apply) one transform at a time on whole images: the reference of the fast path, equal to it to
    /// the bit.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub fn apply_reference(
        &self,
        image: ImageRef<'_>,
        rng: &mut SampleRng,
        out: &mut [f32],
    ) -> Result<()> {
        image.check()?;
        let Scratch {
            mut bytes,
            mut floats,
            mut moves,
            ..
        } = Scratch::default();
        bytes.load(image.data.iter().copied(), image.shape());
        self.run(0..self.to_tensor, &mut bytes, rng, &mut moves)?;
        floats.load(
            bytes.data().iter().map(|&byte| f32::from(byte) / 255.0),
            bytes.shape(),
        );
        let rest = self.to_tensor + 1..self.transforms.len();
        self.run(rest, &mut floats, rng, &mut moves)?;
        floats.copy_to(out)
    }

    fn apply_fused(
        &self,
        image: ImageRef<'_>,
        rng: &mut SampleRng,
        scratch: &mut Scratch,
        out: &mut [f32],
    ) -> Result<()> {
        let Scratch {
            bytes,
            floats,
            moves,
            frame,
            spare,
        } = scratch;
        let range = self.fused.range.clone();
        let image = if range.start == 0 {
            image
        } else {
            bytes.load(image.data.iter().copied(), image.shape());
            self.run(0..range.start, bytes, rng, moves)?;
            bytes.view()
        };

        self.draw(image.shape(), rng, moves, frame)?;
        let (height, width) = frame.size();
        let order = match self.fused.permutation {
            Some(position) => Some(self.order(position, height * width)?),
            None => None,
        };
        let shape = (image.channels, height, width);
        let mut write = |out: &mut [f32]| {
            self.fused
                .write(&self.transforms, image, frame, order.as_deref(), spare, out);
        };
        if range.end == self.transforms.len() {
            let expected = image.channels * height * width;
            if out.len() != expected {
                return Err(Error::OutputLength {
                    expected,
                    found: out.len(),
                });
            }
            write(out);
            return Ok(());
        }
        floats.replace(shape, |_, new| write(new));
        self.run(range.end..self.transforms.len(), floats, rng, moves)?;
        floats.copy_to(out)
    }

    /// Draws the moves of the part that runs as one pass, for an image of `shape`, and adds them up in `frame`.
    fn draw(
        &self,
        (channels, height, width): (usize, usize, usize),
        rng: &mut SampleRng,
        moves: &mut Vec<Move>,
        frame: &mut Frame,
    ) -> Result<()> {
        frame.reset(height, width);
        for position in self.fused.range.clone() {
            let transform = self.transforms[position].as_ref();
            let at = at(position, transform);
            channels_after(transform, channels).map_err(&at)?;
            if transform.kind() == Kind::Geometry {
                moves.clear();
                transform.moves(frame.size(), rng, moves).map_err(&at)?;
                for &step in moves.iter() {
                    step.output_size(frame.size()).map_err(&at)?;
                    frame.add(step, position);
                }
            }
        }
        Ok(())
    }

    /// Value of the output for each byte of a channel, one table for all channels or one for each, of a pipeline of built-in transforms that
    /// moves whole rows and columns and maps values, and does nothing else: what it makes of an image is an [`Arrangement`]. `None` for others.
    pub fn tables(&self) -> Option<&[[f32; 256]]> {
        self.arranges.then_some(self.fused.tables())
    }

    /// Arrangement of the pixels of an image of `shape` `(C, H, W)`, with the numbers that [`apply`](Self::apply) draws. With the
    /// [tables](Self::tables) of the pipeline it is all that the output depends on besides the image.
    ///
    /// # Errors
    /// As [`apply`](Self::apply); [`Error::NoArrangement`] where there are no tables.
    pub fn arrange(
        &self,
        shape: (usize, usize, usize),
        rng: &mut SampleRng,
        into: &mut Arrangement,
    ) -> Result<()> {
        if !self.arranges {
            return Err(Error::NoArrangement);
        }
        // Taken and put back, so that a transform may itself run a pipeline.
        let mut scratch = SCRATCH.take();
        let drawn = self.draw(shape, rng, &mut scratch.moves, &mut scratch.frame);
        if drawn.is_ok() {
            let frame = &scratch.frame;
            into.rows.clone_from(&frame.rows.map);
            into.columns.clone_from(&frame.columns.map);
            into.fills.clear();
            for &fill in &frame.fills {
                let value = |channel| self.fused.map_fill(&self.transforms, fill, channel);
                into.fills.extend((0..shape.0).map(value));
            }
        }
        SCRATCH.set(scratch);
        drawn
    }

    /// Runs the transforms of `range`, all on one side of to-tensor, one at a time.
    fn run<T: Value>(
        &self,
        range: std::ops::Range<usize>,
        image: &mut Image<T>,
        rng: &mut SampleRng,
        moves: &mut Vec<Move>,
    ) -> Result<()> {
        for position in range {
            let transform = self.transforms[position].as_ref();
            let at = at(position, transform);
            match transform.kind() {
                Kind::General => {
                    let expected = shape_after(transform, image.shape()).map_err(&at)?;
                    T::apply(transform, image, rng).map_err(&at)?;
                    let found = image.shape();
                    if found != expected {
                        return Err(at(Problem::OutputShape { expected, found }));
                    }
                    continue;
                }
                _ => channels_after(transform, image.channels()).map_err(&at)?,
            };
            match transform.kind() {
                Kind::Geometry => {
                    moves.clear();
                    transform.moves(image.size(), rng, moves).map_err(&at)?;
                    for &step in moves.iter() {
                        image.step(step, T::from_fill).map_err(&at)?;
                    }
                }
                Kind::Values => {
                    for (channel, plane) in image.planes_mut().enumerate() {
                        T::map(transform, plane, channel);
                    }
                }
                Kind::Permutation => {
                    let (height, width) = image.size();
                    image.permute(&self.order(position, height * width)?);
                }
                Kind::ToTensor | Kind::General => {}
            }
        }
        Ok(())
    }

    /// Permutation at `position` for images of `pixels`, computed again for every image that is not of the size of the
    /// first one.
    fn order(&self, position: usize, pixels: usize) -> Result<Cow<'_, [u32]>> {
        let transform = self.transforms[position].as_ref();
        let at = at(position, transform);
        let n = pixel_count(pixels).map_err(&at)?;
        if let Some(first) = self.orders[position].get()
            && first.len() == pixels
        {
            return Ok(Cow::Borrowed(first));
        }
        let order = transform.permutation(n);
        if order.len() != pixels || order.iter().any(|&index| index >= n) {
            return Err(at(Problem::Permutation(pixels)));
        }
        let first = self.orders[position].get_or_init(|| order.clone());
        Ok(if first.len() == pixels {
            Cow::Borrowed(first)
        } else {
            Cow::Owned(order)
        })
    }
}

/// Element type of an image in a pipeline.
trait Value: Copy + Default {
    fn from_fill(fill: f32) -> Self;
    fn map(transform: &dyn Transform, values: &mut [Self], channel: usize);
    fn apply(
        transform: &dyn Transform,
        image: &mut Image<Self>,
        rng: &mut SampleRng,
    ) -> Result<(), Problem>;
}

impl Value for u8 {
    fn from_fill(fill: f32) -> Self {
        fill as u8
    }

    fn map(transform: &dyn Transform, values: &mut [Self], channel: usize) {
        transform.map_u8(values, channel);
    }

    fn apply(
        transform: &dyn Transform,
        image: &mut Image<Self>,
        rng: &mut SampleRng,
    ) -> Result<(), Problem> {
        transform.apply_u8(image, rng)
    }
}

impl Value for f32 {
    fn from_fill(fill: f32) -> Self {
        fill
    }

    fn map(transform: &dyn Transform, values: &mut [Self], channel: usize) {
        transform.map_f32(values, channel);
    }

    fn apply(
        transform: &dyn Transform,
        image: &mut Image<Self>,
        rng: &mut SampleRng,
    ) -> Result<(), Problem> {
        transform.apply_f32(image, rng)
    }
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Buffers that a thread keeps from sample to sample.
#[derive(Default)]
struct Scratch {
    bytes: Image<u8>,
    floats: Image<f32>,
    moves: Vec<Move>,
    frame: Frame,
    spare: Spare,
}

/// Number of channels of the output of `transform` for an image of `channels`.
fn channels_after(transform: &dyn Transform, channels: usize) -> Result<usize, Problem> {
    let after = transform.channels(Some(channels))?;
    Ok(match transform.kind() {
        Kind::General => after.unwrap_or(channels),
        _ => channels,
    })
}

/// Shape `(C, H, W)` of the output of `transform` for an image of shape `(channels, height, width)`.
fn shape_after(
    transform: &dyn Transform,
    (channels, height, width): (usize, usize, usize),
) -> Result<(usize, usize, usize), Problem> {
    let channels = channels_after(transform, channels)?;
    let mut size = (height, width);
    match transform.kind() {
        Kind::Geometry => {
            let mut moves = Vec::new();
            // The size of the output does not depend on random numbers: any generator will do.
            transform.moves(size, &mut SampleRng::new(0, 0, 0), &mut moves)?;
            for step in moves {
                size = step.output_size(size)?;
            }
        }
        Kind::Permutation => _ = pixel_count(height * width)?,
        Kind::General => size = transform.output_size(size)?,
        Kind::Values | Kind::ToTensor => {}
    }
    let (height, width) = size;
    match [channels, height, width].contains(&0) {
        true => Err(Problem::Size(0)),
        false => Ok((channels, height, width)),
    }
}

/// Number of pixels of a permutation, which has indices of 32 bits.
fn pixel_count(pixels: usize) -> Result<u32, Problem> {
    u32::try_from(pixels).map_err(|_| Problem::TooManyPixels(pixels))
}

fn at(position: usize, transform: &dyn Transform) -> impl Fn(Problem) -> Error {
    let name = transform.name();
    move |problem| Error::Transform {
        position,
        name,
        problem,
    }
}

impl<'de> Deserialize<'de> for Compose {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let transforms = Vec::<TransformConfig>::deserialize(deserializer)?;
        Self::new(transforms).map_err(serde::de::Error::custom)
    }
}

impl Serialize for Compose {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(untagged)]
        enum Entry {
            BuiltIn(TransformConfig),
            Own { name: &'static str, debug: String },
        }
        serializer.collect_seq(self.transforms().map(|transform| {
            match TransformConfig::of(transform) {
                Some(config) => Entry::BuiltIn(config),
                None => Entry::Own {
                    name: transform.name(),
                    debug: format!("{transform:?}"),
                },
            }
        }))
    }
}
