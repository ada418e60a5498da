//! Images between two transforms: borrowed bytes, and an owned buffer of u8 or f32.

use crate::error::{Error, Problem, Result};
use crate::moves::{Move, nearest_sources, padded_source};
use crate::options::MAX_SIDE;

/// Borrowed image: u8, planar, `C x H x W` in row-major order, without gaps.
#[derive(Clone, Copy, Debug)]
pub struct ImageRef<'a> {
    /// `channels * height * width` bytes, one plane after the other.
    pub data: &'a [u8],
    /// Channels: 1 for grey, 3 for RGB. Other counts work with transforms that accept any.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl<'a> ImageRef<'a> {
    /// Image over `data`.
    ///
    /// # Errors
    /// [`Error::Image`] unless the length of `data` is `channels * height * width`.
    pub fn new(data: &'a [u8], channels: usize, height: usize, width: usize) -> Result<Self> {
        let image = Self {
            data,
            channels,
            height,
            width,
        };
        image.check()?;
        Ok(image)
    }

    /// Shape `(C, H, W)`.
    pub fn shape(&self) -> (usize, usize, usize) {
        (self.channels, self.height, self.width)
    }

    /// The fields are public, so every pipeline checks them before it relies on them.
    pub(crate) fn check(&self) -> Result<()> {
        check_shape(self.shape(), self.data.len())
    }
}

fn check_shape((channels, height, width): (usize, usize, usize), values: usize) -> Result<()> {
    let sides = 1..=MAX_SIDE;
    let expected = channels.checked_mul(height.saturating_mul(width));
    if channels == 0
        || !sides.contains(&height)
        || !sides.contains(&width)
        || expected != Some(values)
    {
        return Err(Error::Image {
            channels,
            height,
            width,
            bytes: values,
        });
    }
    Ok(())
}

/// Image that a transform changes in place: planar, `C x H x W` in row-major order, of u8 or f32.
///
/// Buffers are kept from one image to the next, so that nothing is allocated once a thread has seen images of one size.
#[derive(Clone, Debug, Default)]
pub struct Image<T> {
    data: Vec<T>,
    spare: Vec<T>,
    channels: usize,
    height: usize,
    width: usize,
}

impl<T: Copy + Default> Image<T> {
    /// Image of `shape` `(C, H, W)` with the values `data`, one plane after the other.
    ///
    /// # Errors
    /// [`Error::Image`] unless the length of `data` is that of the shape, and no side is 0 or above
    /// [`MAX_SIDE`](crate::MAX_SIDE).
    pub fn new(data: Vec<T>, shape: (usize, usize, usize)) -> Result<Self> {
        let (channels, height, width) = shape;
        check_shape(shape, data.len())?;
        Ok(Self {
            data,
            spare: Vec::new(),
            channels,
            height,
            width,
        })
    }

    /// Shape `(C, H, W)`.
    pub fn shape(&self) -> (usize, usize, usize) {
        (self.channels, self.height, self.width)
    }

    /// Number of channels.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Size `(H, W)`.
    pub fn size(&self) -> (usize, usize) {
        (self.height, self.width)
    }

    /// All values, `C x H x W` in row-major order.
    pub fn data(&self) -> &[T] {
        &self.data
    }

    /// All values, to be changed in place.
    pub fn data_mut(&mut self) -> &mut [T] {
        &mut self.data
    }

    /// One mutable slice of `H x W` values per channel.
    pub fn planes_mut(&mut self) -> impl Iterator<Item = &mut [T]> {
        self.data
            .chunks_exact_mut((self.height * self.width).max(1))
    }

    /// Replaces the image by one of `shape`. `write(old, new)` fills the new values, which are `T::default()` before.
    pub fn replace(&mut self, shape: (usize, usize, usize), write: impl FnOnce(&[T], &mut [T])) {
        (self.channels, self.height, self.width) = shape;
        self.spare.clear();
        self.spare
            .resize(self.channels * self.height * self.width, T::default());
        write(&self.data, &mut self.spare);
        std::mem::swap(&mut self.data, &mut self.spare);
    }

    /// Replaces every plane by one of `height` x `width` with the pixels `pixel(old plane, y, x)`.
    pub fn rearrange(
        &mut self,
        height: usize,
        width: usize,
        pixel: impl Fn(&[T], usize, usize) -> T,
    ) {
        self.spare.clear();
        for plane in self.data.chunks_exact((self.height * self.width).max(1)) {
            for y in 0..height {
                self.spare.extend((0..width).map(|x| pixel(plane, y, x)));
            }
        }
        std::mem::swap(&mut self.data, &mut self.spare);
        (self.height, self.width) = (height, width);
    }

    pub(crate) fn load(&mut self, values: impl Iterator<Item = T>, shape: (usize, usize, usize)) {
        self.data.clear();
        self.data.extend(values);
        (self.channels, self.height, self.width) = shape;
    }

    /// Carries out `step`; `fill` turns a fill into a pixel.
    pub(crate) fn step(&mut self, step: Move, fill: impl Fn(f32) -> T) -> Result<(), Problem> {
        let (height, width) = self.size();
        let (rows, columns) = step.output_size((height, width))?;
        match step {
            Move::Pad {
                padding,
                mode,
                fill: value,
            } => {
                let value = fill(value);
                self.rearrange(rows, columns, |plane, y, x| {
                    let row = padded_source(y, padding.top, height, mode);
                    let column = padded_source(x, padding.left, width, mode);
                    match (row, column) {
                        (Some(row), Some(column)) => plane[row * width + column],
                        _ => value,
                    }
                });
            }
            Move::Crop { top, left, .. } => self.rearrange(rows, columns, |plane, y, x| {
                plane[(top + y) * width + left + x]
            }),
            Move::FlipHorizontal => self.rearrange(rows, columns, |plane, y, x| {
                plane[y * width + width - 1 - x]
            }),
            Move::FlipVertical => self.rearrange(rows, columns, |plane, y, x| {
                plane[(height - 1 - y) * width + x]
            }),
            Move::ResizeNearest { .. } => {
                let from_rows: Vec<usize> = nearest_sources(height, rows).collect();
                let from_columns: Vec<usize> = nearest_sources(width, columns).collect();
                self.rearrange(rows, columns, |plane, y, x| {
                    plane[from_rows[y] * width + from_columns[x]]
                });
            }
        }
        Ok(())
    }

    /// Output pixel `i` of every plane takes the value of pixel `order[i]`.
    pub(crate) fn permute(&mut self, order: &[u32]) {
        let (height, width) = self.size();
        self.rearrange(height, width, |plane, y, x| {
            plane[order[y * width + x] as usize]
        });
    }

    /// RGB to one luma plane by `luma`, repeated `channels` times; a grey image is only repeated.
    pub(crate) fn grayscale(&mut self, channels: usize, luma: impl Fn(T, T, T) -> T) {
        let plane = self.height * self.width;
        if self.channels == 3 {
            for i in 0..plane {
                self.data[i] = luma(self.data[i], self.data[plane + i], self.data[2 * plane + i]);
            }
        }
        self.data.truncate(plane);
        for _ in 1..channels {
            self.data.extend_from_within(..plane);
        }
        self.channels = channels;
    }
}

impl Image<u8> {
    /// The image as a borrowed one.
    pub fn view(&self) -> ImageRef<'_> {
        ImageRef {
            data: &self.data,
            channels: self.channels,
            height: self.height,
            width: self.width,
        }
    }
}

impl Image<f32> {
    pub(crate) fn copy_to(&self, out: &mut [f32]) -> Result<()> {
        if out.len() != self.data.len() {
            return Err(Error::OutputLength {
                expected: self.data.len(),
                found: out.len(),
            });
        }
        out.copy_from_slice(&self.data);
        Ok(())
    }
}
