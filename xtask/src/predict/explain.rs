//! The picture of `--explain`: the image in grey as the network got it, and over it the heat of Grad-CAM.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use candle_core::{Device, Tensor};
use image::{Rgb, RgbImage};
use tallow_models::{Model, grad_cam};

/// The picture's longer side is at least this.
const SIDE: u32 = 448;

/// How much of the image the greatest heat covers.
const COVER: f32 = 0.7;

/// Every sixteenth colour of matplotlib's `magma` (Smith and van der Walt, CC0), from dark to light: what is lighter is more, for those
/// who see few colours too.
const MAGMA: [[u8; 3]; 17] = [
    [0, 0, 4],
    [10, 8, 34],
    [29, 17, 71],
    [54, 16, 107],
    [81, 18, 124],
    [106, 28, 129],
    [131, 38, 129],
    [156, 46, 127],
    [183, 55, 121],
    [208, 65, 111],
    [231, 82, 99],
    [245, 107, 92],
    [252, 137, 97],
    [254, 167, 114],
    [254, 196, 136],
    [253, 226, 163],
    [252, 253, 191],
];

/// A file for the picture of each image: the path itself, if it is a PNG file and there is one image; else in that folder, which is
/// made if need be.
pub fn files(path: Option<&Path>, images: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let Some(path) = path else {
        return Ok(Vec::new());
    };
    let is_png = path
        .extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("png"));
    if is_png && !path.is_dir() {
        if images.len() > 1 {
            bail!(
                "--explain {}: is one file, and there are {} images; give a folder",
                path.display(),
                images.len()
            );
        }
        if let Some(parent) = path
            .parent()
            .filter(|p| !p.as_os_str().is_empty() && !p.is_dir())
        {
            bail!(
                "--explain {}: there is no folder {}",
                path.display(),
                parent.display()
            );
        }
        return Ok(vec![path.to_path_buf()]);
    }
    if path.is_file() {
        bail!("--explain {}: give a .png file or a folder", path.display());
    }
    fs::create_dir_all(path)
        .with_context(|| format!("--explain {}: cannot be made", path.display()))?;
    let mut taken = HashSet::new();
    let name = |image: &PathBuf| {
        let stem = image.file_stem().unwrap_or_default().to_string_lossy();
        let mut name = format!("{stem}.png");
        let mut number = 2;
        while !taken.insert(name.clone()) {
            name = format!("{stem}-{number}.png");
            number += 1;
        }
        path.join(name)
    };
    Ok(images.iter().map(name).collect())
}

/// Writes the picture for an image `(1, C, H, W)` and one of the classes.
pub fn write(file: &Path, model: &Model, image: &Tensor, class: usize, layer: &str) -> Result<()> {
    let heat = grad_cam(model, image, &[class as u32], Some(layer))?;
    let heat: Vec<f32> = heat.to_device(&Device::Cpu)?.flatten_all()?.to_vec1()?;
    // As it went in, whatever the normalisation: its darkest value black, its lightest white.
    let grey = image.to_device(&Device::Cpu)?.mean(1)?;
    let (_, h, w) = grey.dims3()?;
    let grey: Vec<f32> = grey.flatten_all()?.to_vec1()?;
    let picture = overlay(&grey, &heat, (h as u32, w as u32));
    // Under another name first, so that no half of a picture is left.
    let part = file.with_extension("png.part");
    picture
        .save_with_format(&part, image::ImageFormat::Png)
        .map_err(anyhow::Error::from)
        .and_then(|()| Ok(fs::rename(&part, file)?))
        .with_context(|| format!("cannot write {}", file.display()))
}

fn overlay(grey: &[f32], heat: &[f32], (h, w): (u32, u32)) -> RgbImage {
    let low = grey.iter().copied().fold(f32::INFINITY, f32::min);
    let high = grey.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let range = (high - low).max(f32::MIN_POSITIVE);
    let times = SIDE.div_ceil(h.max(w)).max(1);
    RgbImage::from_fn(w * times, h * times, |x, y| {
        let pixel = (y / times * w + x / times) as usize;
        let grey = (grey[pixel] - low) / range * 255.0;
        let heat = between(heat, (h, w), (y, x), times);
        let cover = COVER * heat;
        let colour = magma(heat);
        Rgb(colour.map(|c| ((1.0 - cover) * grey + cover * c).round() as u8))
    })
}

/// The heat at a pixel of the picture, which is `times` as large.
fn between(heat: &[f32], (h, w): (u32, u32), (y, x): (u32, u32), times: u32) -> f32 {
    let place = |at: u32, n: u32| {
        let centre = ((at as f32 + 0.5) / times as f32 - 0.5).clamp(0.0, (n - 1) as f32);
        let first = centre as u32;
        (first, (first + 1).min(n - 1), centre - first as f32)
    };
    let ((top, bottom, down), (left, right, across)) = (place(y, h), place(x, w));
    let value = |y: u32, x: u32| heat[(y * w + x) as usize];
    let row = |y: u32| value(y, left) * (1.0 - across) + value(y, right) * across;
    row(top) * (1.0 - down) + row(bottom) * down
}

/// The colour of a share in `[0, 1]`.
fn magma(share: f32) -> [f32; 3] {
    let last = MAGMA.len() - 1;
    let place = share.clamp(0.0, 1.0) * last as f32;
    let first = (place as usize).min(last - 1);
    let part = place - first as f32;
    let (a, b) = (MAGMA[first], MAGMA[first + 1]);
    std::array::from_fn(|i| f32::from(a[i]) * (1.0 - part) + f32::from(b[i]) * part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_get_lighter() {
        let light = |share: f32| {
            let [r, g, b] = magma(share);
            0.2126 * r + 0.7152 * g + 0.0722 * b
        };
        let steps: Vec<f32> = (0..=64).map(|i| light(i as f32 / 64.0)).collect();
        assert!(steps.windows(2).all(|pair| pair[1] > pair[0]), "{steps:?}");
        assert_eq!(magma(1.0), [252.0, 253.0, 191.0]);
    }

    #[test]
    fn cold_places_show_the_image_and_hot_ones_the_heat() {
        let grey = [-1.0, -1.0, 1.0, 1.0];
        let picture = overlay(&grey, &[0.0, 1.0, 0.0, 1.0], (2, 2));
        assert_eq!(picture.dimensions(), (448, 448));
        assert_eq!(picture.get_pixel(0, 0).0, [0, 0, 0]);
        assert_eq!(picture.get_pixel(0, 447).0, [255, 255, 255]);
        assert_eq!(picture.get_pixel(447, 0).0, [176, 177, 134]);
        let blank = overlay(&[3.0; 4], &[0.0; 4], (2, 2));
        assert!(blank.pixels().all(|p| p.0 == [0, 0, 0]));
    }

    #[test]
    fn every_image_gets_a_file_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let images: Vec<PathBuf> = ["a/x.png", "b/x.jpg", "y.png"]
            .iter()
            .map(PathBuf::from)
            .collect();
        let path = dir.path().join("why");
        let files = files(Some(&path), &images).unwrap();
        let names: Vec<_> = files
            .iter()
            .map(|f| f.strip_prefix(&path).unwrap().to_str().unwrap())
            .collect();
        assert_eq!(names, ["x.png", "x-2.png", "y.png"]);
        let one = dir.path().join("one.png");
        assert_eq!(
            super::files(Some(&one), &images[..1]).unwrap(),
            [one.clone()]
        );
        assert!(
            super::files(Some(&one), &images)
                .unwrap_err()
                .to_string()
                .contains("give a folder")
        );
        assert!(super::files(Some(&dir.path().join("no/one.png")), &images[..1]).is_err());
        assert!(super::files(None, &images).unwrap().is_empty());
    }
}
