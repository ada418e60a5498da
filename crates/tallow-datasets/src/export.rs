//! Writing of a dataset as folders of PNG files.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use rayon::prelude::*;
use tallow_transforms::ImageRef;

use crate::dataset::Split;
use crate::error::{Error, Result};
use crate::load::{load, load_validation};
use crate::options::LoadOptions;
use crate::own::{own_path, own_splits};
use crate::unfinished::{Unfinished, check_free};

/// Dataset as written by [`export`].
#[derive(Debug, Clone)]
pub struct Exported {
    /// Number of images of each split.
    pub images: Vec<(Split, usize)>,
    /// Names of the folders of the classes, in the order of the labels.
    pub folders: Vec<String>,
}

/// Writes the splits of a dataset as PNG files, `dir/train/<class>/<index>.png`, `dir/test/<class>/<index>.png` and so on: a folder that
/// `folder:dir` and torchvision's `ImageFolder` read. A dataset of one's own may have a training split alone, and a validation split.
///
/// Characters of class names that file names cannot have become `-`. Classes of a folder are numbered in the order of the
/// folders' names, which may be another than that of the labels. Nothing is left where it fails.
///
/// # Errors
/// [`Error::Argument`] when `dir` exists and is not empty, or images have other channels than one or three; those of [`load`];
/// [`Error::Io`].
pub fn export(name: &str, dir: impl AsRef<Path>, options: &LoadOptions) -> Result<Exported> {
    let dir = dir.as_ref();
    check_free(dir)?;
    let sets = match own_path(name) {
        Some(_) => {
            let mut sets = own_splits(name, options)?;
            let validation = load_validation(name, options)?;
            sets.extend(validation.map(|set| (Split::Validation, set)));
            sets
        }
        None => Split::ALL
            .map(|split| Ok((split, load(name, split, options)?)))
            .into_iter()
            .collect::<Result<Vec<_>>>()?,
    };
    let classes = sets.first().map(|(_, set)| set.info().classes.clone());
    let folders = folder_names(&classes.unwrap_or_default());

    let unfinished = Unfinished::new(dir)?;
    for (split, set) in &sets {
        let root = unfinished.path().join(split.as_str());
        for folder in &folders {
            let path = root.join(folder);
            fs::create_dir_all(&path).map_err(|e| Error::io(&path, e))?;
        }
        let digits = set.len().saturating_sub(1).to_string().len();
        (0..set.len()).into_par_iter().try_for_each_init(
            Vec::new,
            |scratch, index| -> Result<()> {
                let label = set.label(index)? as usize;
                let class = folders.get(label).map_or("", String::as_str);
                let path = root.join(class).join(format!("{index:0digits$}.png"));
                write_png(&path, &set.image(index, scratch)?)
            },
        )?;
    }
    unfinished.finish(dir)?;
    Ok(Exported {
        images: sets
            .iter()
            .map(|(split, set)| (*split, set.len()))
            .collect(),
        folders,
    })
}

/// Names of folders for classes, different also where capitals are not told apart.
fn folder_names(classes: &[String]) -> Vec<String> {
    let mut taken = HashSet::new();
    let mut names = Vec::with_capacity(classes.len());
    for (label, class) in classes.iter().enumerate() {
        let plain = |c: char| match c {
            '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|' => '-',
            c if c.is_control() => '-',
            c => c,
        };
        let name: String = class.chars().map(plain).collect();
        let name = name.trim_end_matches(['.', ' ']).trim_start();
        let mut name = match name.strip_prefix('.') {
            // Names that begin with a dot are hidden.
            Some(rest) => format!("-{rest}"),
            None if name.is_empty() => format!("class-{label}"),
            None => name.to_string(),
        };
        while !taken.insert(name.to_lowercase()) {
            name = format!("{name}-{label}");
        }
        names.push(name);
    }
    names
}

fn write_png(path: &Path, image: &ImageRef<'_>) -> Result<()> {
    let (height, width) = (image.height, image.width);
    let interleaved;
    let (bytes, colour) = match image.channels {
        1 => (image.data, ExtendedColorType::L8),
        3 => {
            let size = height * width;
            let pixel = |i: usize| [0, 1, 2].map(|c| image.data[c * size + i]);
            interleaved = (0..size).flat_map(pixel).collect::<Vec<u8>>();
            (&interleaved[..], ExtendedColorType::Rgb8)
        }
        channels => {
            return Err(Error::Argument(format!(
                "images of {channels} channels cannot be written as PNG: expected 1 or 3"
            )));
        }
    };
    let failed = |error: std::io::Error| Error::io(path, error);
    let mut file = BufWriter::new(File::create(path).map_err(failed)?);
    let (w, h) = (width as u32, height as u32);
    PngEncoder::new(&mut file)
        .write_image(bytes, w, h, colour)
        .map_err(|error| failed(std::io::Error::other(error)))?;
    file.flush().map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_folders_are_legal_and_different() {
        let classes = [
            "T-shirt/top",
            "a",
            "A",
            "",
            ".",
            "..",
            ".git",
            "x. ",
            "猫",
            "T-shirt:top",
        ];
        let names = folder_names(&classes.map(String::from));
        assert_eq!(
            names,
            [
                "T-shirt-top",
                "a",
                "A-2",
                "class-3",
                "class-4",
                "class-5",
                "-git",
                "x",
                "猫",
                "T-shirt-top-9"
            ]
        );
    }
}
