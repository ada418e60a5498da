//! Names of timm in the place of torchvision's, for the networks that the two write differently: MobileNetV3, EfficientNet, ConvNeXt and
//! VGG. Their ResNets have the same names.

use std::collections::{BTreeSet, HashSet};

use candle_core::{DType, Tensor};

/// Constants in the batch norms of MobileNetV3: timm's and torchvision's.
const MOBILENET_EPS: (f64, f64) = (1e-5, 1e-3);

/// Networks whose names differ.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    MobileNet,
    EfficientNet,
    ConvNext,
    Vgg,
}

/// `tensors` with torchvision's names and shapes, if they have timm's and the model (`targets`) has torchvision's; else as they are.
///
/// A batch norm of timm's MobileNetV3 adds 1e-5 to the variance and torchvision's 1e-3, so that the difference goes into the running
/// variances: outputs in evaluation are timm's. A running variance may be a little below 0 for it.
pub(super) fn to_torchvision(
    tensors: Vec<(String, Tensor)>,
    targets: &HashSet<&str>,
) -> candle_core::Result<Vec<(String, Tensor)>> {
    let Some(family) = family(&tensors, targets) else {
        return Ok(tensors);
    };
    let names: HashSet<&str> = tensors.iter().map(|(name, _)| name.as_str()).collect();
    let blocks: BTreeSet<(usize, usize)> = names
        .iter()
        .filter_map(|name| block(name).map(|(at, _)| at))
        .collect();
    let blocks: Vec<(usize, usize)> = blocks.into_iter().collect();
    let rename = |name: &str| match family {
        Family::MobileNet | Family::EfficientNet => inverted(name, &names, &blocks, family),
        Family::ConvNext => convnext(name),
        Family::Vgg => vgg(name),
    };
    let renamed = tensors.iter().map(|(name, tensor)| {
        let Some(ours) = rename(name) else {
            return Ok((name.clone(), tensor.clone()));
        };
        let tensor = match tensor.dims() {
            // Linear layers that timm writes as convolutions over the whole map.
            [outputs, ..] if tensor.rank() == 4 && ours.starts_with("classifier") => {
                tensor.reshape((*outputs, ()))?
            }
            [channels] if ours.ends_with("layer_scale") => tensor.reshape((*channels, 1, 1))?,
            _ if family == Family::MobileNet && ours.ends_with("running_var") => {
                let (theirs, own) = MOBILENET_EPS;
                tensor.to_dtype(DType::F32)?.affine(1., theirs - own)?
            }
            _ => tensor.clone(),
        };
        Ok((ours, tensor))
    });
    renamed.collect()
}

fn family(tensors: &[(String, Tensor)], targets: &HashSet<&str>) -> Option<Family> {
    let has = |wanted: &str| tensors.iter().any(|(name, _)| name == wanted);
    let ours = |name: &str| targets.contains(name);
    if has("conv_stem.weight") && ours("features.1.block.0.0.weight") {
        Some(Family::MobileNet)
    } else if has("conv_stem.weight") && ours("features.1.0.block.0.0.weight") {
        Some(Family::EfficientNet)
    } else if has("stages.0.blocks.0.gamma") && ours("features.1.0.layer_scale") {
        Some(Family::ConvNext)
    } else if has("pre_logits.fc1.weight") && ours("classifier.6.weight") {
        Some(Family::Vgg)
    } else {
        None
    }
}

/// Stage and number of a block in `blocks.S.N.REST`, and the rest.
fn block(name: &str) -> Option<((usize, usize), &str)> {
    let mut parts = name.strip_prefix("blocks.")?.splitn(3, '.');
    let (stage, number) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Some(((stage, number), parts.next()?))
}

/// Inverted residual blocks, and the layers before and after them.
fn inverted(
    name: &str,
    names: &HashSet<&str>,
    blocks: &[(usize, usize)],
    family: Family,
) -> Option<String> {
    if let Some(((stage, number), rest)) = block(name) {
        let at = blocks.iter().position(|known| *known == (stage, number))?;
        let place = match family {
            Family::MobileNet => format!("features.{}", at + 1),
            _ => format!("features.{}.{number}", stage + 1),
        };
        // The last stage of MobileNetV3 is one convolution.
        let (part, leaf) = rest.split_once('.')?;
        match (family, part) {
            (Family::MobileNet, "conv") => return Some(format!("{place}.0.{leaf}")),
            (Family::MobileNet, "bn1") if has(names, stage, number, "conv.weight") => {
                return Some(format!("{place}.1.{leaf}"));
            }
            _ => {}
        }
        let expands = has(names, stage, number, "conv_pwl.weight");
        let squeezes = has(names, stage, number, "se.conv_reduce.weight");
        let depthwise = usize::from(expands);
        let projection = depthwise + 1 + usize::from(squeezes);
        let inner = match (part, expands) {
            ("conv_pw", true) => "0.0".to_string(),
            ("bn1", true) => "0.1".to_string(),
            ("conv_dw", _) => format!("{depthwise}.0"),
            ("bn1", false) | ("bn2", true) => format!("{depthwise}.1"),
            ("se", _) => {
                let (convolution, leaf) = leaf.split_once('.')?;
                let convolution = match convolution {
                    "conv_reduce" => "fc1",
                    "conv_expand" => "fc2",
                    _ => return None,
                };
                return Some(format!(
                    "{place}.block.{}.{convolution}.{leaf}",
                    depthwise + 1
                ));
            }
            ("conv_pwl", true) | ("conv_pw", false) => format!("{projection}.0"),
            ("bn3", true) | ("bn2", false) => format!("{projection}.1"),
            _ => return None,
        };
        return Some(format!("{place}.block.{inner}.{leaf}"));
    }
    let (layer, leaf) = name.split_once('.')?;
    let last = blocks.last().map_or(0, |(stage, _)| stage + 2);
    let ours = match (layer, family) {
        ("conv_stem", _) => "features.0.0".to_string(),
        ("bn1", _) => "features.0.1".to_string(),
        ("conv_head", Family::MobileNet) => "classifier.0".to_string(),
        ("classifier", Family::MobileNet) => "classifier.3".to_string(),
        ("conv_head", _) => format!("features.{last}.0"),
        ("bn2", _) => format!("features.{last}.1"),
        ("classifier", _) => "classifier.1".to_string(),
        _ => return None,
    };
    Some(format!("{ours}.{leaf}"))
}

/// Whether a block has a tensor of this name.
fn has(names: &HashSet<&str>, stage: usize, number: usize, rest: &str) -> bool {
    names.contains(format!("blocks.{stage}.{number}.{rest}").as_str())
}

fn convnext(name: &str) -> Option<String> {
    if let Some(rest) = name.strip_prefix("stem.") {
        return Some(format!("features.0.{rest}"));
    }
    if let Some(rest) = name.strip_prefix("stages.") {
        let (stage, rest) = rest.split_once('.')?;
        let stage: usize = stage.parse().ok()?;
        if let Some(rest) = rest.strip_prefix("downsample.") {
            return Some(format!("features.{}.{rest}", 2 * stage));
        }
        let (number, rest) = rest.strip_prefix("blocks.")?.split_once('.')?;
        let place = format!("features.{}.{number}", 2 * stage + 1);
        if rest == "gamma" {
            return Some(format!("{place}.layer_scale"));
        }
        let (layer, leaf) = rest.rsplit_once('.')?;
        let index = match layer {
            "conv_dw" => 0,
            "norm" => 2,
            "mlp.fc1" => 3,
            "mlp.fc2" => 5,
            _ => return None,
        };
        return Some(format!("{place}.block.{index}.{leaf}"));
    }
    let (layer, leaf) = name.rsplit_once('.')?;
    match layer {
        "head.norm" => Some(format!("classifier.0.{leaf}")),
        "head.fc" => Some(format!("classifier.2.{leaf}")),
        _ => None,
    }
}

fn vgg(name: &str) -> Option<String> {
    let (layer, leaf) = name.rsplit_once('.')?;
    let index = match layer {
        "pre_logits.fc1" => 0,
        "pre_logits.fc2" => 3,
        "head.fc" => 6,
        _ => return None,
    };
    Some(format!("classifier.{index}.{leaf}"))
}
