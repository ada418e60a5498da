//! Antialiased scaling of u8 planes, to the bit what PIL's `Image.resize` gives for `BILINEAR` and `BICUBIC`
//! (`Resample.c`), which is what torchvision's `Resize` calls on images.
//!
//! Rows are filtered first, as in every Pillow before 13. Pillow 13 filters columns first where the height shrinks much
//! more than the width; since values are rounded between the passes, the results can differ by 1.

use std::cell::RefCell;

use crate::image::Image;

/// Fractional bits of a weight: 32 less 8 for a pixel and 2 of headroom.
const PRECISION: u32 = 32 - 8 - 2;

/// Shape of a filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Triangle of radius 1.
    #[default]
    Bilinear,
    /// Cubic of radius 2 with `a = -0.5`.
    Bicubic,
}

impl Shape {
    fn radius(self) -> f64 {
        match self {
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
        }
    }

    fn weight(self, distance: f64) -> f64 {
        const A: f64 = -0.5;
        let x = distance.abs();
        match self {
            Self::Bilinear => (1.0 - x).max(0.0),
            Self::Bicubic if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
            Self::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
            Self::Bicubic => 0.0,
        }
    }
}

/// Part of an image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub top: usize,
    pub left: usize,
    pub height: usize,
    pub width: usize,
}

/// Scales `window`, which is inside the image, to `(rows, columns)`.
pub(crate) fn resample(
    image: &mut Image<u8>,
    window: Window,
    (rows, columns): (usize, usize),
    shape: Shape,
) {
    let (channels, height, width) = image.shape();
    RESIZER.with_borrow_mut(|resizer| {
        image.replace((channels, rows, columns), |old, new| {
            resizer.resize(old, (height, width), window, (rows, columns), shape, new);
        });
    });
}

thread_local! {
    static RESIZER: RefCell<Resizer> = RefCell::default();
}

/// Filters of the last sizes seen and the plane between the two passes.
#[derive(Debug, Default)]
struct Resizer {
    horizontal: Filter,
    vertical: Filter,
    between: Vec<u8>,
    sums: Vec<i32>,
}

impl Resizer {
    /// Scales `window` of each plane of `source`, planes of `height` x `width`, to `(rows, columns)`; `out` has the output's
    /// length.
    fn resize(
        &mut self,
        source: &[u8],
        (height, width): (usize, usize),
        window: Window,
        (rows, columns): (usize, usize),
        shape: Shape,
        out: &mut [u8],
    ) {
        self.horizontal.set(window.width, columns, shape);
        self.vertical.set(window.height, rows, shape);
        let planes = source.chunks_exact(height * width);
        for (plane, out) in planes.zip(out.chunks_exact_mut(rows * columns)) {
            self.between.clear();
            let lines = plane.chunks_exact(width).skip(window.top);
            for line in lines.take(window.height) {
                let line = &line[window.left..][..window.width];
                if window.width == columns {
                    self.between.extend_from_slice(line);
                } else {
                    let spans = self.horizontal.spans.iter();
                    self.between
                        .extend(spans.map(|span| span.sum(line, &self.horizontal)));
                }
            }

            if window.height == rows {
                out.copy_from_slice(&self.between);
                continue;
            }
            let spans = self.vertical.spans.iter();
            for (span, out) in spans.zip(out.chunks_exact_mut(columns)) {
                self.sums.clear();
                self.sums.resize(columns, HALF);
                let lines = self.between.chunks_exact(columns).skip(span.start);
                for (line, &weight) in lines.zip(span.weights(&self.vertical)) {
                    for (sum, &pixel) in self.sums.iter_mut().zip(line) {
                        *sum += i32::from(pixel) * weight;
                    }
                }
                for (out, &sum) in out.iter_mut().zip(&self.sums) {
                    *out = clip(sum);
                }
            }
        }
    }
}

const HALF: i32 = 1 << (PRECISION - 1);

fn clip(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

/// A filter from `size` to `scaled` pixels.
#[derive(Debug, Default)]
struct Filter {
    size: usize,
    scaled: usize,
    shape: Shape,
    /// One for each output pixel.
    spans: Vec<Span>,
    weights: Vec<i32>,
    /// Weights of one output pixel before they are rounded.
    exact: Vec<f64>,
}

/// Source pixels of one output pixel, and the place of their weights.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: usize,
    length: usize,
    first_weight: usize,
}

impl Span {
    fn weights<'a>(&self, filter: &'a Filter) -> &'a [i32] {
        &filter.weights[self.first_weight..][..self.length]
    }

    fn sum(&self, row: &[u8], filter: &Filter) -> u8 {
        let pixels = row[self.start..][..self.length].iter();
        clip(
            HALF + pixels
                .zip(self.weights(filter))
                .map(|(&pixel, &weight)| i32::from(pixel) * weight)
                .sum::<i32>(),
        )
    }
}

impl Filter {
    fn set(&mut self, size: usize, scaled: usize, shape: Shape) {
        if (self.size, self.scaled, self.shape) == (size, scaled, shape) {
            return;
        }
        (self.size, self.scaled, self.shape) = (size, scaled, shape);
        self.spans.clear();
        self.weights.clear();

        let scale = size as f64 / scaled as f64;
        // When reducing, the filter is widened to cover every source pixel.
        let stretch = scale.max(1.0);
        let radius = shape.radius() * stretch;
        for out in 0..scaled {
            let center = (out as f64 + 0.5) * scale;
            // `as` drops the fraction and takes negative numbers to 0.
            let start = (center - radius + 0.5) as usize;
            let end = ((center + radius + 0.5) as usize).min(size);
            self.exact.clear();
            self.exact.extend((start..end).map(|pixel| {
                let distance = (pixel as f64 - center + 0.5) * (1.0 / stretch);
                shape.weight(distance)
            }));
            let total: f64 = self.exact.iter().sum();
            self.spans.push(Span {
                start,
                length: end - start,
                first_weight: self.weights.len(),
            });
            self.weights.extend(self.exact.iter().map(|weight| {
                let weight = weight / total * f64::from(1 << PRECISION);
                // Rounded half away from zero, by adding before the fraction is dropped.
                (weight + 0.5_f64.copysign(weight)) as i32
            }));
        }
    }
}
