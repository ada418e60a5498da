//! Residual blocks in a [`SequentialBuilder`].

use crate::error::Error;
use crate::module::Module;
use crate::nn::builder::{Name, SequentialBuilder};
use crate::nn::residual::{BasicBlock, Bottleneck, PreActBlock, Residual};
use crate::nn::sequential::Sequential;
use crate::nn::shortcut::ResidualOptions;
use crate::nn::simple::Add;

impl SequentialBuilder {
    /// [`Residual`] connection without a ReLU around `body`, whose layers are named below `name`; the addition is `<name>.add`.
    /// Without `connected` it is `body` alone, as in the blocks of MobileNet and EfficientNet that change the shape.
    ///
    /// # Errors
    /// [`Error::Layer`] from `finish` when `body` changes the shape although `connected` is true.
    pub fn residual(
        self,
        name: impl Into<Name>,
        connected: bool,
        body: impl FnOnce(Self) -> Self,
    ) -> Self {
        self.on_maps(name, "block", "Residual", |p, [c, h, w]| {
            let built = body(Sequential::build(&p, (c, h, w)));
            let shape = built.shape().to_vec();
            let net = built.finish()?;
            let shape = match *shape {
                [channels, rows, columns] if !connected || shape == [c, h, w] => {
                    [channels, rows, columns]
                }
                _ => {
                    let message = format!(
                        "expected an output of the input's shape, ({c}, {h}, {w}), found {shape:?}"
                    );
                    return Err(Error::layer(p.name(), "Residual", message));
                }
            };
            let layer: Box<dyn Module> = match connected {
                true => Box::new(Residual::new(
                    net,
                    Sequential::new(),
                    Add::new(p.pp("add")),
                    None,
                )),
                false => Box::new(net),
            };
            Ok((layer, shape))
        })
    }

    /// [`BasicBlock`] with `width` output channels.
    pub fn basic_block(
        self,
        name: impl Into<Name>,
        width: usize,
        options: &ResidualOptions,
    ) -> Self {
        self.on_maps(name, "block", "BasicBlock", |p, [c, h, w]| {
            let block = BasicBlock::new(&p, c, width, options)?;
            Ok((block, strided([width, h, w], options)))
        })
    }

    /// [`Bottleneck`] with `inner` channels inside and `outputs` output channels.
    pub fn bottleneck(
        self,
        name: impl Into<Name>,
        inner: usize,
        outputs: usize,
        options: &ResidualOptions,
    ) -> Self {
        self.on_maps(name, "block", "Bottleneck", |p, [c, h, w]| {
            let block = Bottleneck::new(&p, c, inner, outputs, options)?;
            Ok((block, strided([outputs, h, w], options)))
        })
    }

    /// [`PreActBlock`] with `width` output channels.
    pub fn pre_act_block(
        self,
        name: impl Into<Name>,
        width: usize,
        options: &ResidualOptions,
    ) -> Self {
        self.on_maps(name, "block", "PreActBlock", |p, [c, h, w]| {
            let block = PreActBlock::new(&p, c, width, options)?;
            Ok((block, strided([width, h, w], options)))
        })
    }
}

/// Shape after a stride, sizes rounded up.
fn strided([c, h, w]: [usize; 3], options: &ResidualOptions) -> [usize; 3] {
    let stride = options.stride.max(1);
    [c, h.div_ceil(stride), w.div_ceil(stride)]
}
