//! Image under a chain of operations.

use super::space::Operation;
use crate::error::Problem;
use crate::functional::lut::{Table, histogram, map_plane, table};
use crate::functional::{
    self, Affine, autocontrast_table, contrast_table, equalize_table, invert_table,
    posterize_table, rounded_mean, solarize_table,
};
use crate::image::Image;
use crate::options::Interpolation;

/// Interpolation and fill of the operations that move pixels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub interpolation: Interpolation,
    pub fill: f32,
}

/// An image of 1 or 3 channels, and the map of its values that is not yet carried out: consecutive maps of values are one
/// pass over the image.
pub(crate) struct Canvas<'a> {
    image: &'a mut Image<u8>,
    look: Look,
    tables: [Table; 3],
    pending: bool,
}

impl<'a> Canvas<'a> {
    pub fn new(image: &'a mut Image<u8>, look: Look) -> Result<Self, Problem> {
        match image.channels() {
            1 | 3 => Ok(Self {
                image,
                look,
                tables: [[0; 256]; 3],
                pending: false,
            }),
            found => Err(Problem::Channels { expected: 3, found }),
        }
    }

    /// Carries out one operation (torchvision's `_apply_image_or_video_transform`).
    pub fn apply(&mut self, operation: Operation, magnitude: f64) -> Result<(), Problem> {
        let Look {
            interpolation,
            fill,
        } = self.look;
        // The whole pixels of a shift and the levels of a tone: the fraction is dropped.
        let whole = magnitude.trunc();
        let shear = libm::atan(magnitude).to_degrees();
        let map = match operation {
            Operation::Identity => return Ok(()),
            Operation::Brightness => {
                self.push(&contrast_table(0, 1.0 + magnitude));
                return Ok(());
            }
            Operation::Contrast => {
                let mean = self.mean_luma();
                self.push(&contrast_table(mean, 1.0 + magnitude));
                return Ok(());
            }
            Operation::Posterize => {
                self.push(&posterize_table(whole as u32));
                return Ok(());
            }
            Operation::Solarize => {
                self.push(&solarize_table(255.0 * magnitude));
                return Ok(());
            }
            Operation::Invert => {
                self.push(&invert_table());
                return Ok(());
            }
            Operation::AutoContrast => {
                self.push_by_channel(autocontrast_table);
                return Ok(());
            }
            Operation::Equalize => {
                self.push_by_channel(equalize_table);
                return Ok(());
            }
            Operation::Color => {
                self.flush();
                return functional::adjust_saturation(&mut *self.image, 1.0 + magnitude);
            }
            Operation::Sharpness => {
                self.flush();
                functional::adjust_sharpness(&mut *self.image, 1.0 + magnitude);
                return Ok(());
            }
            Operation::Rotate => {
                self.flush();
                return functional::rotate(&mut *self.image, magnitude, interpolation, None, fill);
            }
            Operation::ShearX => Affine {
                shear: [shear, 0.0],
                center: Some([0.0; 2]),
                ..Affine::default()
            },
            Operation::ShearY => Affine {
                shear: [0.0, shear],
                center: Some([0.0; 2]),
                ..Affine::default()
            },
            Operation::TranslateX => Affine {
                translate: [whole, 0.0],
                ..Affine::default()
            },
            Operation::TranslateY => Affine {
                translate: [0.0, whole],
                ..Affine::default()
            },
        };
        self.flush();
        functional::affine(&mut *self.image, &map, interpolation, fill)
    }

    /// Carries out what is pending.
    pub fn flush(&mut self) {
        if self.pending {
            for (plane, table) in self.image.planes_mut().zip(&self.tables) {
                map_plane(plane, table);
            }
            self.pending = false;
        }
    }

    /// Tables of the channels, the identity if nothing is pending; they are carried out later.
    fn tables(&mut self) -> &mut [Table] {
        if !self.pending {
            self.tables = [table(|byte| byte); 3];
            self.pending = true;
        }
        &mut self.tables[..self.image.channels()]
    }

    fn push(&mut self, next: &Table) {
        for table in self.tables() {
            map_plane(table, next);
        }
    }

    /// Adds the map that `of` makes of the histogram of each channel; none keeps the channel.
    fn push_by_channel(&mut self, of: impl Fn(&[u32; 256]) -> Option<Table>) {
        self.tables();
        for (plane, table) in self.image.planes_mut().zip(&mut self.tables) {
            let mut counts = [0; 256];
            for (&to, count) in table.iter().zip(histogram(plane)) {
                counts[usize::from(to)] += count;
            }
            if let Some(next) = of(&counts) {
                map_plane(table, &next);
            }
        }
    }

    /// Mean luma, rounded to a grey value, of the image as it will be.
    fn mean_luma(&mut self) -> u8 {
        self.tables();
        let mut planes = self.image.planes_mut();
        let [red, green, blue] = &self.tables;
        match (planes.next(), planes.next(), planes.next()) {
            (Some(r), Some(g), Some(b)) => {
                let pixels = r.iter().zip(&*g).zip(&*b);
                let luma = pixels.map(|((&r, &g), &b)| {
                    let [r, g, b] = [
                        red[usize::from(r)],
                        green[usize::from(g)],
                        blue[usize::from(b)],
                    ];
                    u64::from(functional::luma_u8(r, g, b))
                });
                rounded_mean(luma.sum(), r.len())
            }
            (Some(plane), ..) => {
                let sum = plane.iter().map(|&byte| u64::from(red[usize::from(byte)]));
                rounded_mean(sum.sum(), plane.len())
            }
            _ => 0,
        }
    }
}
