//! Layers of the first convolutional networks (LeCun et al. 1989 and 1998).

use candle_core::{Tensor, Var};
use tallow_onnx::{Array, Attribute};
use tallow_ops::{Conv2dConfig, Layout, ParamPath, cast, conv2d};

use crate::error::{Error, Result};
use crate::module::{Context, Module};
use crate::nn::builder::{Name, SequentialBuilder};
use crate::nn::init::WeightInit;
use crate::nn::window::Window;
use crate::trace::{onnx_optional, onnx_parameter};

/// Constant padding, as `torch.nn.ConstantPad2d` with the same width on all sides.
#[derive(Clone, Debug)]
pub struct ConstantPad2d {
    name: String,
    padding: usize,
    value: f64,
}

impl ConstantPad2d {
    /// Padding of `padding` rows and columns of `value` on each side.
    pub fn new(p: ParamPath, padding: usize, value: f64) -> Self {
        Self {
            name: p.name().into(),
            padding,
            value,
        }
    }
}

impl Module for ConstantPad2d {
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        let axes = match cx.layout {
            Layout::Nchw => [2, 3],
            Layout::Nhwc => [1, 2],
        };
        let mut y = x.clone();
        for axis in axes {
            let mut dims = y.dims().to_vec();
            dims[axis] = self.padding;
            let border = Tensor::full(self.value, dims, y.device())?.to_dtype(y.dtype())?;
            y = Tensor::cat(&[&border, &y, &border], axis)?;
        }
        cx.onnx(&self.name, [x], &y, |layer, [x]| {
            let widths = [0, 0, self.padding, self.padding];
            Ok(layer.pad(x, widths, widths, self.value as f32))
        })?;
        cx.report(&self.name, "ConstantPad2d", y, 0, 0)
    }
}

/// Convolution in which each output channel is connected to some of the input channels: `weight` is `(connections, K, K)`, ordered by
/// output channel; `bias`, if there is one, is `(O)`.
#[derive(Clone, Debug)]
pub struct PartialConv2d {
    name: String,
    weight: Var,
    bias: Option<Var>,
    /// Index of each connection among all `O * I` possible ones.
    connections: Tensor,
    inputs: usize,
    outputs: usize,
    stride: usize,
}

impl PartialConv2d {
    /// Convolution whose `table` lists the input channels of each output channel. Weights are initialised by `init` with the fan-in of
    /// their own output channel.
    ///
    /// # Errors
    /// When a name is taken, when an output channel has no inputs, or when the table names a channel beyond `inputs`.
    pub fn new(
        p: ParamPath,
        inputs: usize,
        table: &[&[usize]],
        kernel: usize,
        stride: usize,
        bias: bool,
        init: WeightInit,
    ) -> Result<Self> {
        let outputs = table.len();
        if outputs == 0
            || kernel == 0
            || table.iter().any(|maps| maps.is_empty())
            || table.iter().copied().flatten().any(|map| *map >= inputs)
        {
            let message = format!(
                "expected a kernel above 0 and a table in which each of {outputs} output channels has some of {inputs} input channels"
            );
            return Err(Error::layer(p.name(), "PartialConv2d", message));
        }
        let mut places = Vec::new();
        let mut start = Vec::new();
        for (output, maps) in table.iter().enumerate() {
            let fan_in = maps.len() * kernel * kernel;
            let init = init.weight(fan_in, outputs * kernel * kernel);
            let shape = (maps.len(), kernel, kernel);
            start.push(init.tensor(shape, p.dtype(), p.device(), &p.generator())?);
            places.extend(maps.iter().map(|map| (output * inputs + map) as u32));
        }
        let weight = p.param(
            "weight",
            (places.len(), kernel, kernel),
            tallow_ops::Init::Const(0.),
        )?;
        weight.set(&Tensor::cat(&start, 0)?)?;
        let bias = bias
            .then(|| p.param("bias", outputs, tallow_ops::Init::Const(0.)))
            .transpose()?;
        Ok(Self {
            name: p.name().into(),
            connections: Tensor::new(places, p.device())?,
            weight,
            bias,
            inputs,
            outputs,
            stride,
        })
    }
}

impl Module for PartialConv2d {
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        let (connections, k, _) = self.weight.dims3()?;
        // Missing connections become kernels of zeros, which costs little at the size of these networks.
        let all = Tensor::zeros(
            (self.outputs * self.inputs, k, k),
            self.weight.dtype(),
            self.weight.device(),
        )?;
        let kernel = all
            .index_add(&self.connections, &self.weight, 0)?
            .reshape((self.outputs, self.inputs, k, k))?;
        let config = Conv2dConfig {
            stride: (self.stride, self.stride),
            layout: cx.layout,
            ..Default::default()
        };
        let bias = self.bias.as_ref().map(Var::as_tensor);
        let y = conv2d(x, &kernel, bias, &config)?;
        cx.onnx(&self.name, [x], &y, |layer, [x]| {
            let weight = onnx_parameter(layer, "weight", &self.weight)?;
            let bias = onnx_optional(layer, "bias", bias)?;
            let places = self.connections.to_vec1::<u32>()?.into_iter();
            let places = Array::integers(places.map(i64::from)).reshaped(&[connections, 1])?;
            let places = layer.constant("connections", places);
            let all = [self.outputs * self.inputs, k, k];
            let zeros = Array::f32(&all, &vec![0.; all.iter().product()])?;
            let zeros = layer.constant("zeros", zeros);
            let kernels = layer.plain("ScatterND", &[&zeros, &places, &weight]);
            let kernel = layer.reshape(&kernels, &[self.outputs, self.inputs, k, k]);
            let settings = tallow_onnx::Conv {
                stride: config.stride,
                ..Default::default()
            };
            Ok(layer.conv(x, &kernel, bias.as_ref(), &settings))
        })?;
        let pixels = y.elem_count() / (y.dims()[0] * self.outputs).max(1);
        let weights = connections * k * k;
        let parameters = weights + bias.map_or(0, Tensor::elem_count);
        let multiply_adds = (weights * pixels) as u64;
        cx.report(&self.name, "PartialConv2d", y, parameters, multiply_adds)
    }
}

/// Bias of every unit of a feature map: `bias` is `(C, H, W)`, initialised with 0.
#[derive(Clone, Debug)]
pub struct UnitBias {
    name: String,
    bias: Var,
}

impl UnitBias {
    /// Layer with the parameter `bias` at `p`, whose name is that of the layer.
    ///
    /// # Errors
    /// When the name is taken.
    pub fn new(p: ParamPath, shape: (usize, usize, usize)) -> Result<Self> {
        Ok(Self {
            name: p.pp("bias").name().into(),
            bias: p.param("bias", shape, tallow_ops::Init::Const(0.))?,
        })
    }
}

impl Module for UnitBias {
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        let bias = match cx.layout {
            Layout::Nchw => self.bias.as_tensor().clone(),
            Layout::Nhwc => self.bias.permute((1, 2, 0))?.contiguous()?,
        };
        let y = cast(x, bias.dtype())?.broadcast_add(&bias)?;
        cx.onnx(&self.name, [x], &y, |layer, [x]| {
            let bias = onnx_parameter(layer, "", &self.bias)?;
            Ok(layer.plain("Add", &[x, &bias]))
        })?;
        cx.report(&self.name, "UnitBias", y, self.bias.elem_count(), 0)
    }
}

/// Trained subsampling (LeCun et al. 1998): the sum over each square, times a factor of the channel, plus a bias of the channel.
/// `weight` and `bias` are `(C)`.
#[derive(Clone, Debug)]
pub struct Subsampling {
    name: String,
    weight: Var,
    bias: Var,
    kernel: usize,
}

impl Subsampling {
    /// Subsampling of squares of `kernel` by `kernel`, with a stride of `kernel`.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new(p: ParamPath, channels: usize, kernel: usize, init: WeightInit) -> Result<Self> {
        let weight = init.weight(kernel * kernel, 1);
        Ok(Self {
            name: p.name().into(),
            weight: p.param("weight", channels, weight)?,
            bias: p.param("bias", channels, tallow_ops::Init::Const(0.))?,
            kernel,
        })
    }
}

impl Module for Subsampling {
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        // A depthwise convolution whose weights are equal within a channel.
        let (channels, k) = (self.weight.elem_count(), self.kernel);
        let kernel = self.weight.reshape((channels, 1, 1, 1))?;
        let kernel = kernel.broadcast_as((channels, 1, k, k))?;
        let config = Conv2dConfig {
            stride: (k, k),
            groups: channels,
            layout: cx.layout,
            ..Default::default()
        };
        let y = conv2d(x, &kernel, Some(&self.bias), &config)?;
        cx.onnx(&self.name, [x], &y, |layer, [x]| {
            let weight = onnx_parameter(layer, "weight", &self.weight)?;
            let bias = onnx_parameter(layer, "bias", &self.bias)?;
            let weight = layer.reshape(&weight, &[channels, 1, 1, 1]);
            let shape = [channels, 1, k, k].map(|n| n as i64);
            let shape = layer.constant("kernel", Array::integers(shape));
            let kernel = layer.plain("Expand", &[&weight, &shape]);
            let settings = tallow_onnx::Conv {
                stride: (k, k),
                groups: channels,
                ..Default::default()
            };
            Ok(layer.conv(x, &kernel, Some(&bias), &settings))
        })?;
        let parameters = self.weight.elem_count() + self.bias.elem_count();
        cx.report(&self.name, "Subsampling", y, parameters, 0)
    }
}

/// Scaled hyperbolic tangent, `1.7159 tanh(2 x / 3)`, which maps 1 to 1 and -1 to -1 (LeCun et al. 1998, appendix A).
#[derive(Clone, Debug)]
pub struct ScaledTanh {
    name: String,
}

impl ScaledTanh {
    /// Layer with the name of the path.
    pub fn new(p: ParamPath) -> Self {
        Self {
            name: p.name().into(),
        }
    }
}

impl Module for ScaledTanh {
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        let y = ((x * (2. / 3.))?.tanh()? * 1.7159)?;
        cx.onnx(&self.name, [x], &y, |layer, [x]| {
            let scaled = layer.times(x, 2. / 3.);
            let tanh = layer.plain("Tanh", &[&scaled]);
            Ok(layer.times(&tanh, 1.7159))
        })?;
        cx.report(&self.name, "ScaledTanh", y, 0, 0)
    }
}

/// Euclidean radial basis functions: the negative squared distance of the input `(N, I)` from each centre, `(N, O)`.
///
/// The centres are the buffer `codes`, `(O, I)`, which is saved but not trained. With the negative sign the nearest code has the
/// largest output, and the cross-entropy of the outputs is the loss of LeCun et al. 1998 (equation 9) without its rubbish class.
#[derive(Clone, Debug)]
pub struct Rbf {
    name: String,
    codes: Var,
}

impl Rbf {
    /// Layer with the centres `codes`, `(O, I)`.
    ///
    /// # Errors
    /// When the name is taken.
    pub fn new(p: ParamPath, codes: &Tensor) -> Result<Self> {
        Ok(Self {
            name: p.name().into(),
            codes: p.buffer_from("codes", &codes.to_dtype(p.dtype())?)?,
        })
    }
}

impl Module for Rbf {
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        let codes = self.codes.as_detached_tensor().unsqueeze(0)?;
        let rows = cast(x, codes.dtype())?.unsqueeze(1)?;
        let distances = rows.broadcast_sub(&codes)?.sqr()?.sum(2)?;
        let y = distances.neg()?;
        cx.onnx(&self.name, [x], &y, |layer, [x]| {
            let codes = onnx_parameter(layer, "codes", &self.codes)?;
            let one = layer.constant("one", Array::integers([1]));
            let two = layer.constant("two", Array::integers([2]));
            let x = layer.plain("Unsqueeze", &[x, &one]);
            let difference = layer.plain("Sub", &[&x, &codes]);
            let square = layer.plain("Mul", &[&difference, &difference]);
            let keep = [("keepdims", Attribute::Int(0))];
            let distance = layer.node("ReduceSum", &[&square, &two], keep);
            Ok(layer.plain("Neg", &[&distance]))
        })?;
        let multiply_adds = codes.elem_count() as u64;
        cx.report(&self.name, "Rbf", y, 0, multiply_adds)
    }
}

impl SequentialBuilder {
    /// [`ConstantPad2d`] of `padding` rows and columns of `value` on each side.
    pub fn constant_pad2d(self, padding: usize, value: f64) -> Self {
        let window = Window::square(1, 1, padding, 1);
        self.windowed(None, "pad", "ConstantPad2d", window, |p, channels| {
            Ok((ConstantPad2d::new(p, padding, value), channels))
        })
    }

    /// [`PartialConv2d`] with the connections of `table`.
    pub fn partial_conv2d(
        self,
        name: impl Into<Name>,
        table: &[&[usize]],
        kernel: usize,
        stride: usize,
        bias: bool,
        init: WeightInit,
    ) -> Self {
        let window = Window::square(kernel, stride, 0, 1);
        self.windowed(name, "conv", "PartialConv2d", window, |p, channels| {
            let conv = PartialConv2d::new(p, channels, table, kernel, stride, bias, init)?;
            Ok((conv, table.len()))
        })
    }

    /// [`UnitBias`].
    pub fn unit_bias(self, name: impl Into<Name>) -> Self {
        self.on_maps(name, "bias", "UnitBias", |p, shape| {
            Ok((UnitBias::new(p, shape.into())?, shape))
        })
    }

    /// [`Subsampling`] of squares of `kernel` by `kernel`.
    pub fn subsampling(self, name: impl Into<Name>, kernel: usize, init: WeightInit) -> Self {
        let window = Window::square(kernel, kernel, 0, 1);
        self.windowed(name, "pool", "Subsampling", window, |p, channels| {
            Ok((Subsampling::new(p, channels, kernel, init)?, channels))
        })
    }

    /// [`ScaledTanh`].
    pub fn scaled_tanh(self) -> Self {
        self.elementwise("tanh", ScaledTanh::new)
    }
}
