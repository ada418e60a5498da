//! Blocks that are images of the data.

use anyhow::{Context, Result};
use tallow_datasets::{DataLoader, LoaderConfig};
use tallow_experiment::pictures::{COLUMNS, mosaic};
use tallow_record::{Results, Variant};
use tallow_transforms::Compose;

use super::block::Block;
use super::page::{Page, image};
use super::pictures::FOLDER;
use super::tables;

/// Rows of samples.
const ROWS: usize = 2;
/// Approximate width of an enlarged image in pixels.
const SIDE: usize = 96;

/// The first training images after all transforms.
pub fn samples(
    block: &Block<'_>,
    results: &Results,
    variant: &Variant,
    page: &mut Page<'_>,
) -> Result<String> {
    let path = format!("{FOLDER}/{}-samples-{}.png", block.name, variant.name);
    let there = page
        .pictures
        .make(&path, results, variant, |splits, recipe| {
            let transforms = recipe.train_transforms();
            let config = LoaderConfig {
                batch_size: COLUMNS * ROWS,
                shuffle: recipe.train.shuffle,
                seed: variant.seeds.first().copied().unwrap_or(0),
                ..LoaderConfig::default()
            };
            let loader = DataLoader::new(splits.train, Compose::new(transforms.clone())?, config)?;
            let batch = loader
                .epoch(0)
                .next()
                .context("the training data has no images")??;
            let (_, c, h, w) = batch.images.dims4()?;
            let values = batch.images.flatten_all()?.to_vec1::<f32>()?;
            Ok(mosaic(&values, (c, h, w), SIDE, &transforms))
        })?;
    let language = page.language;
    let name = &variant.name;
    if !there {
        return Ok(language
            .pick(
                "*(no picture yet: the data was not at hand)*",
                "*（暂无图片：手头没有数据）*",
            )
            .to_string());
    }
    let text = language.pick(
        format!("The first sixteen training images as {name} sees them."),
        format!("{name} 所见的前十六张训练图像。"),
    );
    let note = language.pick(
        format!("*The first training images of seed {} as `{name}` sees them, enlarged; normalisation is undone so that they can be shown.*", first_seed(variant)),
        format!("*种子 {} 的前几张训练图像，即 `{name}` 所见的样子，已放大；为便于显示，撤销了归一化。*", first_seed(variant)),
    );
    Ok(format!("{}\n\n{note}", image(&text, &page.link(&path))))
}

/// Some test images with their predictions.
pub fn predictions(
    block: &Block<'_>,
    results: &Results,
    variant: &Variant,
    page: &mut Page<'_>,
) -> Result<String> {
    let table = tables::predictions(results, variant, page.language)?;
    let predictions = tables::first_run(variant, "predictions", |run| run.predictions.as_ref())?;
    let path = format!("{FOLDER}/{}-predictions-{}.png", block.name, variant.name);
    let there = page
        .pictures
        .make(&path, results, variant, |splits, recipe| {
            let transforms = recipe.test_transforms().to_vec();
            let compose = Compose::new(transforms.clone())?;
            let mut values = Vec::new();
            let mut shape = (1, 1, 1);
            let mut scratch = Vec::new();
            for prediction in predictions.iter().take(COLUMNS) {
                let image = splits.test.image(prediction.index, &mut scratch)?;
                shape = compose.output_shape((image.channels, image.height, image.width))?;
                let mut out = vec![0.0; shape.0 * shape.1 * shape.2];
                // No test transform draws; one that did would need the evaluation's own numbers.
                let mut rng = tallow_transforms::SampleRng::new(0, 0, prediction.index as u64);
                compose.apply(image, &mut rng, &mut out)?;
                values.extend(out);
            }
            Ok(mosaic(&values, shape, SIDE, &transforms))
        })?;
    if !there {
        return Ok(table);
    }
    let language = page.language;
    let classes = predictions
        .iter()
        .map(|prediction| tables::class_name(results, prediction.label));
    let classes = language.list(&classes.collect::<Vec<_>>());
    let text = language.pick(
        format!("Test images: {classes}."),
        format!("测试图像：{classes}。"),
    );
    Ok(format!("{}\n\n{table}", image(&text, &page.link(&path))))
}

fn first_seed(variant: &Variant) -> u64 {
    variant.seeds.first().copied().unwrap_or(0)
}
