//! Pooling, with PyTorch's sizes and divisors.

use crate::array::Array;
use crate::error::Result;
use crate::layer::{Attribute, Layer};
use crate::value::Value;

/// Settings of a pooling, for rows and columns, with PyTorch's meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Size of a window.
    pub kernel: (usize, usize),
    /// Stride.
    pub stride: (usize, usize),
    /// Rows and columns added on each side.
    pub padding: (usize, usize),
    /// Distance between the pixels of a window; average pooling has none.
    pub dilation: (usize, usize),
}

impl Pool {
    /// Rows and columns by which the last window exceeds the padded image, when rounding up has given an output of this size.
    ///
    /// ONNX's own `ceil_mode` adds windows that start in the padding, which PyTorch leaves out, and runtimes differ in its divisors.
    /// So the overhang is written as padding, which is the same everywhere.
    fn overhang(&self, input: (usize, usize), output: (usize, usize)) -> (usize, usize) {
        let along = |of: fn((usize, usize)) -> usize| {
            let reach = of(self.dilation) * of(self.kernel).saturating_sub(1) + 1;
            let end = of(output).saturating_sub(1) * of(self.stride) + reach;
            end.saturating_sub(of(input) + 2 * of(self.padding))
        };
        (along(|pair| pair.0), along(|pair| pair.1))
    }
}

impl Layer<'_> {
    /// Max pooling of `(N, C, H, W)` from `input` to `output` rows and columns.
    pub fn max_pool(
        &mut self,
        x: &Value,
        pool: &Pool,
        input: (usize, usize),
        output: (usize, usize),
    ) -> Value {
        let over = pool.overhang(input, output);
        let attributes = [
            ("kernel_shape", sizes(pool.kernel)),
            ("strides", sizes(pool.stride)),
            ("pads", pads(pool.padding, over)),
            ("dilations", sizes(pool.dilation)),
        ];
        self.node("MaxPool", &[x], attributes)
    }

    /// Average pooling of `(N, C, H, W)` from `input` to `output` rows and columns. The padding counts in the average, what lies beyond
    /// it does not.
    pub fn average_pool(
        &mut self,
        x: &Value,
        pool: &Pool,
        input: (usize, usize),
        output: (usize, usize),
    ) -> Value {
        let over = pool.overhang(input, output);
        let (rows, columns) = pool.padding;
        let mut x = x.clone();
        let mut padding = pool.padding;
        if over != (0, 0) && padding != (0, 0) {
            // The one counts and the other does not.
            let widths = [0, 0, rows, columns];
            x = self.pad(&x, widths, widths, 0.);
            padding = (0, 0);
        }
        let counts = over == (0, 0);
        let attributes = [
            ("kernel_shape", sizes(pool.kernel)),
            ("strides", sizes(pool.stride)),
            ("pads", pads(padding, over)),
            ("count_include_pad", Attribute::Int(counts.into())),
        ];
        self.node("AveragePool", &[&x], attributes)
    }

    /// Adaptive average pooling of `(N, C, H, W)` from `input` to `output` rows and columns, for any sizes.
    pub fn adaptive_average_pool(
        &mut self,
        x: &Value,
        input: (usize, usize),
        output: (usize, usize),
    ) -> Result<Value> {
        if output == (1, 1) {
            return Ok(self.plain("GlobalAveragePool", &[x]));
        }
        if input == output {
            return Ok(x.clone());
        }
        if input.0.is_multiple_of(output.0.max(1)) && input.1.is_multiple_of(output.1.max(1)) {
            let window = (input.0 / output.0.max(1), input.1 / output.1.max(1));
            let pool = Pool {
                kernel: window,
                stride: window,
                padding: (0, 0),
                dilation: (1, 1),
            };
            return Ok(self.average_pool(x, &pool, input, output));
        }
        // Windows of different sizes: averages along one axis and then along the other are products with constant matrices.
        let rows = averages(input.0, output.0);
        let rows = self.constant("rows", Array::f32(&[output.0, input.0], &rows)?);
        let columns = transposed(&averages(input.1, output.1), input.1);
        let columns = self.constant("columns", Array::f32(&[input.1, output.1], &columns)?);
        let y = self.plain("MatMul", &[&rows, x]);
        Ok(self.plain("MatMul", &[&y, &columns]))
    }
}

/// Attribute of a pair of sizes.
pub(crate) fn sizes((rows, columns): (usize, usize)) -> Attribute {
    Attribute::Ints(vec![rows as i64, columns as i64])
}

fn pads((rows, columns): (usize, usize), over: (usize, usize)) -> Attribute {
    let widths = [rows, columns, rows + over.0, columns + over.1];
    Attribute::Ints(widths.map(|n| n as i64).to_vec())
}

/// Matrix `(output, input)` of the averages over PyTorch's adaptive windows, from `floor(i * input / output)` to
/// `ceil((i + 1) * input / output)`.
fn averages(input: usize, output: usize) -> Vec<f32> {
    let mut matrix = vec![0.; input * output];
    for (i, row) in matrix.chunks_exact_mut(input.max(1)).enumerate() {
        let window = i * input / output..((i + 1) * input).div_ceil(output);
        let share = 1. / window.len() as f32;
        row[window].fill(share);
    }
    matrix
}

fn transposed(matrix: &[f32], columns: usize) -> Vec<f32> {
    (0..columns)
        .flat_map(|column| matrix.iter().skip(column).step_by(columns).copied())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Windows of `torch.nn.AdaptiveAvgPool1d`.
    #[test]
    fn adaptive_windows_are_those_of_pytorch() {
        let third = 1. / 3.;
        assert_eq!(
            averages(5, 2),
            [third, third, third, 0., 0., 0., 0., third, third, third]
        );
        // More outputs than inputs.
        assert_eq!(averages(2, 3), [1., 0., 0.5, 0.5, 0., 1.]);
        assert_eq!(transposed(&averages(2, 3), 2), [1., 0.5, 0., 0., 0.5, 1.]);
    }

    /// Sizes of `torch.nn.MaxPool2d(3, 2, padding, ceil_mode=True)`: 7 gives 3 without padding and 4 with 1; 6 gives 3 and 4.
    #[test]
    fn the_overhang_is_what_rounding_up_adds() {
        let pool = |padding| Pool {
            kernel: (3, 3),
            stride: (2, 2),
            padding: (padding, padding),
            dilation: (1, 1),
        };
        assert_eq!(pool(0).overhang((7, 6), (3, 3)), (0, 1));
        assert_eq!(pool(1).overhang((7, 6), (4, 4)), (0, 1));
        // Rounded down, the last columns are in no window.
        assert_eq!(pool(0).overhang((7, 6), (3, 2)), (0, 0));
    }
}
