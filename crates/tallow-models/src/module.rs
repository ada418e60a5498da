use candle_core::{Tensor, Var};
use tallow_ops::Layout;

use crate::Result;

/// A layer, or a network of them.
pub trait Module: Send + Sync {
    /// The output for a batch. Activations with four axes are in `cx.layout`.
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor>;
}

impl<M: Module + ?Sized> Module for Box<M> {
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        (**self).forward(x, cx)
    }
}

/// How a forward pass is made: the mode, the axis order, and who watches.
pub struct Context<'a> {
    /// Whether this is training: batch norm takes the batch's statistics, dropout drops.
    pub train: bool,
    /// The axis order of every activation with four axes.
    pub layout: Layout,
    observer: Option<Observer<'a>>,
    cut: Option<Cut<'a>>,
}

/// A place at which the graph begins anew.
struct Cut<'a> {
    layer: &'a str,
    /// What came out there, once it has.
    output: Option<Var>,
}

type Observer<'a> = &'a mut dyn FnMut(&Layer);

/// What a leaf layer (one with no layers inside) tells the observer after its work.
#[derive(Clone, Copy, Debug)]
pub struct Layer<'a> {
    /// The dotted name, such as `features.0`.
    pub name: &'a str,
    /// PyTorch's name for this kind of layer, such as `Conv2d`.
    pub kind: &'static str,
    /// The output, in `layout` when it has four axes.
    pub output: &'a Tensor,
    /// The axis order of the output.
    pub layout: Layout,
    /// Trained values in this layer.
    pub parameters: usize,
    /// Multiplications, each with its addition, for one image. Convolutions and linear layers count; what costs a few operations a
    /// value (batch norm, activations, pooling, biases) does not.
    pub multiply_adds: u64,
}

impl Layer<'_> {
    /// The output's shape without the batch axis: `(C, H, W)` whatever the layout, or `(F)`.
    pub fn output_shape(&self) -> Vec<usize> {
        match (self.layout, self.output.dims()) {
            (Layout::Nhwc, &[_, h, w, c]) => vec![c, h, w],
            (_, dims) => dims.iter().skip(1).copied().collect(),
        }
    }
}

impl<'a> Context<'a> {
    /// A pass that nobody watches.
    pub fn new(train: bool, layout: Layout) -> Self {
        Self {
            train,
            layout,
            observer: None,
            cut: None,
        }
    }

    /// A pass in which `observer` is called after each leaf layer, in the order they run.
    pub fn observed(train: bool, layout: Layout, observer: &'a mut dyn FnMut(&Layer)) -> Self {
        Self {
            train,
            layout,
            observer: Some(observer),
            cut: None,
        }
    }

    /// A pass, not of training, that goes on from a variable in place of the output of `layer`: candle keeps gradients with
    /// respect to variables alone.
    pub(crate) fn cut(layout: Layout, layer: &'a str) -> Self {
        let output = None;
        Self {
            train: false,
            layout,
            observer: None,
            cut: Some(Cut { layer, output }),
        }
    }

    /// The variable that a pass with a cut went on from, if it came by that layer.
    pub(crate) fn into_variable(self) -> Option<Var> {
        self.cut?.output
    }

    /// Whether somebody wants to see every leaf layer's output, so that layers must not be merged.
    pub fn is_observed(&self) -> bool {
        self.observer.is_some() || self.cut.is_some()
    }

    /// What every leaf layer ends with: tells the observer, if there is one, about its output. What it returns is what the layer
    /// returns: the output, or what the pass goes on with in its place.
    pub fn report(
        &mut self,
        name: &str,
        kind: &'static str,
        output: Tensor,
        parameters: usize,
        multiply_adds: u64,
    ) -> Result<Tensor> {
        if let Some(observer) = &mut self.observer {
            let layout = self.layout;
            observer(&Layer {
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
}
