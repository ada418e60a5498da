//! A folder of image files, one subfolder a class, as torchvision's `ImageFolder`.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use sha2::{Digest, Sha256};
use tallow_transforms::ImageRef;

use crate::dataset::{Dataset, DatasetInfo, Split};
use crate::decode;
use crate::digest::hex;
use crate::error::{Error, Result};

const EXTENSIONS: [&str; 5] = ["png", "jpg", "jpeg", "webp", "bmp"];

/// Deeper nesting than this is taken for a loop of links.
const MAX_DEPTH: usize = 32;

/// Dataset of images in a folder, decoded when asked for, so that it may be larger than memory.
///
/// Each subfolder of the root is a class; classes are numbered in the order of their names, and a class's
/// images are all PNG, JPEG, WebP and BMP files anywhere below it, folder by folder in the order of their
/// names: the same numbering as `torchvision.datasets.ImageFolder`. Names that begin with a dot are
/// skipped. Every image is converted to RGB; transparency is dropped, not blended.
///
/// Images may differ in size, so [`Dataset::shape`] is `None` until [`ImageFolder::with_uniform_shape`]
/// has found that they all have the same. The digest is the SHA-256 of every relative path, file size and label;
/// it does not read the files.
#[derive(Debug)]
pub struct ImageFolder {
    info: DatasetInfo,
    root: PathBuf,
    /// Paths relative to the root, in order, with their labels.
    items: Vec<(PathBuf, u32)>,
    shape: Option<(usize, usize, usize)>,
}

impl ImageFolder {
    /// Lists the images below `root`.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no class or a class has no image; [`Error::Io`] when a folder cannot be read.
    pub fn open(root: impl AsRef<Path>, split: Split) -> Result<Self> {
        let root = root.as_ref();
        let mut classes = Vec::new();
        for path in list(root)? {
            if path.is_dir() {
                classes.push(text(&path)?);
            }
        }
        if classes.is_empty() {
            return Err(Error::invalid(
                root,
                "a subfolder for every class",
                "no subfolder",
            ));
        }
        let mut items = Vec::new();
        let mut hash = Sha256::new();
        for (label, class) in classes.iter().enumerate() {
            let folder = root.join(class);
            let mut files = Vec::new();
            collect(&folder, 0, &mut files)?;
            files.sort_by(|a, b| walk_order(a).cmp(&walk_order(b)));
            if files.is_empty() {
                let expected = format!("images ({}) of class `{class}`", EXTENSIONS.join(", "));
                return Err(Error::invalid(folder, expected, "none"));
            }
            for path in files {
                let size = fs::metadata(&path).map_err(|e| Error::io(&path, e))?.len();
                let path = path.strip_prefix(root).unwrap_or(&path).to_path_buf();
                for part in &path {
                    hash.update(part.as_encoded_bytes());
                    hash.update([b'/']);
                }
                hash.update(size.to_le_bytes());
                hash.update((label as u32).to_le_bytes());
                items.push((path, label as u32));
            }
        }
        let name = root
            .file_name()
            .unwrap_or(root.as_os_str())
            .to_string_lossy()
            .into_owned();
        let provenance = format!("{name} (image folder)");
        let digest = hex(&hash.finalize());
        let info = DatasetInfo {
            name,
            split,
            provenance,
            digest,
            classes,
        };
        Ok(Self {
            info,
            root: root.to_path_buf(),
            items,
            shape: None,
        })
    }

    /// Reads the header of every file, in parallel; when all images have the same size,
    /// [`Dataset::shape`] gives it from then on.
    pub fn with_uniform_shape(mut self) -> Result<Self> {
        let dimensions = |(path, _): &(PathBuf, u32)| decode::dimensions(&self.root.join(path));
        let (h, w) = dimensions(self.item(0)?)?;
        let same = self
            .items
            .par_iter()
            .map(|item| dimensions(item).map(|d| d == (h, w)))
            .try_reduce(|| true, |a, b| Ok(a && b))?;
        self.shape = same.then_some((3, h, w));
        Ok(self)
    }

    /// File of image `index`.
    ///
    /// # Errors
    /// [`Error::Index`] beyond the end.
    pub fn path(&self, index: usize) -> Result<PathBuf> {
        Ok(self.root.join(&self.item(index)?.0))
    }

    fn item(&self, index: usize) -> Result<&(PathBuf, u32)> {
        let len = self.items.len();
        self.items.get(index).ok_or(Error::Index { index, len })
    }
}

impl Dataset for ImageFolder {
    fn info(&self) -> &DatasetInfo {
        &self.info
    }

    fn len(&self) -> usize {
        self.items.len()
    }

    fn shape(&self) -> Option<(usize, usize, usize)> {
        self.shape
    }

    fn label(&self, index: usize) -> Result<u32> {
        Ok(self.item(index)?.1)
    }

    fn image<'a>(&'a self, index: usize, scratch: &'a mut Vec<u8>) -> Result<ImageRef<'a>> {
        let path = self.path(index)?;
        let (height, width) = decode::rgb_file(&path, scratch)?;
        Ok(ImageRef {
            data: scratch,
            channels: 3,
            height,
            width,
        })
    }
}

/// Subfolder of `root` that holds a split.
pub(crate) fn split_folder(root: &Path, split: Split) -> Result<PathBuf> {
    let names: &[&str] = match split {
        Split::Train => &["train"],
        Split::Test => &["test", "val", "valid", "validation"],
    };
    names
        .iter()
        .map(|n| root.join(n))
        .find(|p| p.is_dir())
        .ok_or_else(|| {
            Error::invalid(
                root,
                format!("a subfolder called {}", names.join(" or ")),
                "none",
            )
        })
}

/// Entries of a folder in the order of their names, without hidden ones.
fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(|e| Error::io(folder, e))? {
        let entry = entry.map_err(|e| Error::io(folder, e))?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

fn collect(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<()> {
    if depth > MAX_DEPTH {
        let expected = format!("at most {MAX_DEPTH} nested folders");
        return Err(Error::invalid(
            folder,
            expected,
            "more; is a link pointing upwards?",
        ));
    }
    for path in list(folder)? {
        if path.is_dir() {
            collect(&path, depth + 1, files)?;
        } else if path
            .extension()
            .and_then(|e| e.to_str())
            .is_some_and(is_image)
        {
            files.push(path);
        }
    }
    Ok(())
}

/// Python's order of a sorted `os.walk`: by the folder's path as a string, then by name.
fn walk_order(path: &Path) -> (&[u8], &[u8]) {
    let folder = path.parent().map_or(OsStr::new(""), Path::as_os_str);
    let name = path.file_name().unwrap_or_default();
    (folder.as_encoded_bytes(), name.as_encoded_bytes())
}

fn is_image(extension: &str) -> bool {
    EXTENSIONS.iter().any(|e| e.eq_ignore_ascii_case(extension))
}

fn text(path: &Path) -> Result<String> {
    match path.file_name().and_then(|n| n.to_str()) {
        Some(name) => Ok(name.to_string()),
        None => Err(Error::invalid(path, "a class name in UTF-8", "other bytes")),
    }
}
