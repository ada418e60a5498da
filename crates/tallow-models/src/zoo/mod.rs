//! The networks, each on one screen.

mod cnn;
mod mlp;
mod resnet;
mod vgg;

pub(crate) use cnn::{cifar_cnn, cnn, lenet};
pub(crate) use mlp::mlp;
pub(crate) use resnet::{resnet18_cifar, resnet20};
pub(crate) use vgg::{vgg16_bn_cifar, vgg16_slim};

use crate::{Error, Result};

/// The side of a map after a 5x5 convolution without padding and a halving pool, twice.
fn after_two_convolutions(
    model: &'static str,
    (_, h, w): (usize, usize, usize),
) -> Result<(usize, usize)> {
    let once = |side: usize| Some(side.checked_sub(4)? / 2);
    let twice = |side: usize| once(once(side)?).filter(|side| *side > 0);
    match (twice(h), twice(w)) {
        (Some(h), Some(w)) => Ok((h, w)),
        _ => Err(Error::Config {
            model,
            message: format!(
                "images of {h} x {w} are too small: two 5x5 convolutions and poolings need 16 x 16"
            ),
        }),
    }
}
