//! Depth of parameters in a network, for learning rates that fall from the last layer to the first.

use crate::model::Model;

impl Model {
    /// Depth of each parameter, in their order: 0 in the stem, one more in each block or layer after it, the largest in the head.
    ///
    /// These are the groups of timm's
    /// [`param_groups_layer_decay`](https://github.com/huggingface/pytorch-image-models/blob/main/timm/optim/_param_groups.py) for
    /// ResNet, VGG and ConvNeXt: a stem with its norm is one group, each residual block is one, the layers between two stages of
    /// ConvNeXt belong to the block after them, and the last layers (`fc`, `classifier`) are one. Each layer of a plain network is one,
    /// together with its norm if that has a name of its own (`conv1`, `bn1`).
    pub fn depths(&self) -> Vec<(String, usize)> {
        let parameters = self.store().parameters();
        let names: Vec<(&str, usize)> = (parameters.iter())
            .map(|(name, var)| (name.as_str(), var.rank()))
            .collect();
        let depths = depths(&names, &self.head());
        let names = parameters.iter().map(|(name, _)| name.clone());
        names.zip(depths).collect()
    }
}

/// Depth of the head as long as it is not known.
const HEAD: usize = usize::MAX;

/// Layers that have one depth.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Unit<'a> {
    /// Beginning of the names of its parameters.
    name: &'a str,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Layer with a name of its own: `conv1`, `fc`.
    Named,
    /// Layer with a number: `features.0`.
    Numbered,
    /// Layers in a row within one number: `features.0.0`, `features.0.1`.
    Row,
    /// Block of layers: `layer1.0`, `features.1.0`.
    Block,
}

/// Depths of parameters with these names and numbers of dimensions, in the order of the network. `head` is the last layer.
fn depths(parameters: &[(&str, usize)], head: &str) -> Vec<usize> {
    let units: Vec<Unit> = parameters.iter().map(|(name, _)| unit(name)).collect();
    let in_head = in_head(parameters, head);
    let is_norm = |unit: &Unit| {
        let own = parameters.iter().zip(&units).filter(|(_, of)| *of == unit);
        unit.kind == Kind::Named
            && own
                .map(|(parameter, _)| parameter)
                .all(|(_, rank)| *rank <= 1)
    };
    let mut depths: Vec<usize> = Vec::with_capacity(units.len());
    // Depth of the next block or layer, and of the head at the end.
    let mut next = 0usize;
    for (index, unit) in units.iter().enumerate() {
        let before = depths.last().map(|&depth| (units[index - 1], depth));
        let depth = match before {
            _ if in_head[index] => HEAD,
            Some((same, depth)) if same == *unit => depth,
            Some((_, depth)) if is_norm(unit) && depth != HEAD => depth,
            Some(_) if unit.kind == Kind::Row => {
                let mut after = units[index..].iter().zip(&in_head[index..]);
                match after.any(|(unit, head)| unit.kind == Kind::Block && !*head) {
                    true => next,
                    // Behind the last block.
                    false => next.saturating_sub(1),
                }
            }
            _ => {
                next += 1;
                next - 1
            }
        };
        depths.push(depth);
    }
    depths.into_iter().map(|depth| depth.min(next)).collect()
}

/// Layers to which a parameter belongs.
fn unit(name: &str) -> Unit<'_> {
    let parts: Vec<&str> = name.split('.').collect();
    let number = |at: usize| {
        parts
            .get(at)
            .is_some_and(|part| part.parse::<u32>().is_ok())
    };
    let (count, kind) = match parts.len() {
        0..=2 => (1, Kind::Named),
        _ if !number(1) => (1, Kind::Block),
        3 => (2, Kind::Numbered),
        4 if number(2) && ["weight", "bias"].contains(&parts[3]) => (2, Kind::Row),
        _ if number(2) => (3, Kind::Block),
        _ => (2, Kind::Block),
    };
    let length: usize = parts[..count].iter().map(|part| part.len() + 1).sum();
    Unit {
        name: &name[..length - 1],
        kind,
    }
}

/// Whether each parameter belongs to the head: to the layer `head` and those with the same first part of the name (`classifier.0` and
/// `classifier.3` beside `classifier.6`), unless that is the whole network.
fn in_head(parameters: &[(&str, usize)], head: &str) -> Vec<bool> {
    let first = |name: &str| name.split('.').next().unwrap_or_default().to_string();
    let top = first(head);
    let same: Vec<bool> = (parameters.iter())
        .map(|(name, _)| first(name) == top)
        .collect();
    if !same.iter().all(|same| *same) {
        return same;
    }
    let layer = |name: &str| name.rsplit_once('.').map_or("", |(layer, _)| layer) == head;
    parameters.iter().map(|(name, _)| layer(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Fixture {
        decay: f64,
        /// Name, number of dimensions and factor of each parameter.
        networks: std::collections::HashMap<String, Vec<(String, usize, f64)>>,
    }

    #[test]
    fn depths_give_the_factors_of_timm() {
        let fixture = include_str!("../tests/fixtures/layer_decay.json");
        let fixture: Fixture = serde_json::from_str(fixture).unwrap();
        for (network, head) in [
            ("resnet18", "fc"),
            ("resnet50", "fc"),
            ("vgg16", "classifier.6"),
            ("vgg16-bn", "classifier.6"),
            ("convnext-tiny", "classifier.2"),
        ] {
            let parameters = &fixture.networks[network];
            let names = parameters
                .iter()
                .map(|(name, dims, _)| (name.as_str(), *dims));
            let depths = depths(&names.collect::<Vec<_>>(), head);
            let most = *depths.iter().max().unwrap();
            for ((name, _, expected), depth) in parameters.iter().zip(depths) {
                let factor = fixture.decay.powi((most - depth) as i32);
                let off = (factor - expected).abs();
                assert!(
                    off < 1e-12 * factor,
                    "{network} {name}: {factor}, timm {expected}"
                );
            }
        }
    }

    #[test]
    fn plain_networks_have_a_depth_for_each_layer() {
        let parameters = [
            ("conv1.weight", 4),
            ("bn1.weight", 1),
            ("bn1.bias", 1),
            ("conv2.weight", 4),
            ("conv2.bias", 1),
            ("fc1.weight", 2),
            ("fc2.weight", 2),
            ("fc2.bias", 1),
        ];
        assert_eq!(depths(&parameters, "fc2"), [0, 0, 0, 1, 1, 2, 3, 3]);
        // All in one part: the last layer alone is the head.
        let parameters = [
            ("net.0.weight", 4),
            ("net.2.weight", 4),
            ("net.4.weight", 2),
        ];
        assert_eq!(depths(&parameters, "net.4"), [0, 1, 2]);
        assert_eq!(depths(&[("fc.weight", 2)], "fc"), [0]);
    }

    /// The last convolution of EfficientNet belongs to the block before it, as in timm.
    #[test]
    fn rows_of_layers_belong_to_the_block_beside_them() {
        let parameters = [
            ("features.0.0.weight", 4),
            ("features.0.1.weight", 1),
            ("features.1.0.block.0.0.weight", 4),
            ("features.2.0.weight", 1),
            ("features.2.1.weight", 4),
            ("features.3.0.layer_scale", 3),
            ("features.4.0.weight", 4),
            ("features.4.1.bias", 1),
            ("classifier.1.weight", 2),
        ];
        let expected = [0, 0, 1, 2, 2, 2, 2, 2, 3];
        assert_eq!(depths(&parameters, "classifier.1"), expected);
    }
}
