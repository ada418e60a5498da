//! Residual blocks in a [`SequentialBuilder`].

use crate::nn::builder::{Name, SequentialBuilder};
use crate::nn::residual::{BasicBlock, Bottleneck, PreActBlock};
use crate::nn::shortcut::ResidualOptions;

impl SequentialBuilder {
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
