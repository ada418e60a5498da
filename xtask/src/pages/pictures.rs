//! Pictures of the pages: charts, which are always drawn again, and images, which need the data.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use image::{ImageFormat, RgbImage};
use tallow_cli::console::status;
use tallow_datasets::{Error, LoadOptions, Split, load};
use tallow_experiment::Recipe;
use tallow_experiment::data::Splits;
use tallow_record::{Results, Variant};

/// Folder of pictures, below the folder of the pages.
pub const FOLDER: &str = "images";
/// Mark of a generated SVG file, after its first tag; a file with it that belongs to no page is removed.
pub const MADE: &str = "<!-- made by cargo xtask report -->";

/// The pictures of all pages.
pub struct Pictures {
    dir: PathBuf,
    data: Option<PathBuf>,
    /// Whether images may be generated.
    writes: bool,
    drawn: BTreeMap<PathBuf, String>,
    /// Variants of the pictures of each kind, the first of which has no number.
    numbers: BTreeMap<String, Vec<String>>,
    sets: BTreeMap<String, Option<Splits>>,
    /// Whether the image exists, and its bytes where it was generated now.
    images: BTreeMap<PathBuf, (bool, Option<Vec<u8>>)>,
}

impl Pictures {
    /// No pictures; `data` is searched before the usual places.
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

    /// Keeps a chart; returns its path. Charts that differ in their variants alone are numbered in the order of the pages.
    pub fn keep(&mut self, stem: &str, variants: &[&str], svg: &str) -> String {
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

    /// The dataset of this name, if it is found.
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
            Ok((train, test)) => Some(Splits {
                train,
                test,
                validation: None,
            }),
            Err(Error::NotFound(_)) => {
                status!("{name} was not found: pictures of its images are kept as they are");
                None
            }
            Err(error) => return Err(error.into()),
        };
        self.sets.insert(name.to_string(), splits.clone());
        Ok(splits)
    }

    /// Generates the image at `path` if images may be generated and the data is found; returns whether the file exists.
    pub fn make(
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
                status!(
                    "{path} stays as it is: the results are of {expected}, and here is {found}"
                );
            }
        }
        let there = made.is_some() || self.dir.join(path).is_file();
        self.images.insert(key, (there, made));
        Ok(there)
    }
}

fn recipe(variant: &Variant) -> Result<Recipe> {
    Recipe::from_json(&variant.recipe)
        .with_context(|| format!("the recipe of `{}` cannot be read", variant.name))
}
