//! The pictures of a book: charts, which are drawn anew each time, and images, which need the data.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use image::{ImageFormat, Rgb, RgbImage};
use tallow_datasets::{DataLoader, Error, LoadOptions, LoaderConfig, Split, load};
use tallow_report::Results;
use tallow_report::results::Variant;
use tallow_transforms::{Compose, TransformConfig};

use super::blocks::Block;
use super::charts::image;
use super::{MADE, Page, tables};
use crate::data::Splits;
use crate::experiment::Recipe;
use crate::normalisation;

/// Where pictures are, below the folder of the pages.
pub const FOLDER: &str = "images";
/// Images in a row of a picture, and rows of samples.
const COLUMNS: usize = 8;
const ROWS: usize = 2;
/// Pixels that an image is enlarged to, about.
const SIDE: usize = 96;
/// Pixels between images.
const GAP: u32 = 4;

/// The pictures of all pages.
pub struct Pictures {
    dir: PathBuf,
    data: Option<PathBuf>,
    /// Whether images may be made.
    writes: bool,
    drawn: BTreeMap<PathBuf, String>,
    /// The variants of each picture of one kind, of which the first has no number.
    numbers: BTreeMap<String, Vec<String>>,
    sets: BTreeMap<String, Option<Splits>>,
    /// Whether there is one, or will be, and the bytes of those made now.
    images: BTreeMap<PathBuf, (bool, Option<Vec<u8>>)>,
}

impl Pictures {
    /// None yet; `data` is looked at before the usual places.
    pub fn new(dir: &Path, data: Option<PathBuf>, writes: bool) -> Self {
        Self {
            dir: dir.to_path_buf(),
            data,
            writes,
            drawn: BTreeMap::new(),
            numbers: BTreeMap::new(),
            sets: BTreeMap::new(),
            images: BTreeMap::new(),
        }
    }

    /// The charts and images made, by path below the folder of the pages.
    pub fn into_made(self) -> (BTreeMap<PathBuf, String>, BTreeMap<PathBuf, Vec<u8>>) {
        let images = self.images.into_iter();
        (
            self.drawn,
            images
                .filter_map(|(path, (_, bytes))| Some((path, bytes?)))
                .collect(),
        )
    }

    /// Keeps a chart; gives its path. Charts that differ in their variants alone are numbered in the order of the pages.
    fn keep(&mut self, stem: &str, variants: &[&str], svg: &str) -> String {
        let known = self.numbers.entry(stem.to_string()).or_default();
        let variants = variants.join(",");
        let number = known
            .iter()
            .position(|v| *v == variants)
            .unwrap_or_else(|| {
                known.push(variants);
                known.len() - 1
            });
        let path = match number {
            0 => format!("{FOLDER}/{stem}.svg"),
            n => format!("{FOLDER}/{stem}-{}.svg", n + 1),
        };
        let svg = svg.replacen('\n', &format!("\n{MADE}\n"), 1);
        self.drawn.insert(PathBuf::from(&path), svg);
        path
    }

    /// The data of a name if it is here.
    fn data(&mut self, name: &str) -> Result<Option<Splits>> {
        if let Some(splits) = self.sets.get(name) {
            return Ok(splits.clone());
        }
        let options = LoadOptions {
            data_dir: self.data.clone(),
            ..LoadOptions::default()
        };
        let both = load(name, Split::Train, &options)
            .and_then(|train| Ok((train, load(name, Split::Test, &options)?)));
        let splits = match both {
            Ok((train, test)) => Some(Splits { train, test }),
            Err(Error::NotFound(_)) => {
                say!("{name} is not here: pictures of its images stay as they are");
                None
            }
            Err(error) => return Err(error.into()),
        };
        self.sets.insert(name.to_string(), splits.clone());
        Ok(splits)
    }

    /// Makes the picture at `path` where that is to be done and the data is here; whether there is one then.
    fn make(
        &mut self,
        path: &str,
        results: &Results,
        variant: &Variant,
        paint: impl FnOnce(Splits, Recipe) -> Result<RgbImage>,
    ) -> Result<bool> {
        let key = PathBuf::from(path);
        if let Some((there, _)) = self.images.get(&key) {
            return Ok(*there);
        }
        let mut made = None;
        if self.writes
            && let Some(splits) = self.data(&results.dataset.name)?
        {
            let found = &splits.train.info().provenance;
            let expected = &results.dataset.provenance;
            if found == expected {
                let mut png = Cursor::new(Vec::new());
                let recipe = recipe(variant)?;
                let picture = paint(splits.select(&recipe.data)?, recipe)?;
                picture.write_to(&mut png, ImageFormat::Png)?;
                made = Some(png.into_inner());
            } else {
                say!("{path} stays as it is: the results are of {expected}, and here is {found}");
            }
        }
        let there = made.is_some() || self.dir.join(path).is_file();
        self.images.insert(key, (there, made));
        Ok(there)
    }
}

impl Page<'_> {
    /// Keeps a chart of `block`; gives the Markdown that shows it.
    pub fn picture(
        &mut self,
        block: &Block<'_>,
        what: &str,
        svg: String,
        text: &str,
    ) -> Result<String> {
        // The one variant of a confusion matrix is in its name.
        let variants = if what.starts_with("confusion") {
            &[][..]
        } else {
            &block.variants[..]
        };
        let path = self
            .pictures
            .keep(&format!("{}-{what}", block.name), variants, &svg);
        Ok(image(text, &self.link(&path)))
    }
}

/// The first training images as the network sees them.
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
            let transforms = [&recipe.train.augment[..], &recipe.data.transforms].concat();
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

/// What a network says of the first test images, and these.
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
            let transforms = recipe.data.transforms;
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
        format!("The first test images: {classes}."),
        format!("前几张测试图像：{classes}。"),
    );
    Ok(format!("{}\n\n{table}", image(&text, &page.link(&path))))
}

fn first_seed(variant: &Variant) -> u64 {
    variant.seeds.first().copied().unwrap_or(0)
}

fn recipe(variant: &Variant) -> Result<Recipe> {
    serde_json::from_value(variant.recipe.clone())
        .with_context(|| format!("the recipe of `{}` cannot be read", variant.name))
}

/// Images of shape `(C, H, W)` one after the other, as they were before they were normalised, each pixel enlarged to a square so
/// that an image is about `side` pixels wide.
pub fn mosaic(
    values: &[f32],
    (c, h, w): (usize, usize, usize),
    side: usize,
    transforms: &[TransformConfig],
) -> RgbImage {
    let values = normalisation::undone(values, (c, h, w), transforms);
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

/// Images of one size in rows of [`COLUMNS`].
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
