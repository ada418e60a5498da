use std::any::Any;
use std::fmt;

use candle_core::{Tensor, Var};
use tallow_onnx::{Layer, Value};
use tallow_ops::Layout;

use crate::error::{Error, Result};
use crate::trace::Trace;

/// Layer, or a network of layers.
///
/// A layer without layers inside ends its forward pass with [`Context::report`], so that summaries, feature extraction and Grad-CAM
/// see its output.
pub trait Module: Any + Send + Sync {
    /// Output for a batch. Activations with four axes are in `cx.layout`.
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor>;
}

impl<M: Module + ?Sized> Module for Box<M> {
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        (**self).forward(x, cx)
    }
}

/// Settings of one forward pass: training or evaluation, axis order, and observers.
pub struct Context<'a> {
    /// Training mode: batch norm uses the statistics of the batch and updates the running ones, dropout is active.
    pub train: bool,
    /// Axis order of every activation with four axes.
    pub layout: Layout,
    observer: Option<Observer<'a>>,
    operators: Option<&'a mut Vec<Operator>>,
    cut: Option<Cut<'a>>,
    trace: Option<&'a mut Trace>,
}

/// Layer whose output is replaced by a variable.
struct Cut<'a> {
    layer: &'a str,
    /// The variable, once the layer has run.
    output: Option<Var>,
}

type Observer<'a> = &'a mut dyn FnMut(&LayerOutput);

/// Output of a leaf layer (one with no layers inside), as an observer sees it.
#[derive(Clone, Copy, Debug)]
pub struct LayerOutput<'a> {
    /// Dotted name of the layer, such as `features.0`.
    pub name: &'a str,
    /// PyTorch's name of the kind of layer, such as `Conv2d`.
    pub kind: &'static str,
    /// Output of the layer, in `layout` when it has four axes.
    pub output: &'a Tensor,
    /// Axis order of the output.
    pub layout: Layout,
    /// Number of trained values in the layer.
    pub parameters: usize,
    /// Multiply-adds for one image. Convolutions and linear layers count; operations with a constant cost per value (batch norm,
    /// activations, pooling, biases) do not.
    pub multiply_adds: u64,
}

impl LayerOutput<'_> {
    /// Output shape without the batch axis: `[C, H, W]` in either layout, or `[F]`.
    pub fn output_shape(&self) -> Vec<usize> {
        match (self.layout, self.output.dims()) {
            (Layout::Nhwc, &[_, h, w, c]) => vec![c, h, w],
            (_, dims) => dims.iter().skip(1).copied().collect(),
        }
    }
}

/// Operator that ran in a forward pass, with the layers that it covers; see [`Context::recording`].
///
/// Its `Display` is `Conv2d + ReLU + MaxPool2d: conv1, relu1, pool1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    /// PyTorch's names of the kinds of layers.
    pub kinds: Vec<&'static str>,
    /// Dotted names of the layers.
    pub layers: Vec<String>,
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}: {}", self.kinds.join(" + "), self.layers.join(", "))
    }
}

impl<'a> Context<'a> {
    /// Forward pass without observers.
    pub fn new(train: bool, layout: Layout) -> Self {
        Self {
            train,
            layout,
            observer: None,
            operators: None,
            cut: None,
            trace: None,
        }
    }

    /// Forward pass that calls `observer` after each leaf layer, in the order in which they run. Layers run one by one.
    pub fn observed(
        train: bool,
        layout: Layout,
        observer: &'a mut dyn FnMut(&LayerOutput),
    ) -> Self {
        Self {
            observer: Some(observer),
            ..Self::new(train, layout)
        }
    }

    /// Forward pass that appends to `operators` what ran, in order. Layers are fused as in an ordinary pass.
    pub fn recording(train: bool, layout: Layout, operators: &'a mut Vec<Operator>) -> Self {
        Self {
            operators: Some(operators),
            ..Self::new(train, layout)
        }
    }

    /// Forward pass in evaluation mode that continues from a variable in place of the output of `layer`: candle keeps gradients of
    /// variables only.
    pub(crate) fn cut(layout: Layout, layer: &'a str) -> Self {
        let output = None;
        Self {
            cut: Some(Cut { layer, output }),
            ..Self::new(false, layout)
        }
    }

    /// Forward pass in evaluation mode, in `(N, C, H, W)`, in which layers describe themselves in ONNX.
    pub(crate) fn tracing(trace: &'a mut Trace) -> Self {
        Self {
            trace: Some(trace),
            ..Self::new(false, Layout::Nchw)
        }
    }

    /// The variable that a pass with a cut continued from, if the layer ran.
    pub(crate) fn into_variable(self) -> Option<Var> {
        self.cut?.output
    }

    /// Whether the output of every leaf layer is wanted, so that layers must not be fused.
    pub fn is_observed(&self) -> bool {
        self.observer.is_some() || self.cut.is_some() || self.trace.is_some()
    }

    /// Describes a leaf layer in ONNX, if the forward pass is that of [`Model::to_onnx`](crate::Model::to_onnx); otherwise does nothing.
    ///
    /// `describe` gets the layer of the graph and the values of `inputs`, appends the operators of evaluation mode for activations
    /// `(N, C, H, W)` or `(N, F)`, and returns the value of `output`, the tensor that [`Context::report`] gets next. A layer that
    /// computes nothing in evaluation returns the value of its input. The batch axis has any size: no operator may depend on it.
    /// [`onnx_parameter`](crate::onnx_parameter) makes values of parameters.
    ///
    /// ```
    /// use candle_core::Tensor;
    /// use tallow_models::{Context, Module, Result};
    ///
    /// struct Square;
    ///
    /// impl Module for Square {
    ///     fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
    ///         let y = x.sqr()?;
    ///         cx.onnx("square", [x], &y, |layer, [x]| Ok(layer.plain("Mul", &[x, x])))?;
    ///         cx.report("square", "Square", y, 0, 0)
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// Those of `describe`; [`Error::Layer`] when an input is no output of a layer that has described itself.
    pub fn onnx<const N: usize>(
        &mut self,
        layer: &str,
        inputs: [&Tensor; N],
        output: &Tensor,
        describe: impl FnOnce(&mut Layer, [&Value; N]) -> Result<Value>,
    ) -> Result<()> {
        match &mut self.trace {
            Some(trace) => trace.layer(layer, inputs, output, describe),
            None => Ok(()),
        }
    }

    /// Reports the output of a leaf layer to the observer, if there is one. Returns what the layer must return: `output`, or the
    /// variable that replaces it.
    pub fn report(
        &mut self,
        name: &str,
        kind: &'static str,
        output: Tensor,
        parameters: usize,
        multiply_adds: u64,
    ) -> Result<Tensor> {
        self.ran(&[(kind, name)]);
        if let Some(trace) = &self.trace
            && trace.value(&output).is_none()
        {
            let message = "has no description in ONNX; its forward pass must call Context::onnx before Context::report";
            return Err(Error::layer(name, kind, message.into()));
        }
        if let Some(observer) = &mut self.observer {
            let layout = self.layout;
            observer(&LayerOutput {
                name,
                kind,
                output: &output,
                layout,
                parameters,
                multiply_adds,
            });
        }
        match &mut self.cut {
            Some(cut) if cut.layer == name => {
                let variable = Var::from_tensor(&output.detach())?;
                Ok(cut.output.insert(variable).as_tensor().clone())
            }
            _ => Ok(output),
        }
    }

    /// Records that layers of these kinds and names ran as one operator.
    pub(crate) fn ran(&mut self, layers: &[(&'static str, &str)]) {
        if let Some(operators) = &mut self.operators {
            operators.push(Operator {
                kinds: layers.iter().map(|(kind, _)| *kind).collect(),
                layers: layers.iter().map(|(_, name)| name.to_string()).collect(),
            });
        }
    }
}
