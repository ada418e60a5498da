//! Files of the pictures of `--explain`.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// A file for the picture of each image: the path itself if it is a PNG file and there is one image, else a file in that folder, which
/// is created.
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

#[cfg(test)]
mod tests {
    use super::*;

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
            std::slice::from_ref(&one)
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
