//! The fast path: geometry, to-tensor, normalisation and a pixel permutation in one pass over the output.
//!
//! Values go through a table of 256 floats for each channel, made with the very operations of the step-by-step path;
//! geometry goes through two index maps. So both paths agree to the bit.

use crate::geometry::{Frame, is_geometry};
use crate::{ImageRef, Transform};

/// The end of a pipeline that can be done in one pass.
#[derive(Clone, Debug)]
pub(crate) struct Fused {
    /// Place of its first transform; those before work on u8, step by step.
    pub start: usize,
    /// Place of the permutation, if there is one.
    pub permutation: Option<usize>,
    /// What a byte becomes: one table for all channels, or one for each.
    tables: Vec<[f32; 256]>,
    /// What a pipeline's transform fills with, once normalised: `[position][channel as in tables]`.
    fills: Vec<Vec<f32>>,
}

impl Fused {
    /// The longest such end, if it holds to-tensor.
    pub fn plan(transforms: &[Transform], to_tensor: usize) -> Option<Self> {
        let mut start = transforms.len();
        let mut permutation = None;
        let mut geometry = false;
        for (position, transform) in transforms.iter().enumerate().rev() {
            match transform {
                // What moves pixels after a permutation is not separable any more.
                Transform::PermutePixels { .. } if permutation.is_none() && !geometry => {
                    permutation = Some(position);
                }
                Transform::ToTensor | Transform::Normalize { .. } => {}
                _ if is_geometry(transform) => geometry = true,
                _ => break,
            }
            start = position;
        }
        if start > to_tensor {
            return None;
        }

        let normalize = |mut value: f32, channel: usize, after: usize| {
            for transform in &transforms[after..] {
                if let Transform::Normalize { mean, std } = transform {
                    value = (value - mean[channel % mean.len()]) / std[channel % std.len()];
                }
            }
            value
        };
        let channels = transforms.iter().map(|transform| match transform {
            Transform::Normalize { mean, .. } => mean.len(),
            _ => 1,
        });
        let channels = channels.max().unwrap_or(1);
        let tables: Vec<[f32; 256]> = (0..channels)
            .map(|channel| {
                std::array::from_fn(|byte| normalize(byte as f32 / 255.0, channel, to_tensor))
            })
            .collect();
        let fills = transforms.iter().enumerate().map(|(position, transform)| {
            let fill = match transform {
                Transform::RandomCrop { fill, .. } | Transform::Pad { fill, .. } => *fill,
                _ => 0.0,
            };
            let filled = |channel: usize| match position < to_tensor {
                true => tables[channel][fill as u8 as usize],
                false => normalize(fill, channel, position),
            };
            (0..channels).map(filled).collect()
        });
        let fills = fills.collect();
        Some(Self {
            start,
            permutation,
            tables,
            fills,
        })
    }

    /// Writes the image, seen through `frame` and then `order`, to `out`, which has the output's length.
    pub fn write(
        &self,
        image: ImageRef<'_>,
        frame: &Frame,
        order: Option<&[u32]>,
        spare: &mut Spare,
        out: &mut [f32],
    ) {
        let (height, width) = frame.size();
        if frame.moved {
            split_runs(&frame.columns.map, &mut spare.runs);
        }
        let planes = image.data.chunks_exact(image.height * image.width);
        for ((channel, source), out) in planes.enumerate().zip(out.chunks_exact_mut(height * width))
        {
            let values = Values {
                table: &self.tables[channel % self.tables.len()],
                fused: self,
                channel,
            };
            match (order, frame.moved) {
                (None, false) => values.look_up(source.iter(), out),
                (None, true) => values.write_rows(source, image.width, frame, &spare.runs, out),
                (Some(order), false) => {
                    for (out, &from) in out.iter_mut().zip(order) {
                        *out = values.table[usize::from(source[from as usize])];
                    }
                }
                (Some(order), true) => {
                    spare.plane.resize(height * width, 0.0);
                    values.write_rows(source, image.width, frame, &spare.runs, &mut spare.plane);
                    for (out, &from) in out.iter_mut().zip(order) {
                        *out = spare.plane[from as usize];
                    }
                }
            }
        }
    }
}

/// Buffers kept between samples.
#[derive(Debug, Default)]
pub(crate) struct Spare {
    runs: Vec<Run>,
    /// One plane before its pixels are permuted.
    plane: Vec<f32>,
}

/// Neighbouring output columns that come from neighbouring source columns, or show one fill.
#[derive(Clone, Copy, Debug)]
enum Run {
    Forward { from: usize, length: usize },
    Backward { from: usize, length: usize },
    Fill { code: i32, length: usize },
}

/// Splits a column map into runs, so that rows are copied by stretches and not pixel by pixel.
fn split_runs(columns: &[i32], runs: &mut Vec<Run>) {
    runs.clear();
    let mut rest = columns;
    while let [first, tail @ ..] = rest {
        let step = match tail.first() {
            Some(second) if *first >= 0 && *second >= 0 => second - first,
            _ => 1,
        };
        let follows = |step: i32| {
            let pairs = rest.windows(2);
            1 + pairs
                .take_while(|pair| pair[1] - pair[0] == step && pair[1] >= 0)
                .count()
        };
        let length = if *first < 0 {
            let length = rest.iter().take_while(|code| *code == first).count();
            runs.push(Run::Fill {
                code: *first,
                length,
            });
            length
        } else if step == -1 {
            let length = follows(-1);
            runs.push(Run::Backward {
                from: *first as usize + 1 - length,
                length,
            });
            length
        } else {
            let length = follows(1);
            runs.push(Run::Forward {
                from: *first as usize,
                length,
            });
            length
        };
        rest = &rest[length..];
    }
}

/// What the bytes and fills of one channel become.
struct Values<'a> {
    table: &'a [f32; 256],
    fused: &'a Fused,
    channel: usize,
}

impl Values<'_> {
    #[inline(always)]
    fn look_up<'b>(&self, bytes: impl Iterator<Item = &'b u8>, out: &mut [f32]) {
        for (out, &byte) in out.iter_mut().zip(bytes) {
            *out = self.table[usize::from(byte)];
        }
    }

    fn fill(&self, code: i32) -> f32 {
        let fills = &self.fused.fills[(-1 - code) as usize];
        fills[self.channel % fills.len()]
    }

    fn write_rows(
        &self,
        source: &[u8],
        source_width: usize,
        frame: &Frame,
        runs: &[Run],
        out: &mut [f32],
    ) {
        for (&row, mut out) in frame
            .rows
            .map
            .iter()
            .zip(out.chunks_exact_mut(frame.columns.map.len()))
        {
            for run in runs {
                let length = match *run {
                    Run::Forward { length, .. }
                    | Run::Backward { length, .. }
                    | Run::Fill { length, .. } => length,
                };
                let (stretch, rest) = out.split_at_mut(length);
                out = rest;
                match *run {
                    Run::Fill { code, .. } => stretch.fill(self.fill(code.min(row))),
                    _ if row < 0 => stretch.fill(self.fill(row)),
                    Run::Forward { from, .. } => {
                        let bytes = &source[row as usize * source_width + from..][..length];
                        self.look_up(bytes.iter(), stretch);
                    }
                    Run::Backward { from, .. } => {
                        let bytes = &source[row as usize * source_width + from..][..length];
                        self.look_up(bytes.iter().rev(), stretch);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(list: &str) -> Option<(usize, Option<usize>)> {
        let transforms: Vec<Transform> = serde_json::from_str(list).unwrap();
        let to_tensor = transforms
            .iter()
            .position(|transform| *transform == Transform::ToTensor)
            .unwrap();
        Fused::plan(&transforms, to_tensor).map(|fused| (fused.start, fused.permutation))
    }

    #[test]
    fn everyday_pipelines_run_in_one_pass() {
        let crop = r#"{"name": "random-crop", "size": 32, "padding": 4}"#;
        let flip = r#"{"name": "random-horizontal-flip"}"#;
        let tensor = r#"{"name": "to-tensor"}"#;
        let normalize = r#"{"name": "normalize", "mean": [0.5], "std": [0.5]}"#;
        let permute = r#"{"name": "permute-pixels", "seed": 0}"#;
        let resize = r#"{"name": "resize", "size": 40}"#;
        let gray = r#"{"name": "grayscale"}"#;
        let of = |parts: &[&str]| plan(&format!("[{}]", parts.join(",")));
        assert_eq!(of(&[tensor]), Some((0, None)));
        assert_eq!(of(&[crop, flip, tensor, normalize]), Some((0, None)));
        assert_eq!(of(&[crop, tensor, normalize, flip]), Some((0, None)));
        assert_eq!(of(&[tensor, normalize, permute]), Some((0, Some(2))));
        assert_eq!(of(&[crop, permute, tensor, normalize]), Some((0, Some(1))));
        assert_eq!(
            of(&[gray, resize, crop, flip, tensor, normalize]),
            Some((2, None))
        );
        assert_eq!(of(&[permute, crop, tensor, permute]), Some((1, Some(3))));
        assert_eq!(of(&[tensor, permute, crop]), None);
        assert_eq!(of(&[tensor, gray]), None);
    }

    #[test]
    fn rows_are_split_into_the_longest_stretches() {
        let runs = |columns: &[i32]| {
            let mut runs = Vec::new();
            split_runs(columns, &mut runs);
            runs.iter()
                .map(|run| match *run {
                    Run::Forward { from, length } => ('f', from as i32, length),
                    Run::Backward { from, length } => ('b', from as i32, length),
                    Run::Fill { code, length } => ('x', code, length),
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(
            runs(&[-1, -1, 0, 1, 2, -1]),
            [('x', -1, 2), ('f', 0, 3), ('x', -1, 1)]
        );
        assert_eq!(
            runs(&[-2, -1, 4, 3, 2]),
            [('x', -2, 1), ('x', -1, 1), ('b', 2, 3)]
        );
        assert_eq!(runs(&[2, 1, 0, -1]), [('b', 0, 3), ('x', -1, 1)]);
        assert_eq!(
            runs(&[0, -1, -2]),
            [('f', 0, 1), ('x', -1, 1), ('x', -2, 1)]
        );
        assert_eq!(
            runs(&[0, 0, 0, 1, 2]),
            [('f', 0, 1), ('f', 0, 1), ('f', 0, 3)]
        );
        assert_eq!(runs(&[7]), [('f', 7, 1)]);
    }
}
