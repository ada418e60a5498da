//! The pictures of a run record: what the network saw, where it was wrong, and what its first layer looks for.

use std::io::Cursor;
use std::sync::Arc;

use anyhow::Result;
use candle_core::Tensor;
use image::{ImageFormat, RgbImage};
use serde::Serialize;
use tallow_datasets::{Batch, DataLoader, LoaderConfig, Subset};
use tallow_models::{Model, last_feature_map};
use tallow_ops::no_grad;
use tallow_train::RunRecord;

use super::pictures::{mosaic, tiled};
use crate::data::first_batch;
use crate::heat;
use crate::observe::{Outputs, Prediction};

/// Pixels that images are enlarged to, about: few, since the page enlarges them further.
const SIDE: usize = 32;
/// Images, filters and maps of a picture.
const IMAGES: usize = 16;
/// Images of each picture of where classes are seen.
const EXPLAINED: usize = 8;

/// An entry of `pictures.json`.
#[derive(Serialize)]
struct Entry {
    file: &'static str,
    text: String,
}

/// Writes PNG files into the record's folder, and `pictures.json`, which says what they show.
pub fn write(
    record: &RunRecord,
    model: &Model,
    (train, test): (&DataLoader, &DataLoader),
    outputs: &Outputs,
) -> Result<()> {
    let mut entries = Vec::new();
    let mut keep = |file, text: &str, picture: Option<RgbImage>| -> Result<()> {
        let Some(picture) = picture else {
            return Ok(());
        };
        let mut png = Cursor::new(Vec::new());
        picture.write_to(&mut png, ImageFormat::Png)?;
        let path = record.dir().join(file);
        super::write(&path, png.into_inner())?;
        let text = text.to_string();
        entries.push(Entry { file, text });
        Ok(())
    };
    let samples = first_batch(train, IMAGES)?;
    keep(
        "samples.png",
        "The first training images of the first epoch as the network saw them; normalisation is undone.",
        samples.map(|batch| shown(&batch, train)).transpose()?,
    )?;
    let mistakes = wrong(test, &outputs.mistakes)?;
    let picture = mistakes.as_ref().map(|batch| shown(batch, test));
    keep(
        "mistakes.png",
        "The test images that the network was surest of and wrong about, the surest first.",
        picture.transpose()?,
    )?;
    if let Some(layer) = map(model)? {
        let first = first_batch(test, EXPLAINED)?;
        let kinds = [
            (
                "heat.png",
                "the first test images",
                first,
                &outputs.predictions,
            ),
            (
                "heat-mistakes.png",
                "its surest mistakes",
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
                "What the network's answer rests on in {which}, by Grad-CAM on the layer {layer}; lighter is more: {names}."
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
        "What the first convolution makes of the first test image: its first maps, each scaled to its own range.",
        features(model, test)?,
    )?;
    record.add("pictures.json", &entries)?;
    Ok(())
}

/// The images of a batch, normalisation undone.
fn shown(batch: &Batch, loader: &DataLoader) -> Result<RgbImage> {
    let (_, c, h, w) = batch.images.dims4()?;
    let values = batch.images.flatten_all()?.to_vec1::<f32>()?;
    let transforms = loader.transform().configs();
    Ok(mosaic(&values, (c, h, w), SIDE, &transforms))
}

/// The test images that the first mistakes are about.
fn wrong(test: &DataLoader, mistakes: &[Prediction]) -> Result<Option<Batch>> {
    let indices = mistakes.iter().map(|m| m.index).take(IMAGES).collect();
    let set = Arc::new(Subset::new(test.dataset().clone(), indices)?);
    let loader = DataLoader::new(set, test.transform().clone(), LoaderConfig::default())?;
    first_batch(&loader, IMAGES)
}

/// The last layer with a feature map, if the network has one.
fn map(model: &Model) -> Result<Option<String>> {
    match last_feature_map(model) {
        Ok(layer) => Ok(Some(layer)),
        Err(tallow_models::Error::NoMap { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Where the network sees the likeliest class of each of a batch's first images, and what these classes are called.
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
        let (class, label) = (prediction.class(), prediction.label as usize);
        classes.push(class as u32);
        names.push(if class == label {
            name(class)
        } else {
            format!("{} (it is {})", name(class), name(label))
        });
    }
    let pictures = heat::overlays(model, &images, &classes, layer, SIDE as u32)?;
    Ok((tiled(&pictures), names.join(", ")))
}

/// Of a network that begins with a convolution of one or three channels, wider than a pixel.
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

/// Each of `(N, ...)` brought to [0, 1] by its own least and greatest value.
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
