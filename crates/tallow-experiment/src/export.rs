//! Trained networks as files for other programs.

use serde_json::to_string;
use tallow_models::{OnnxInput, OnnxOptions};
use tallow_transforms::{Normalize, TransformConfig};

use crate::error::{Error, Result};
use crate::predictor::Predictor;

/// Format of an exported network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// ONNX graph with weights, for values of these images.
    Onnx(Pixels),
    /// Weights as safetensors.
    Safetensors,
    /// Weights as a state dict of PyTorch.
    Torch,
}

/// Values of the images that an ONNX graph takes, `(N, C, H, W)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pixels {
    /// Floats after the normalisation of the run.
    #[default]
    Normalized,
    /// Floats in `[0, 1]`; the graph normalises them.
    Unit,
    /// Bytes; the graph divides them by 255 and normalises them.
    Bytes,
}

/// The network of a predictor as a file of this format.
///
/// ONNX and safetensors files have metadata, all of it text: `model`, `dataset`, `classes` (JSON list of the names, in the order of the
/// logits), `input_shape` (`[C, H, W]`), `transforms` (the run's, as JSON), `mean` and `std` (JSON lists, a value for each channel, where
/// images are normalised), and `tallow_version`.
///
/// # Errors
/// [`Error::Data`] when a graph is to normalise and the transforms do more to the values than that; the errors of
/// [`Model::to_onnx`](tallow_models::Model::to_onnx).
pub fn export(predictor: &Predictor, format: Format) -> Result<Vec<u8>> {
    let model = predictor.module();
    Ok(match format {
        Format::Onnx(pixels) => model.to_onnx(&OnnxOptions {
            input: input(predictor, pixels)?,
            metadata: metadata(predictor)?,
        })?,
        Format::Safetensors => {
            // Programs that read several formats of tensors look for `format`.
            let own = [("format", "pt"), ("model", model.name())];
            let own = own.map(|(key, value)| (key.to_string(), value.to_string()));
            model.to_safetensors(&[own.to_vec(), metadata(predictor)?].concat())?
        }
        Format::Torch => model.to_torch()?,
    })
}

/// Names and values for the programs that read a file, beside the name of the model.
fn metadata(predictor: &Predictor) -> Result<Vec<(String, String)>> {
    let (c, h, w) = predictor.module().input_shape();
    let transforms = predictor.transforms().configs();
    let mut entries = vec![
        ("dataset", predictor.dataset().to_string()),
        ("classes", to_string(predictor.classes())?),
        ("input_shape", to_string(&[c, h, w])?),
        ("transforms", to_string(&transforms)?),
    ];
    if let Ok((mean, std)) = normalisation(&transforms, c) {
        entries.push(("mean", to_string(&mean)?));
        entries.push(("std", to_string(&std)?));
    }
    entries.push(("tallow_version", env!("CARGO_PKG_VERSION").to_string()));
    let owned = |(key, value): (&str, String)| (key.to_string(), value);
    Ok(entries.into_iter().map(owned).collect())
}

fn input(predictor: &Predictor, pixels: Pixels) -> Result<OnnxInput> {
    let (channels, ..) = predictor.module().input_shape();
    let transforms = predictor.transforms().configs();
    let normalisation = || {
        normalisation(&transforms, channels).map_err(|other| {
            Error::Data(format!(
                "the graph cannot prepare the images: after to-tensor the run has the transform {other}, and only one normalize can be in it; export without the normalisation, and apply the transforms before the network"
            ))
        })
    };
    Ok(match pixels {
        Pixels::Normalized => OnnxInput::Normalized,
        Pixels::Unit => {
            let (mean, std) = normalisation()?;
            OnnxInput::Unit { mean, std }
        }
        Pixels::Bytes => {
            let (mean, std) = normalisation()?;
            OnnxInput::Bytes { mean, std }
        }
    })
}

/// Mean and standard deviation of each channel; 0 and 1 where images are not normalised. The error names a transform of floats that is
/// no normalisation, or a second one.
fn normalisation(
    transforms: &[TransformConfig],
    channels: usize,
) -> Result<(Vec<f32>, Vec<f32>), &'static str> {
    let is_first =
        |transform: &&TransformConfig| !matches!(transform, TransformConfig::ToTensor(_));
    let floats: Vec<&TransformConfig> = transforms.iter().skip_while(is_first).skip(1).collect();
    match floats[..] {
        [] => Ok((vec![0.; channels], vec![1.; channels])),
        [TransformConfig::Normalize(Normalize { mean, std })] => {
            // A single value is that of all channels.
            let all = |figures: &[f32]| match *figures {
                [figure] => vec![figure; channels],
                _ => figures.to_vec(),
            };
            Ok((all(mean), all(std)))
        }
        [TransformConfig::Normalize(_), other, ..] | [other, ..] => {
            Err(other.as_transform().name())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_normalisation_can_be_in_a_graph() {
        let to_tensor = TransformConfig::to_tensor;
        let normalize = || TransformConfig::normalize([0.5], [0.25]);
        let resize = || TransformConfig::resize(8);
        let of = |transforms: &[TransformConfig]| normalisation(transforms, 3);
        let ones = (vec![0.; 3], vec![1.; 3]);
        assert_eq!(of(&[to_tensor()]), Ok(ones));
        let figures = (vec![0.5; 3], vec![0.25; 3]);
        assert_eq!(of(&[resize(), to_tensor(), normalize()]), Ok(figures));
        let refused = of(&[to_tensor(), normalize(), normalize()]);
        assert_eq!(refused, Err("normalize"));
        let erasing = TransformConfig::random_horizontal_flip(0.5);
        assert_eq!(
            of(&[to_tensor(), erasing, normalize()]),
            Err("random-horizontal-flip")
        );
    }
}
