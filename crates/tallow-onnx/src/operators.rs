//! Operators of common layers other than pooling.

use crate::array::Array;
use crate::layer::{Attribute, Layer};
use crate::pool::sizes;
use crate::value::{ElementType, Value};

/// Settings of a convolution, for rows and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv {
    /// Stride.
    pub stride: (usize, usize),
    /// Rows and columns of zeros added on each side.
    pub padding: (usize, usize),
    /// Distance between the pixels under a kernel.
    pub dilation: (usize, usize),
    /// Number of groups of channels.
    pub groups: usize,
}

impl Default for Conv {
    /// Stride 1, no padding, one group.
    fn default() -> Self {
        Self {
            stride: (1, 1),
            padding: (0, 0),
            dilation: (1, 1),
            groups: 1,
        }
    }
}

impl Conv {
    fn attributes(&self) -> [(&'static str, Attribute); 4] {
        let (rows, columns) = self.padding;
        [
            ("strides", sizes(self.stride)),
            (
                "pads",
                Attribute::Ints([rows, columns, rows, columns].map(|n| n as i64).to_vec()),
            ),
            ("dilations", sizes(self.dilation)),
            ("group", Attribute::Int(self.groups as i64)),
        ]
    }
}

impl Layer<'_> {
    /// Convolution of `x` with `weight` `(O, I / groups, K, K)`.
    pub fn conv(
        &mut self,
        x: &Value,
        weight: &Value,
        bias: Option<&Value>,
        settings: &Conv,
    ) -> Value {
        let inputs: Vec<&Value> = [x, weight].into_iter().chain(bias).collect();
        self.node("Conv", &inputs, settings.attributes())
    }

    /// Transposed convolution of `x` with `weight` `(I, O / groups, K, K)`.
    pub fn conv_transpose(
        &mut self,
        x: &Value,
        weight: &Value,
        bias: Option<&Value>,
        settings: &Conv,
    ) -> Value {
        let inputs: Vec<&Value> = [x, weight].into_iter().chain(bias).collect();
        self.node("ConvTranspose", &inputs, settings.attributes())
    }

    /// Batch normalisation by running statistics; all four parameters are `(C)`.
    pub fn batch_norm(
        &mut self,
        x: &Value,
        weight: &Value,
        bias: &Value,
        running_mean: &Value,
        running_var: &Value,
        eps: f64,
    ) -> Value {
        let inputs = [x, weight, bias, running_mean, running_var];
        let eps = Attribute::Float(eps as f32);
        self.node("BatchNormalization", &inputs, [("epsilon", eps)])
    }

    /// Layer normalisation over the channels of `(N, C, H, W)`, or over those of `(N, C)` where `maps` is false.
    pub fn layer_norm(
        &mut self,
        x: &Value,
        weight: &Value,
        bias: &Value,
        eps: f64,
        maps: bool,
    ) -> Value {
        let attributes = [
            ("axis", Attribute::Int(-1)),
            ("epsilon", Attribute::Float(eps as f32)),
        ];
        if !maps {
            return self.node("LayerNormalization", &[x, weight, bias], attributes);
        }
        let x = self.permute(x, [0, 2, 3, 1]);
        let y = self.node("LayerNormalization", &[&x, weight, bias], attributes);
        self.permute(&y, [0, 3, 1, 2])
    }

    /// Other order of four axes.
    pub fn permute(&mut self, x: &Value, axes: [i64; 4]) -> Value {
        self.node("Transpose", &[x], [("perm", Attribute::Ints(axes.into()))])
    }

    /// Linear layer on `(N, I)` with `weight` `(O, I)`.
    pub fn linear(&mut self, x: &Value, weight: &Value, bias: Option<&Value>) -> Value {
        let inputs: Vec<&Value> = [x, weight].into_iter().chain(bias).collect();
        self.node("Gemm", &inputs, [("transB", Attribute::Int(1))])
    }

    /// Linear layer on the channels of `(N, I, H, W)` with `weight` `(O, I)`: a 1x1 convolution.
    pub fn linear_on_maps(&mut self, x: &Value, weight: &Value, bias: Option<&Value>) -> Value {
        let axes = self.constant("axes", Array::integers([2, 3]));
        let kernel = self.plain("Unsqueeze", &[weight, &axes]);
        self.conv(x, &kernel, bias, &Conv::default())
    }

    /// `x * sigmoid(x)`.
    pub fn silu(&mut self, x: &Value) -> Value {
        let gate = self.plain("Sigmoid", &[x]);
        self.plain("Mul", &[x, &gate])
    }

    /// `x * Φ(x)` with the exact error function; the operator `Gelu` came with operator set 20.
    pub fn gelu(&mut self, x: &Value) -> Value {
        let scaled = self.times(x, std::f32::consts::FRAC_1_SQRT_2);
        let erf = self.plain("Erf", &[&scaled]);
        let one = self.constant("one", Array::scalar(1.));
        let both = self.plain("Add", &[&erf, &one]);
        let product = self.plain("Mul", &[x, &both]);
        self.times(&product, 0.5)
    }

    /// `relu6(x + 3) / 6`.
    pub fn hard_sigmoid(&mut self, x: &Value) -> Value {
        let attributes = [
            ("alpha", Attribute::Float(1. / 6.)),
            ("beta", Attribute::Float(0.5)),
        ];
        self.node("HardSigmoid", &[x], attributes)
    }

    /// `factor * x`.
    pub fn times(&mut self, x: &Value, factor: f32) -> Value {
        let factor = self.constant("factor", Array::scalar(factor));
        self.plain("Mul", &[x, &factor])
    }

    /// `(N, C, H, W)` to `(N, C * H * W)`.
    pub fn flatten(&mut self, x: &Value) -> Value {
        self.node("Flatten", &[x], [("axis", Attribute::Int(1))])
    }

    /// Other shape of a constant.
    pub fn reshape(&mut self, x: &Value, dims: &[usize]) -> Value {
        let shape = self.constant("shape", Array::integers(dims.iter().map(|n| *n as i64)));
        self.plain("Reshape", &[x, &shape])
    }

    /// `(N, C, H, W)` with `before` and `after` values of `value` along each of the four axes.
    pub fn pad(&mut self, x: &Value, before: [usize; 4], after: [usize; 4], value: f32) -> Value {
        let widths = before.iter().chain(&after).map(|n| *n as i64);
        let widths = self.constant("pads", Array::integers(widths));
        let value = self.constant("value", Array::scalar(value));
        self.plain("Pad", &[x, &widths, &value])
    }

    /// Every `stride`-th row and column of `(N, C, H, W)`.
    pub fn every(&mut self, x: &Value, stride: usize) -> Value {
        let stride = stride as i64;
        let starts = self.constant("starts", Array::integers([0, 0]));
        let ends = self.constant("ends", Array::integers([i64::MAX, i64::MAX]));
        let axes = self.constant("axes", Array::integers([2, 3]));
        let steps = self.constant("steps", Array::integers([stride, stride]));
        self.plain("Slice", &[x, &starts, &ends, &axes, &steps])
    }

    /// 32-bit floats of other numbers.
    pub fn to_f32(&mut self, x: &Value) -> Value {
        let to = Attribute::Int(ElementType::F32.code().into());
        self.node("Cast", &[x], [("to", to)])
    }
}
