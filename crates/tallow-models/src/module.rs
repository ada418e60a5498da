use candle_core::Tensor;
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
        }
    }

    /// A pass in which `observer` is called after each leaf layer, in the order they run.
    pub fn observed(train: bool, layout: Layout, observer: &'a mut dyn FnMut(&Layer)) -> Self {
        Self {
            train,
            layout,
            observer: Some(observer),
        }
    }

    /// Whether an observer wants to see every leaf layer's output, so that layers must not be merged.
    pub fn is_observed(&self) -> bool {
        self.observer.is_some()
    }

    /// Tells the observer, if there is one, about a leaf layer's output.
    pub fn report(
        &mut self,
        name: &str,
        kind: &'static str,
        output: &Tensor,
        parameters: usize,
        multiply_adds: u64,
    ) {
        if let Some(observer) = &mut self.observer {
            let layout = self.layout;
            observer(&Layer {
                name,
                kind,
                output,
                layout,
                parameters,
                multiply_adds,
            });
        }
    }
}
