use candle_core::Tensor;
use tallow_ops::{ParamPath, Pool2dConfig, adaptive_avg_pool2d, avg_pool2d, max_pool2d};

use crate::error::Result;
use crate::module::{Context, Module};

/// Max pooling, as `torch.nn.MaxPool2d`.
#[derive(Clone, Debug)]
pub struct MaxPool2d {
    name: String,
    config: Pool2dConfig,
}

const MAX_POOL: &str = "MaxPool2d";

impl MaxPool2d {
    /// Pooling with windows of `kernel` by `kernel` and a stride of `kernel`.
    pub fn new(p: ParamPath, kernel: usize) -> Self {
        Self::with(p, Pool2dConfig::new(kernel))
    }

    /// Pooling with all settings; the layout is that of the forward pass.
    pub fn with(p: ParamPath, config: Pool2dConfig) -> Self {
        Self {
            name: p.name().into(),
            config,
        }
    }

    /// Kind and name.
    pub(super) fn label(&self) -> (&'static str, &str) {
        (MAX_POOL, &self.name)
    }

    /// Whether it has windows of 2x2 and stride 2, without padding.
    pub(super) fn is_halving(&self) -> bool {
        self.config
            == Pool2dConfig {
                layout: self.config.layout,
                ..Pool2dConfig::new(2)
            }
    }
}

impl Module for MaxPool2d {
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        let y = max_pool2d(
            x,
            &Pool2dConfig {
                layout: cx.layout,
                ..self.config
            },
        )?;
        cx.onnx(&self.name, [x], &y, |layer, [input]| {
            Ok(layer.max_pool(input, &windows(&self.config), sides(x)?, sides(&y)?))
        })?;
        cx.report(&self.name, MAX_POOL, y, 0, 0)
    }
}

/// Average pooling, as `torch.nn.AvgPool2d`; padding counts in the average (`count_include_pad`, PyTorch's default).
#[derive(Clone, Debug)]
pub struct AvgPool2d {
    name: String,
    config: Pool2dConfig,
}

impl AvgPool2d {
    /// Pooling with windows of `kernel` by `kernel` and a stride of `kernel`.
    pub fn new(p: ParamPath, kernel: usize) -> Self {
        Self::with(p, Pool2dConfig::new(kernel))
    }

    /// Pooling with all settings; the layout is that of the forward pass.
    pub fn with(p: ParamPath, config: Pool2dConfig) -> Self {
        Self {
            name: p.name().into(),
            config,
        }
    }
}

impl Module for AvgPool2d {
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        let y = avg_pool2d(
            x,
            &Pool2dConfig {
                layout: cx.layout,
                ..self.config
            },
            true,
        )?;
        cx.onnx(&self.name, [x], &y, |layer, [input]| {
            Ok(layer.average_pool(input, &windows(&self.config), sides(x)?, sides(&y)?))
        })?;
        cx.report(&self.name, "AvgPool2d", y, 0, 0)
    }
}

/// Adaptive average pooling, as `torch.nn.AdaptiveAvgPool2d`: any map to `output` rows and columns.
#[derive(Clone, Debug)]
pub struct AdaptiveAvgPool2d {
    name: String,
    output: (usize, usize),
}

impl AdaptiveAvgPool2d {
    /// Pooling to `(rows, columns)`.
    pub fn new(p: ParamPath, output: (usize, usize)) -> Self {
        Self {
            name: p.name().into(),
            output,
        }
    }
}

impl Module for AdaptiveAvgPool2d {
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        let y = adaptive_avg_pool2d(x, self.output, cx.layout)?;
        cx.onnx(&self.name, [x], &y, |layer, [input]| {
            Ok(layer.adaptive_average_pool(input, sides(x)?, self.output)?)
        })?;
        cx.report(&self.name, "AdaptiveAvgPool2d", y, 0, 0)
    }
}

/// Settings of the operator in ONNX.
fn windows(config: &Pool2dConfig) -> tallow_onnx::Pool {
    tallow_onnx::Pool {
        kernel: config.kernel,
        stride: config.stride,
        padding: config.padding,
        dilation: config.dilation,
    }
}

/// Rows and columns of `(N, C, H, W)`.
fn sides(map: &Tensor) -> Result<(usize, usize)> {
    let (_, _, h, w) = map.dims4()?;
    Ok((h, w))
}
