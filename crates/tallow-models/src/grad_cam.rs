//! Grad-CAM: heat maps of a class.

use candle_core::{DType, Device, Tensor};
use tallow_ops::{Layout, to_layout};

use crate::error::{Error, Result};
use crate::model::Model;
use crate::module::Context;
use crate::nearest::nearest;
use crate::summary::LayerSummary;

/// Grad-CAM heat maps (Selvaraju et al. 2017, arXiv 1610.02391) of one class per image: `(N, H, W)` in `[0, 1]`, with the images' height
/// and width, in the model's type and on its device.
///
/// `images` is `(N, C, H, W)` as for [`Model::forward`]; `classes` has one class per image. `layer` is a layer with a feature map;
/// by default [`last_feature_map`]. A heat map is the ReLU of the weighted sum of the channels, where the weight of a channel is the mean
/// gradient of the class's logit with respect to it. It is divided by its maximum, if that is not zero, and resized bilinearly as by
/// `torch.nn.functional.interpolate` with `align_corners=False`. The forward pass is in evaluation mode.
///
/// # Errors
/// When the images do not fit the model, when there is not one class below [`Model::classes`] per image, when the layer does not exist or
/// has no feature map (the error lists those that have), or inside [`tallow_ops::no_grad`].
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use tallow_models::{Model, ModelConfig, grad_cam};
///
/// let model = Model::build("cnn", &ModelConfig::new(10, (1, 28, 28)))?;
/// let images = Tensor::ones((2, 1, 28, 28), DType::F32, &Device::Cpu)?;
/// let heat = grad_cam(&model, &images, &[3, 8], None)?;
/// assert_eq!(heat.dims(), [2, 28, 28]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn grad_cam(
    model: &Model,
    images: &Tensor,
    classes: &[u32],
    layer: Option<&str>,
) -> Result<Tensor> {
    let layer = match layer {
        Some(layer) => named(model, layer)?,
        None => last_feature_map(model)?,
    };
    let mut cx = Context::cut(model.layout(), &layer);
    let logits = model.forward_with(images, &mut cx)?;
    let score = score(model, &logits, classes)?;
    let gradients = score.backward()?;
    let refuse = |message: &str| {
        let message = message.into();
        Error::Config { message }.of_model(model.name())
    };
    let map = cx
        .into_variable()
        .ok_or_else(|| refuse("the layer did not run"))?;
    let gradient = gradients
        .get(&map)
        .ok_or_else(|| refuse("no gradient reaches the layer; is this inside no_grad?"))?;

    let map = to_layout(&map.as_detached_tensor(), model.layout(), Layout::Nchw)?;
    let gradient = to_layout(gradient, model.layout(), Layout::Nchw)?;
    let weights = gradient.mean_keepdim((2, 3))?;
    let heat = map.broadcast_mul(&weights)?.sum(1)?.relu()?;
    let (n, h, w) = heat.dims3()?;
    let heat: Vec<f64> = heat
        .to_device(&Device::Cpu)?
        .to_dtype(DType::F64)?
        .flatten_all()?
        .to_vec1()?;
    let (_, height, width) = model.input_shape();
    let mut scaled = Vec::with_capacity(n * height * width);
    for image in heat.chunks_exact(h * w) {
        let most = image.iter().copied().fold(0f64, f64::max);
        let share = |heat: &f64| if most > 0. { heat / most } else { 0. };
        let image: Vec<f64> = image.iter().map(share).collect();
        scale_up(&image, (h, w), (height, width), &mut scaled);
    }
    let scaled = Tensor::from_vec(scaled, (n, height, width), &Device::Cpu)?;
    Ok(scaled
        .to_dtype(images.dtype())?
        .to_device(images.device())?)
}

/// Default layer of [`grad_cam`]: the last convolution whose map has more than one pixel, or the last of the batch norms, additions and
/// activations that follow it with the same shape.
///
/// # Errors
/// When the model has no such layer, for example a fully connected one.
pub fn last_feature_map(model: &Model) -> Result<String> {
    let layers = model.summary()?.layers;
    let pixels = |layer: &LayerSummary| match layer.output_shape[..] {
        [_, h, w] => h * w,
        _ => 0,
    };
    let last = layers
        .iter()
        .rposition(|l| l.kind.contains("Conv") && pixels(l) > 1);
    let Some(last) = last else {
        return Err(no_map(model, &layers, "there is no convolution".into(), ""));
    };
    let goes_on = |layer: &&LayerSummary| {
        layer.output_shape == layers[last].output_shape
            && ["BatchNorm", "ReLU", "Tanh", "Add", "Bias"]
                .iter()
                .any(|kind| layer.kind.contains(kind))
    };
    let behind = layers[last + 1..].iter().take_while(goes_on).last();
    Ok(behind.unwrap_or(&layers[last]).name.clone())
}

/// Layer of this name, if it has a feature map.
fn named(model: &Model, name: &str) -> Result<String> {
    let layers = model.summary()?.layers;
    let problem = match layers.iter().find(|layer| layer.name == name) {
        Some(layer) if has_map(layer) => return Ok(name.into()),
        Some(layer) => format!("the layer `{name}` ({}) has no feature map", layer.kind),
        None => format!("there is no layer `{name}`"),
    };
    Err(no_map(model, &layers, problem, name))
}

fn has_map(layer: &LayerSummary) -> bool {
    layer.output_shape.len() == 3
}

fn no_map(model: &Model, layers: &[LayerSummary], problem: String, name: &str) -> Error {
    let names = || {
        let maps = layers.iter().filter(|layer| has_map(layer));
        maps.map(|layer| layer.name.as_str())
    };
    Error::NoMap {
        model: model.name().into(),
        problem,
        nearest: nearest(name, names()).map(String::from),
        maps: names().map(String::from).collect(),
    }
}

/// Sum of the logits of each image's class. In evaluation mode images do not affect each other, so the gradient of each is its own.
fn score(model: &Model, logits: &Tensor, classes: &[u32]) -> Result<Tensor> {
    let (n, k) = logits.dims2()?;
    if classes.len() != n || classes.iter().any(|&class| class as usize >= k) {
        return Err(Error::Input {
            model: model.name().into(),
            expected: format!("a class below {k} for each of {n} images"),
            found: format!("{classes:?}"),
        });
    }
    let mut chosen = vec![0f64; n * k];
    for (row, &class) in classes.iter().enumerate() {
        chosen[row * k + class as usize] = 1.;
    }
    let chosen = Tensor::from_vec(chosen, (n, k), &Device::Cpu)?
        .to_dtype(logits.dtype())?
        .to_device(logits.device())?;
    Ok((logits * chosen)?.sum_all()?)
}

/// Appends the plane of `from` rows and columns, resized bilinearly to `to` rows and columns.
fn scale_up(plane: &[f64], from: (usize, usize), to: (usize, usize), out: &mut Vec<f64>) {
    let (rows, columns) = (blends(from.0, to.0), blends(from.1, to.1));
    for &(above, below, down) in &rows {
        for &(left, right, across) in &columns {
            let row = |y: usize| {
                let row = &plane[y * from.1..];
                row[left] * (1. - across) + row[right] * across
            };
            out.push(row(above) * (1. - down) + row(below) * down);
        }
    }
}

/// For each of `to` positions, the two of `from` that it lies between and the weight of the second.
fn blends(from: usize, to: usize) -> Vec<(usize, usize, f64)> {
    let place = |i: usize| {
        let centre = (i as f64 + 0.5) * from as f64 / to as f64 - 0.5;
        let centre = centre.clamp(0., (from - 1) as f64);
        let first = centre as usize;
        (first, (first + 1).min(from - 1), centre - first as f64)
    };
    (0..to).map(place).collect()
}
