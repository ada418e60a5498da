//! The networks, each on one screen.

mod catalogue;
mod cnn;
mod convnet;
mod digits;
mod lenet;
mod mlp;
mod nin;
mod resnet;
mod vgg;

pub(crate) use catalogue::CATALOGUE;
pub(crate) use cnn::{cifar_cnn, cifar_cnn_bn, cnn, lenet, lenet5};
pub(crate) use convnet::{convnet_fc, convnet_gap};
pub(crate) use lenet::{lenet_1989, lenet5_1998, lenet5_1998_rbf};
pub(crate) use mlp::mlp;
pub(crate) use nin::{nin, nin_fc};
pub use resnet::{Block, Naming, ResNet, Stem};
pub(crate) use vgg::{Head, Vgg};

use crate::{Error, Result};

/// The side of a map after a 5x5 convolution and a halving pool, twice; only the first convolution pads.
fn after_two_convolutions(
    model: &'static str,
    (_, h, w): (usize, usize, usize),
    padding: usize,
) -> Result<(usize, usize)> {
    let once = |side: usize| Some(side.checked_sub(4)? / 2);
    let twice = |side: usize| once(once(side + 2 * padding)?).filter(|side| *side > 0);
    let least = 16 - 2 * padding;
    match (twice(h), twice(w)) {
        (Some(h), Some(w)) => Ok((h, w)),
        _ => Err(Error::Config {
            model,
            message: format!(
                "images of {h} x {w} are too small: two 5x5 convolutions and poolings need {least} x {least}"
            ),
        }),
    }
}
