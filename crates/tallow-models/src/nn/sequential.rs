use std::any::Any;
use std::ops::Range;

use candle_core::Tensor;
use tallow_ops::Layout;

use crate::error::Result;
use crate::module::{Context, Module};
use crate::nn::conv::Conv2d;
use crate::nn::fused;
use crate::nn::linear::Linear;
use crate::nn::norm::BatchNorm2d;
use crate::nn::pool::MaxPool2d;
use crate::nn::simple::{Add, Relu};

/// Layers that run one after another, as `torch.nn.Sequential`.
///
/// [`Sequential::build`] makes the layers and infers their input shapes; [`Sequential::add`] takes finished layers. A `Sequential` that
/// is added to another is replaced by its layers.
///
/// Consecutive layers for which there is a joint operator run as one: `Conv2d`, `BatchNorm2d` and `ReLU`, or `Conv2d` and `ReLU`, each
/// also with a 2x2 `MaxPool2d` after it; in evaluation also `Conv2d` and `BatchNorm2d`; on a CUDA device also `Linear` and `ReLU`. The results are those of the single layers up to
/// rounding. While an observer wants the output of every layer, layers run one by one. [`Context::recording`] lists the operators that
/// run.
#[derive(Default)]
pub struct Sequential {
    layers: Vec<Layer>,
    /// Ranges of layers that run as one operator where there is a joint one.
    plan: Vec<Range<usize>>,
}

/// Layer, by the kinds that can be fused.
enum Layer {
    Conv2d(Conv2d),
    Linear(Linear),
    BatchNorm2d(BatchNorm2d),
    Relu(Relu),
    MaxPool2d(MaxPool2d),
    Other(Box<dyn Module>),
}

impl Sequential {
    /// Sequence without layers: returns its input.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a layer.
    #[expect(clippy::should_implement_trait, reason = "adding a layer is no sum")]
    pub fn add(mut self, layer: impl Module) -> Self {
        self.push(layer);
        self
    }

    /// Appends a layer in place.
    pub fn push(&mut self, layer: impl Module) {
        self.append(Box::new(layer));
        // A new layer joins the last operator or begins another; earlier ones stay as they are.
        let mut start = self.plan.pop().map_or(0, |last| last.start);
        while start < self.layers.len() {
            let end = start + joint(&self.layers[start..]);
            self.plan.push(start..end);
            start = end;
        }
    }

    /// Whether there are no layers.
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    fn append(&mut self, layer: Box<dyn Module>) {
        let any: &dyn Any = layer.as_ref();
        if !any.is::<Self>() && !any.is::<Box<dyn Module>>() {
            return self.layers.push(Layer::of(layer));
        }
        let any: Box<dyn Any> = layer;
        match any.downcast::<Self>() {
            Ok(nested) => self.layers.extend(nested.layers),
            Err(any) => {
                if let Ok(boxed) = any.downcast::<Box<dyn Module>>() {
                    self.append(*boxed);
                }
            }
        }
    }

    /// `relu(self(x) + shortcut(x))`; without a ReLU, the sum.
    ///
    /// A convolution and a batch norm at the end join the addition and the ReLU; they run after the shortcut.
    pub(super) fn forward_residual(
        &self,
        x: &Tensor,
        shortcut: impl FnOnce(&mut Context) -> Result<Tensor>,
        add: &Add,
        relu: Option<&Relu>,
        cx: &mut Context,
    ) -> Result<Tensor> {
        let ending = self.plan.split_last().and_then(|(last, before)| {
            match (&self.layers[last.clone()], relu) {
                ([Layer::Conv2d(conv), Layer::BatchNorm2d(norm)], Some(relu)) => {
                    Some((before, conv, norm, relu))
                }
                _ => None,
            }
        });
        let Some((before, conv, norm, relu)) = ending else {
            let y = self.forward(x, cx)?;
            let shortcut = shortcut(cx)?;
            let sum = add.forward(&y, &shortcut, cx)?;
            return match relu {
                Some(relu) => relu.forward(&sum, cx),
                None => Ok(sum),
            };
        };
        let y = self.run(before, x, cx)?;
        let shortcut = shortcut(cx)?;
        if cx.is_observed() {
            let y = norm.forward(&conv.forward(&y, cx)?, cx)?;
            let sum = add.forward(&y, &shortcut, cx)?;
            return relu.forward(&sum, cx);
        }
        fused::conv_bn_add_relu(conv, norm, add, relu, &y, &shortcut, cx)
    }

    fn run(&self, plan: &[Range<usize>], x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        plan.iter().try_fold(x.clone(), |x, range| {
            run(&self.layers[range.clone()], &x, cx)
        })
    }
}

impl Module for Sequential {
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        self.run(&self.plan, x, cx)
    }
}

impl Layer {
    fn of(layer: Box<dyn Module>) -> Self {
        // Clones share their parameters.
        let any: &dyn Any = layer.as_ref();
        if let Some(conv) = any.downcast_ref::<Conv2d>() {
            Self::Conv2d(conv.clone())
        } else if let Some(linear) = any.downcast_ref::<Linear>() {
            Self::Linear(linear.clone())
        } else if let Some(norm) = any.downcast_ref::<BatchNorm2d>() {
            Self::BatchNorm2d(norm.clone())
        } else if let Some(relu) = any.downcast_ref::<Relu>() {
            Self::Relu(relu.clone())
        } else if let Some(pool) = any.downcast_ref::<MaxPool2d>() {
            Self::MaxPool2d(pool.clone())
        } else {
            Self::Other(layer)
        }
    }
}

impl Module for Layer {
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        match self {
            Self::Conv2d(conv) => conv.forward(x, cx),
            Self::Linear(linear) => linear.forward(x, cx),
            Self::BatchNorm2d(norm) => norm.forward(x, cx),
            Self::Relu(relu) => relu.forward(x, cx),
            Self::MaxPool2d(pool) => pool.forward(x, cx),
            Self::Other(layer) => layer.forward(x, cx),
        }
    }
}

/// Number of layers, from the first one on, for which there may be a joint operator.
fn joint(layers: &[Layer]) -> usize {
    use Layer::{BatchNorm2d, Conv2d, Linear, MaxPool2d, Relu};
    match layers {
        [Conv2d(_), BatchNorm2d(_), Relu(_), MaxPool2d(pool), ..] if pool.is_halving() => 4,
        [Conv2d(_), BatchNorm2d(_), Relu(_), ..] => 3,
        [Conv2d(_), BatchNorm2d(_), ..] => 2,
        [Conv2d(_), Relu(_), MaxPool2d(pool), ..] if pool.is_halving() => 3,
        [Conv2d(_) | Linear(_), Relu(_), ..] => 2,
        _ => 1,
    }
}

/// Runs the layers of one range of the plan.
fn run(layers: &[Layer], x: &Tensor, cx: &mut Context) -> Result<Tensor> {
    use Layer::{BatchNorm2d, Conv2d, Linear, MaxPool2d, Relu};
    // Channels first has an operator for convolution and ReLU, and channels last has one on a GPU alone.
    let has_conv_relu = cx.layout == Layout::Nchw || x.device().is_cuda();
    match layers {
        _ if cx.is_observed() => {}
        [Conv2d(conv), BatchNorm2d(norm)] => return fused::conv_bn(conv, norm, x, cx),
        [Conv2d(conv), BatchNorm2d(norm), Relu(relu)] => {
            return fused::conv_bn_relu(conv, norm, relu, None, x, cx);
        }
        [Conv2d(conv), BatchNorm2d(norm), Relu(relu), MaxPool2d(pool)] => {
            return fused::conv_bn_relu(conv, norm, relu, Some(pool), x, cx);
        }
        [Conv2d(conv), Relu(relu)] if has_conv_relu => {
            return fused::conv_relu(conv, relu, None, x, cx);
        }
        [Conv2d(conv), Relu(relu), MaxPool2d(pool)] if has_conv_relu => {
            return fused::conv_relu(conv, relu, Some(pool), x, cx);
        }
        // Linear layers of maps are convolutions.
        [Linear(linear), Relu(relu)] if x.rank() == 2 && x.device().is_cuda() => {
            return fused::linear_relu(linear, relu, x, cx);
        }
        _ => {}
    }
    layers
        .iter()
        .try_fold(x.clone(), |x, layer| layer.forward(&x, cx))
}
