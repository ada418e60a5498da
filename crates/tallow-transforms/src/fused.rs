//! The fast path: geometry, value maps and a pixel permutation around to-tensor in one pass over the output.
//!
//! Values go through a table of 256 floats per channel, computed with the operations of the step-by-step path; geometry
//! goes through two index maps. So both paths agree to the bit.

use std::ops::Range;
use std::sync::Arc;

use crate::frame::{Fill, Frame};
use crate::image::ImageRef;
use crate::transform::{Kind, Transform};

/// Part of a pipeline around to-tensor that runs as one pass.
#[derive(Clone, Debug)]
pub(crate) struct Fused {
    /// Positions of its transforms. Those before and after run step by step, on u8 and on f32.
    pub range: Range<usize>,
    /// Position of the permutation, if there is one.
    pub permutation: Option<usize>,
    to_tensor: usize,
    /// Positions of the value maps.
    maps: Vec<usize>,
    /// Value of each byte: one table for all channels, or one per channel.
    tables: Vec<[f32; 256]>,
}

impl Fused {
    /// Longest such part. To-tensor at least belongs to it.
    pub fn plan(transforms: &[Arc<dyn Transform>], to_tensor: usize) -> Self {
        let mut range = to_tensor..to_tensor + 1;
        let mut permutation = None;
        // Geometry after a permutation is not separable by rows and columns.
        let mut geometry_after = false;
        for (position, transform) in transforms.iter().enumerate().skip(range.end) {
            match transform.kind() {
                Kind::Values => {}
                Kind::Geometry if permutation.is_none() => geometry_after = true,
                Kind::Permutation if permutation.is_none() => permutation = Some(position),
                _ => break,
            }
            range.end = position + 1;
        }
        for (position, transform) in transforms.iter().enumerate().take(to_tensor).rev() {
            match transform.kind() {
                Kind::Values => {}
                Kind::Geometry => geometry_after = true,
                Kind::Permutation if permutation.is_none() && !geometry_after => {
                    permutation = Some(position);
                }
                _ => break,
            }
            range.start = position;
        }

        let maps: Vec<usize> = range
            .clone()
            .filter(|&position| transforms[position].kind() == Kind::Values)
            .collect();
        let channels = maps
            .iter()
            .filter_map(|&map| transforms[map].channels(None).ok().flatten())
            .max();
        let mut fused = Self {
            range,
            permutation,
            to_tensor,
            maps,
            tables: Vec::new(),
        };
        fused.tables = (0..channels.unwrap_or(1))
            .map(|channel| {
                let mut bytes: [u8; 256] = std::array::from_fn(|byte| byte as u8);
                let mut values = [0.0; 256];
                fused.map_bytes(transforms, 0, channel, &mut bytes, &mut values);
                values
            })
            .collect();
        fused
    }

    /// Maps bytes, as they are before the transform at `from`, to values of the output.
    fn map_bytes(
        &self,
        transforms: &[Arc<dyn Transform>],
        from: usize,
        channel: usize,
        bytes: &mut [u8],
        values: &mut [f32],
    ) {
        for &map in &self.maps {
            if (from..self.to_tensor).contains(&map) {
                transforms[map].map_u8(bytes, channel);
            }
        }
        for (value, &byte) in values.iter_mut().zip(&*bytes) {
            *value = f32::from(byte) / 255.0;
        }
        self.map_values(transforms, self.to_tensor, channel, values);
    }

    /// Maps values, as they are before the transform at `from`, not before to-tensor, to values of the output.
    fn map_values(
        &self,
        transforms: &[Arc<dyn Transform>],
        from: usize,
        channel: usize,
        values: &mut [f32],
    ) {
        for &map in &self.maps {
            if map >= from {
                transforms[map].map_f32(values, channel);
            }
        }
    }

    /// Value of the output for each byte: one table for all channels, or one for each.
    pub fn tables(&self) -> &[[f32; 256]] {
        &self.tables
    }

    /// Value of the output for a fill.
    pub fn map_fill(&self, transforms: &[Arc<dyn Transform>], fill: Fill, channel: usize) -> f32 {
        let mut value = [fill.value];
        if fill.position < self.to_tensor {
            let mut byte = [fill.value as u8];
            self.map_bytes(
                transforms,
                fill.position + 1,
                channel,
                &mut byte,
                &mut value,
            );
        } else {
            self.map_values(transforms, fill.position + 1, channel, &mut value);
        }
        value[0]
    }

    /// Writes the image, rearranged by `frame` and then by `order`, to `out`, which has the output's length.
    pub fn write(
        &self,
        transforms: &[Arc<dyn Transform>],
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
        let Spare { runs, fills, plane } = spare;
        let planes = image.data.chunks_exact(image.height * image.width);
        for ((channel, source), out) in planes.enumerate().zip(out.chunks_exact_mut(height * width))
        {
            fills.clear();
            fills
                .extend((frame.fills.iter()).map(|&fill| self.map_fill(transforms, fill, channel)));
            let values = Values {
                table: &self.tables[channel % self.tables.len()],
                fills,
            };
            match (order, frame.moved) {
                (None, false) => values.look_up(source.iter(), out),
                (None, true) => values.write_rows(source, image.width, frame, runs, out),
                (Some(order), false) => {
                    for (out, &from) in out.iter_mut().zip(order) {
                        *out = values.table[usize::from(source[from as usize])];
                    }
                }
                (Some(order), true) => {
                    plane.resize(height * width, 0.0);
                    values.write_rows(source, image.width, frame, runs, plane);
                    for (out, &from) in out.iter_mut().zip(order) {
                        *out = plane[from as usize];
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
    /// Value of each fill of the frame in the channel being written.
    fills: Vec<f32>,
    /// One plane before its pixels are permuted.
    plane: Vec<f32>,
}

/// Adjacent output columns that come from adjacent source columns, or are one fill.
#[derive(Clone, Copy, Debug)]
enum Run {
    Forward { from: usize, length: usize },
    Backward { from: usize, length: usize },
    Fill { code: i32, length: usize },
}

/// Splits a column map into runs, so that rows are copied by runs and not pixel by pixel.
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

/// Values of the output for the bytes and fills of one channel.
struct Values<'a> {
    table: &'a [f32; 256],
    fills: &'a [f32],
}

impl Values<'_> {
    #[inline(always)]
    fn look_up<'b>(&self, bytes: impl Iterator<Item = &'b u8>, out: &mut [f32]) {
        for (out, &byte) in out.iter_mut().zip(bytes) {
            *out = self.table[usize::from(byte)];
        }
    }

    fn fill(&self, code: i32) -> f32 {
        self.fills[(-1 - code) as usize]
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
    use crate::transforms::TransformConfig;

    fn plan(list: &str) -> (Range<usize>, Option<usize>) {
        let configs: Vec<TransformConfig> = serde_json::from_str(list).unwrap();
        let transforms: Vec<Arc<dyn Transform>> = configs
            .into_iter()
            .map(|config| Arc::from(Box::<dyn Transform>::from(config)))
            .collect();
        let to_tensor = transforms
            .iter()
            .position(|transform| transform.kind() == Kind::ToTensor)
            .unwrap();
        let fused = Fused::plan(&transforms, to_tensor);
        (fused.range, fused.permutation)
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
        assert_eq!(of(&[tensor]), (0..1, None));
        assert_eq!(of(&[crop, flip, tensor, normalize]), (0..4, None));
        assert_eq!(of(&[crop, tensor, normalize, flip]), (0..4, None));
        assert_eq!(of(&[tensor, normalize, permute]), (0..3, Some(2)));
        assert_eq!(of(&[crop, permute, tensor, normalize]), (0..4, Some(1)));
        assert_eq!(
            of(&[gray, resize, crop, flip, tensor, normalize]),
            (2..6, None)
        );
        assert_eq!(of(&[permute, crop, tensor, permute]), (1..4, Some(3)));
        assert_eq!(of(&[tensor, permute, crop]), (0..2, Some(1)));
        assert_eq!(of(&[tensor, gray]), (0..1, None));
        assert_eq!(of(&[crop, tensor, gray, normalize]), (0..2, None));
        assert_eq!(of(&[permute, tensor, crop]), (1..3, None));
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
