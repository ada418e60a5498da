//! Antialiased bilinear scaling of u8 planes, to the bit what PIL's `Image.resize(.., BILINEAR)` gives
//! (`Resample.c`), which is what torchvision's `Resize` calls on images.
//!
//! Rows are filtered first, as in every Pillow before 13. Pillow 13 filters columns first where the height shrinks much
//! more than the width; since values are rounded between the passes, the results can differ by 1.

/// Fractional bits of a weight: 32 less 8 for a pixel and 2 of headroom.
const PRECISION: u32 = 32 - 8 - 2;

/// Bilinear resizer: filters of the last sizes seen and the image between the two passes.
#[derive(Debug, Default)]
pub(crate) struct Resizer {
    horizontal: Filter,
    vertical: Filter,
    between: Vec<u8>,
    sums: Vec<i32>,
}

impl Resizer {
    /// Scales each plane of `source`, `(channels, height, width)`, to `(rows, columns)`; `out` has the output's length.
    pub fn resize(
        &mut self,
        source: &[u8],
        (channels, height, width): (usize, usize, usize),
        (rows, columns): (usize, usize),
        out: &mut [u8],
    ) {
        self.horizontal.set(width, columns);
        self.vertical.set(height, rows);

        self.between.clear();
        if width == columns {
            self.between.extend_from_slice(source);
        } else {
            self.between.reserve(channels * height * columns);
            for row in source.chunks_exact(width) {
                self.between.extend(
                    self.horizontal
                        .spans
                        .iter()
                        .map(|span| span.sum(row, &self.horizontal)),
                );
            }
        }

        if height == rows {
            out.copy_from_slice(&self.between);
            return;
        }
        let planes = self.between.chunks_exact(height * columns);
        for (plane, out) in planes.zip(out.chunks_exact_mut(rows * columns)) {
            for (span, out) in self
                .vertical
                .spans
                .iter()
                .zip(out.chunks_exact_mut(columns))
            {
                self.sums.clear();
                self.sums.resize(columns, HALF);
                let window = plane.chunks_exact(columns).skip(span.start);
                for (row, &weight) in window.zip(span.weights(&self.vertical)) {
                    for (sum, &pixel) in self.sums.iter_mut().zip(row) {
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

/// A triangle filter from `size` to `scaled` pixels.
#[derive(Debug, Default)]
struct Filter {
    size: usize,
    scaled: usize,
    /// One for each output pixel.
    spans: Vec<Span>,
    weights: Vec<i32>,
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
    fn set(&mut self, size: usize, scaled: usize) {
        if (self.size, self.scaled) == (size, scaled) {
            return;
        }
        (self.size, self.scaled) = (size, scaled);
        self.spans.clear();
        self.weights.clear();

        let scale = size as f64 / scaled as f64;
        // When reducing, the triangle (radius 1 when enlarging) is widened to cover every source pixel.
        let radius = scale.max(1.0);
        let mut window = Vec::new();
        for out in 0..scaled {
            let center = (out as f64 + 0.5) * scale;
            // `as` drops the fraction and takes negative numbers to 0.
            let start = (center - radius + 0.5) as usize;
            let end = ((center + radius + 0.5) as usize).min(size);
            window.clear();
            window.extend((start..end).map(|pixel| {
                let distance = (pixel as f64 - center + 0.5) * (1.0 / radius);
                (1.0 - distance.abs()).max(0.0)
            }));
            let total: f64 = window.iter().sum();
            self.spans.push(Span {
                start,
                length: end - start,
                first_weight: self.weights.len(),
            });
            self.weights.extend(
                window
                    .iter()
                    .map(|weight| (0.5 + weight / total * f64::from(1 << PRECISION)) as i32),
            );
        }
    }
}
