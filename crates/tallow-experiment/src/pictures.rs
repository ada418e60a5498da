//! Pictures of a run record: training images, mistakes, heat maps, filters and feature maps.

use std::sync::Arc;

use candle_core::{Device, Tensor};
use image::{Rgb, RgbImage};
use tallow_datasets::{Batch, DataLoader, LoaderConfig, Subset};
use tallow_models::{Model, last_feature_map};
use tallow_ops::no_grad;
use tallow_record::{Picture, Prediction};
use tallow_train::RunRecord;
use tallow_transforms::TransformConfig;

use crate::data::first_batch;
use crate::error::{Error, Result};
use crate::heat_map::{overlays, write_png};
use crate::observe::Outputs;
use crate::preparation;

/// Approximate side in pixels of an enlarged image; the page enlarges it further.
const SIDE: usize = 32;
/// Number of images, filters or maps in a picture.
const IMAGES: usize = 16;
/// Number of heat maps in a picture.
const EXPLAINED: usize = 8;

/// Images per row of a [`tiled`] picture.
pub const COLUMNS: usize = 8;
/// Pixels between the images of a [`tiled`] picture.
pub const GAP: u32 = 4;
/// Images in the TensorBoard picture.
const BOARD_IMAGES: usize = 25;
/// Approximate side in pixels of an image in the TensorBoard picture.
const BOARD_SIDE: usize = 64;

/// Writes PNG files into the record's folder, and `pictures.json`, which describes them.
pub(crate) fn write(
    record: &RunRecord,
    model: &Model,
    (train, test): (&DataLoader, &DataLoader),
    outputs: &Outputs,
) -> Result<()> {
    let mut entries = Vec::new();
    let mut keep = |file: &str, text: &str, picture: Option<RgbImage>| -> Result<()> {
        let Some(picture) = picture else {
            return Ok(());
        };
        write_png(&record.dir().join(file), &picture)?;
        entries.push(Picture {
            file: file.to_string(),
            text: text.to_string(),
        });
        Ok(())
    };
    let samples = first_batch(train, IMAGES)?;
    keep(
        "samples.png",
        "The first training images of the first epoch as the network saw them; normalisation is undone.",
        samples.map(|batch| shown(&batch, train)).transpose()?,
    )?;
    let mistakes = chosen(test, &outputs.mistakes)?;
    let picture = mistakes.as_ref().map(|batch| shown(batch, test));
    keep(
        "mistakes.png",
        "Misclassified test images with the highest confidence, in descending order.",
        picture.transpose()?,
    )?;
    if let Some(layer) = feature_map(model)? {
        let some = chosen(test, &outputs.predictions)?;
        let kinds = [
            (
                "heat.png",
                "test images taken evenly from the classes",
                some,
                &outputs.predictions,
            ),
            (
                "heat-mistakes.png",
                "the mistakes with the highest confidence",
                mistakes,
                &outputs.mistakes,
            ),
        ];
        for (file, which, batch, said) in kinds {
            let Some(batch) = batch else {
                continue;
            };
            let (picture, names) = explained(model, &layer, &batch, said, test)?;
            let text = format!(
                "Grad-CAM heat maps of the predicted classes, for {which}. Brighter parts speak more for the class; layer {layer}. Predicted: {names}."
            );
            keep(file, &text, Some(picture))?;
        }
    }
    keep(
        "filters.png",
        "The filters of the first convolution, each scaled to its own range.",
        filters(model)?,
    )?;
    keep(
        "features.png",
        "First feature maps of the first convolution for the first test image, each scaled to its own range.",
        features(model, test)?,
    )?;
    record.add("pictures.json", &entries)?;
    Ok(())
}

/// Images of a batch, with the normalisation undone.
fn shown(batch: &Batch, loader: &DataLoader) -> Result<RgbImage> {
    let (_, c, h, w) = batch.images.dims4()?;
    let values = batch.images.flatten_all()?.to_vec1::<f32>()?;
    let transforms = loader.transform().configs();
    Ok(mosaic(&values, (c, h, w), SIDE, &transforms))
}

/// Test images of the first of these predictions.
fn chosen(test: &DataLoader, predictions: &[Prediction]) -> Result<Option<Batch>> {
    let indices = predictions.iter().map(|m| m.index).take(IMAGES).collect();
    let set = Arc::new(Subset::new(test.dataset().clone(), indices)?);
    let loader = DataLoader::new(set, test.transform().clone(), LoaderConfig::default())?;
    first_batch(&loader, IMAGES)
}

/// Last layer with a feature map, if the network has one.
fn feature_map(model: &Model) -> Result<Option<String>> {
    match last_feature_map(model) {
        Ok(layer) => Ok(Some(layer)),
        Err(tallow_models::Error::NoMap { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Heat maps of the predicted classes of a batch's first images, and the names of these classes.
fn explained(
    model: &Model,
    layer: &str,
    batch: &Batch,
    said: &[Prediction],
    test: &DataLoader,
) -> Result<(RgbImage, String)> {
    let count = EXPLAINED.min(batch.indices.len()).min(said.len());
    let images = batch.images.narrow(0, 0, count)?;
    let images = images.to_device(model.store().device())?;
    let known = &test.dataset().info().classes;
    let name = |class: usize| known.get(class).cloned().unwrap_or(class.to_string());
    let (mut classes, mut names) = (Vec::new(), Vec::new());
    for prediction in &said[..count] {
        let (class, label) = (prediction.class().unwrap_or(0), prediction.label);
        classes.push(class as u32);
        names.push(if class == label {
            name(class)
        } else {
            format!("{} (it is {})", name(class), name(label))
        });
    }
    let pictures = overlays(model, &images, &classes, layer, SIDE as u32)?;
    Ok((tiled(&pictures), names.join(", ")))
}

/// Filters of a network that begins with a convolution of one or three channels, larger than 1x1.
fn filters(model: &Model) -> Result<Option<RgbImage>> {
    let parameters = model.store().parameters();
    let Some((_, weight)) = parameters.first() else {
        return Ok(None);
    };
    match *weight.dims() {
        [outputs, c @ (1 | 3), h, w] if h > 1 && w > 1 => {
            let filters = weight.narrow(0, 0, outputs.min(IMAGES))?;
            Ok(Some(mosaic(&scaled(&filters)?, (c, h, w), SIDE, &[])))
        }
        _ => Ok(None),
    }
}

/// Feature maps of the first convolution for the first test image.
fn features(model: &Model, test: &DataLoader) -> Result<Option<RgbImage>> {
    let Some(batch) = first_batch(test, 1)? else {
        return Ok(None);
    };
    let image = batch.images.to_device(model.store().device())?;
    let mut maps = None;
    no_grad(|| {
        model.forward_observed(&image, false, &mut |layer| {
            if maps.is_none() && layer.kind == "Conv2d" {
                maps = Some((layer.output.clone(), layer.layout));
            }
        })
    })?;
    let Some((maps, layout)) = maps else {
        return Ok(None);
    };
    let maps = tallow_ops::to_layout(&maps, layout, tallow_ops::Layout::Nchw)?;
    let (_, c, h, w) = maps.dims4()?;
    let maps = maps.reshape((c, 1, h, w))?.narrow(0, 0, c.min(IMAGES))?;
    Ok(Some(mosaic(&scaled(&maps)?, (1, h, w), SIDE, &[])))
}

/// Scales each of `(N, ...)` to `[0, 1]` by its own least and greatest value.
fn scaled(tensor: &Tensor) -> Result<Vec<f32>> {
    let rows: Vec<Vec<f32>> = tensor.flatten_from(1)?.to_vec2()?;
    let mut values = Vec::new();
    for row in rows {
        let low = row.iter().copied().fold(f32::INFINITY, f32::min);
        let high = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let range = if high > low { high - low } else { 1.0 };
        values.extend(row.iter().map(|value| (value - low) / range));
    }
    Ok(values)
}

/// First training images of the first epoch for TensorBoard, with their normalisation undone.
pub(crate) fn samples(
    train: &DataLoader,
    transforms: &[TransformConfig],
) -> Result<tallow_train::Image> {
    let batch = first_batch(train, BOARD_IMAGES)?
        .ok_or_else(|| Error::Data("there are no training images".to_string()))?;
    let (n, c, h, w) = batch.images.dims4()?;
    let values = batch.images.flatten_all()?.to_vec1::<f32>()?;
    let values = preparation::undo(&values, (c, h, w), transforms);
    let images = Tensor::from_vec(values, (n, c, h, w), &Device::Cpu)?;
    let scale = BOARD_SIDE.div_ceil(w.max(1));
    Ok(tallow_train::make_grid(&images, (0.0, 1.0), scale)?)
}

/// Picture of images of shape `(C, H, W)`, stored one after the other, with their normalisation undone and each pixel enlarged to a
/// square, so that an image is about `side` pixels wide.
pub fn mosaic(
    values: &[f32],
    (c, h, w): (usize, usize, usize),
    side: usize,
    transforms: &[TransformConfig],
) -> RgbImage {
    let values = preparation::undo(values, (c, h, w), transforms);
    let scale = (side / w.max(1)).max(1);
    let shown = |value: f32| (255.0 * value).round().clamp(0.0, 255.0) as u8;
    let images = values.chunks_exact((c * h * w).max(1)).map(|image| {
        RgbImage::from_fn((w * scale) as u32, (h * scale) as u32, |x, y| {
            let pixel = y as usize / scale * w + x as usize / scale;
            let channel = |channel: usize| shown(image[channel * h * w + pixel]);
            Rgb(if c < 3 {
                [channel(0); 3]
            } else {
                [channel(0), channel(1), channel(2)]
            })
        })
    });
    tiled(&images.collect::<Vec<_>>())
}

/// Picture of images of one size in rows of [`COLUMNS`].
pub fn tiled(images: &[RgbImage]) -> RgbImage {
    let (w, h) = images.first().map_or((0, 0), RgbImage::dimensions);
    let (across, down) = (w + GAP, h + GAP);
    let size = |count: usize, step: u32| (count as u32 * step).saturating_sub(GAP);
    let mut picture = RgbImage::from_pixel(
        size(COLUMNS.min(images.len()), across),
        size(images.len().div_ceil(COLUMNS), down),
        Rgb([255; 3]),
    );
    for (number, image) in images.iter().enumerate() {
        let (column, row) = ((number % COLUMNS) as i64, (number / COLUMNS) as i64);
        let corner = (column * i64::from(across), row * i64::from(down));
        image::imageops::replace(&mut picture, image, corner.0, corner.1);
    }
    picture
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIDE: usize = 96;

    #[test]
    fn images_are_enlarged_and_normalisation_undone() {
        let transforms = [
            TransformConfig::to_tensor(),
            TransformConfig::normalize([0.5], [0.25]),
        ];
        // Two grey images of 1 x 2: black, white; grey, beyond white.
        let values = [-2.0, 2.0, 0.0, 9.0];
        let picture = mosaic(&values, (1, 1, 2), SIDE, &transforms);
        let scale = (SIDE / 2) as u32;
        assert_eq!(picture.dimensions(), (2 * 2 * scale + GAP, scale));
        let at = |x: u32| picture.get_pixel(x, scale - 1).0;
        assert_eq!(at(0), [0; 3]);
        assert_eq!(at(scale), [255; 3]);
        assert_eq!(at(2 * scale + GAP), [128; 3]);
        assert_eq!(at(2 * scale + 1), [255; 3], "the gap");
    }

    #[test]
    fn channels_are_colours() {
        let values = [1.0, 0.0, 0.5, 0.0];
        let picture = mosaic(
            &values[..3],
            (3, 1, 1),
            SIDE,
            &[TransformConfig::to_tensor()],
        );
        assert_eq!(picture.get_pixel(0, 0).0, [255, 0, 128]);
    }
}
