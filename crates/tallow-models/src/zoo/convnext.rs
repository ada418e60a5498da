use tallow_ops::ParamPath;

use crate::config::ModelConfig;
use crate::error::Result;
use crate::nn::{
    Activation, ActivationKind, Add, Conv2d, ConvOptions, LayerNorm, LayerScale, Linear, Residual,
    Sequential, SequentialBuilder, StochasticDepth, WeightInit,
};

/// Blocks and channels of each stage of ConvNeXt-Tiny.
const STAGES: [(usize, usize); 4] = [(3, 96), (3, 192), (9, 384), (3, 768)];

/// Constant in the norms.
const EPS: f64 = 1e-6;

/// `trunc_normal_(std=0.02)`: its bounds, ±2, are a hundred standard deviations away.
const INIT: WeightInit = WeightInit::Normal { std: 0.02 };

/// ConvNeXt-Tiny (Liu et al. 2022) with torchvision's names: `features.N` and `classifier.N`.
///
/// Stochastic depth rises linearly from 0 to the configuration's, by default 0.1, over the blocks.
pub(crate) fn convnext_tiny(p: &ParamPath, config: &ModelConfig) -> Result<Sequential> {
    let depth = config.stochastic_depth.unwrap_or(0.1);
    let blocks: usize = STAGES.iter().map(|stage| stage.0).sum();
    let widths = STAGES
        .iter()
        .map(|stage| config.narrowed(stage.1))
        .collect::<Result<Vec<_>>>()?;
    let patches = |kernel| ConvOptions {
        stride: kernel,
        init: INIT,
        ..Default::default()
    };
    Sequential::build(p, config.input_shape)
        .sequential("features", |net| {
            let mut net = net.sequential(None, |net| {
                net.conv2d_with(None, widths[0], 4, patches(4))
                    .layer_norm(None, EPS)
            });
            let mut index = 0;
            for (stage, &width) in widths.iter().enumerate() {
                if stage > 0 {
                    net = net.sequential(None, |net| {
                        net.layer_norm(None, EPS)
                            .conv2d_with(None, width, 2, patches(2))
                    });
                }
                net = net.sequential(None, |mut net| {
                    for _ in 0..STAGES[stage].0 {
                        let probability = depth * index as f64 / (blocks - 1) as f64;
                        net = block(net, width, probability);
                        index += 1;
                    }
                    net
                });
            }
            net
        })
        .adaptive_avg_pool2d(1, 1)
        .sequential("classifier", |net| {
            net.layer_norm(None, EPS)
                .flatten()
                .linear_with(None, config.classes, INIT)
        })
        .finish()
}

/// Residual block: depthwise 7x7 convolution, layer norm, two linear layers over the channels with GELU between, layer scale,
/// stochastic depth.
fn block(net: SequentialBuilder, width: usize, probability: f64) -> SequentialBuilder {
    net.layer(None, |p, shape| {
        let depthwise = ConvOptions {
            padding: 3,
            groups: width,
            init: INIT,
            ..Default::default()
        };
        // First in the state dict, last to run.
        let scale = LayerScale::new(&p, "layer_scale", width, 1e-6)?;
        let inner = p.pp("block");
        // torchvision's indices; 1 and 6 are permutations of axes.
        let body = Sequential::new()
            .add(Conv2d::with(inner.pp(0), width, width, 7, depthwise)?)
            .add(LayerNorm::new(inner.pp(2), width, EPS)?)
            .add(Linear::with(inner.pp(3), width, 4 * width, INIT)?)
            .add(Activation::new(inner.pp(4), ActivationKind::Gelu))
            .add(Linear::with(inner.pp(5), 4 * width, width, INIT)?)
            .add(scale)
            .add(StochasticDepth::new(p.pp("stochastic_depth"), probability)?);
        let add = Add::new(p.pp("add"));
        let block = Residual::new(body, Sequential::new(), add, None);
        Ok((block, shape.to_vec()))
    })
}
