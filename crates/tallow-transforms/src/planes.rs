//! Pixels between two steps of the step-by-step path.

use crate::geometry::{Move, nearest_sources, padded_source};
use crate::resize::Resizer;
use crate::{Error, ImageRef, Result};

/// `C x H x W` values; each operation writes into the spare buffer and swaps, so buffers are allocated once.
#[derive(Debug, Default)]
pub(crate) struct Planes<T> {
    pub data: Vec<T>,
    spare: Vec<T>,
    pub channels: usize,
    pub height: usize,
    pub width: usize,
}

impl<T: Copy> Planes<T> {
    pub fn load(&mut self, values: impl Iterator<Item = T>, shape: (usize, usize, usize)) {
        self.data.clear();
        self.data.extend(values);
        (self.channels, self.height, self.width) = shape;
    }

    pub fn size(&self) -> (usize, usize) {
        (self.height, self.width)
    }

    pub fn shape(&self) -> (usize, usize, usize) {
        (self.channels, self.height, self.width)
    }

    /// Carries out `step`; `fill` turns a fill into a pixel.
    pub fn step(&mut self, step: Move, fill: impl Fn(f32) -> T) {
        let (height, width) = self.size();
        let (rows, columns) = step.size_after((height, width));
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
            Move::Crop { top, left, .. } => {
                self.rearrange(rows, columns, |plane, y, x| {
                    plane[(top + y) * width + left + x]
                });
            }
            Move::Mirror => self.rearrange(rows, columns, |plane, y, x| {
                plane[y * width + width - 1 - x]
            }),
            Move::Nearest { .. } => {
                let from_rows: Vec<usize> = nearest_sources(height, rows).collect();
                let from_columns: Vec<usize> = nearest_sources(width, columns).collect();
                self.rearrange(rows, columns, |plane, y, x| {
                    plane[from_rows[y] * width + from_columns[x]]
                });
            }
        }
    }

    /// Output pixel `i` of every plane takes the value of pixel `order[i]`.
    pub fn permute(&mut self, order: &[u32]) {
        let (height, width) = self.size();
        self.rearrange(height, width, |plane, y, x| {
            plane[order[y * width + x] as usize]
        });
    }

    /// Every plane anew as `height` x `width`, its pixels given by `pixel(old plane, y, x)`.
    fn rearrange(&mut self, height: usize, width: usize, pixel: impl Fn(&[T], usize, usize) -> T) {
        self.spare.clear();
        for plane in self.data.chunks_exact(self.height * self.width) {
            for y in 0..height {
                self.spare.extend((0..width).map(|x| pixel(plane, y, x)));
            }
        }
        std::mem::swap(&mut self.data, &mut self.spare);
        (self.height, self.width) = (height, width);
    }

    /// RGB to one luma plane by `luma`, which is then there `channels` times; a grey image is only repeated.
    pub fn grayscale(&mut self, channels: usize, luma: impl Fn(T, T, T) -> T) {
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

impl Planes<u8> {
    pub fn view(&self) -> ImageRef<'_> {
        ImageRef {
            data: &self.data,
            channels: self.channels,
            height: self.height,
            width: self.width,
        }
    }

    pub fn resize(&mut self, (height, width): (usize, usize), resizer: &mut Resizer) {
        resizer.resize(&self.data, self.shape(), (height, width), &mut self.spare);
        std::mem::swap(&mut self.data, &mut self.spare);
        (self.height, self.width) = (height, width);
    }
}

impl Planes<f32> {
    /// `(value - mean) / std`, one of each for every channel or for all.
    pub fn normalize(&mut self, mean: &[f32], std: &[f32]) {
        for (channel, plane) in self
            .data
            .chunks_exact_mut(self.height * self.width)
            .enumerate()
        {
            let (mean, std) = (mean[channel % mean.len()], std[channel % std.len()]);
            for value in plane {
                *value = (*value - mean) / std;
            }
        }
    }

    pub fn copy_to(&self, out: &mut [f32]) -> Result<()> {
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
