//! A folder of picture files, one subfolder a class, as torchvision's `ImageFolder`.

mod list;
mod scan;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use sha2::{Digest, Sha256};
use tallow_transforms::ImageRef;

use crate::dataset::{Dataset, DatasetInfo, Split};
use crate::digest::hex;
use crate::error::{Error, Result};
use crate::options::PictureOptions;
use crate::picture::Opened;
use crate::said::{Said, decoding};
use list::Item;
use scan::{EXTENSIONS, Layout, LeftOut};

/// Dataset of pictures in a folder, decoded when asked for, so that it may be larger than memory.
///
/// Each subfolder of the root is a class; classes are numbered in the order of their names, and a class's
/// pictures are all files anywhere below it with an extension of torchvision's (`.jpg .jpeg .png .ppm .bmp .pgm .tif .tiff .webp`, in
/// small or capital letters), folder by folder in the order of their names: the same numbering as
/// `torchvision.datasets.ImageFolder`. The contents of a file tell its format, not its name. Other files, and names that begin with a
/// dot, are left out; the provenance counts and names them. Every picture is converted to RGB as [`decode_picture`](crate::decode_picture)
/// does it.
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
    options: PictureOptions,
    left_out: Vec<PathBuf>,
    said: Said,
}

impl ImageFolder {
    /// Lists the pictures below `root`, whose subfolders are the classes.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no class or a class has no picture; [`Error::Io`] when a folder cannot be read.
    pub fn open(root: impl AsRef<Path>, split: Split) -> Result<Self> {
        Self::open_with(root, split, PictureOptions::default())
    }

    /// As [`ImageFolder::open`], with options of decoding.
    ///
    /// # Errors
    /// As [`ImageFolder::open`].
    pub fn open_with(
        root: impl AsRef<Path>,
        split: Split,
        options: PictureOptions,
    ) -> Result<Self> {
        let root = root.as_ref();
        let mut left_out = LeftOut::default();
        let classes = scan::classes(root, &mut left_out)?;
        let listing = Listing::read(root, classes, left_out)?;
        if let Some(class) = listing.empty.first() {
            return Err(no_pictures(&root.join(class), class, &listing.left_out));
        }
        Ok(listing.into_folder(root, name(root), split, options, (FOLDER, Vec::new())))
    }

    /// Opens a split of a folder with subfolders `train` and `test`, each with a folder for every class. A subfolder `val`, `valid` or
    /// `validation` beside them is the validation split; where there is no `test`, it is the test split.
    ///
    /// All splits have one list of classes, so that a label means the same class in each. A class may have no pictures in one of the splits;
    /// that is logged, and the provenance names it.
    ///
    /// # Errors
    /// As [`ImageFolder::open`]; [`Error::Invalid`] for a split without a folder, a class that the training split lacks, and one without
    /// pictures in any split.
    pub fn open_split(
        root: impl AsRef<Path>,
        split: Split,
        options: PictureOptions,
    ) -> Result<Self> {
        let root = root.as_ref();
        let layout = Layout::of(root);
        let folder = layout.folder(root, split)?;
        let mut left_out = LeftOut::default();
        let mut found = Vec::new();
        for (which, path) in layout.splits() {
            let mut files = LeftOut::default();
            found.push((which, path, scan::classes(path, &mut files)?));
            if which == split {
                left_out = files;
            }
        }
        check_learnable(&found)?;
        let mut classes: Vec<String> = (found.iter())
            .flat_map(|(_, _, classes)| classes.iter().cloned())
            .collect();
        classes.sort();
        classes.dedup();
        let listing = Listing::read(folder, classes, left_out)?;
        for class in &listing.empty {
            let mut elsewhere = false;
            for (_, path, _) in found.iter().filter(|(which, _, _)| *which != split) {
                let pictures = scan::pictures(&path.join(class), &mut LeftOut::default())?;
                elsewhere |= !pictures.is_empty();
            }
            if !elsewhere {
                return Err(no_pictures(&folder.join(class), class, &listing.left_out));
            }
        }
        let mut remarks = Vec::new();
        if split == Split::Test {
            if let Some(name) = folder.file_name().filter(|name| *name != "test") {
                let name = name.to_string_lossy();
                remarks.push(format!("`{name}` is the test split, as there is no `test`"));
            }
            if !layout.unused.is_empty() {
                remarks.push(format!("not used: {}", layout.unused.join(", ")));
            }
        }
        Ok(listing.into_folder(folder, name(root), split, options, (FOLDER, remarks)))
    }

    /// Opens a split of pictures that a list names: `train.csv` and `test.csv` in the folder `root`, also as `.jsonl`, or `metadata.csv` or
    /// `metadata.jsonl` in the folders `train` and `test`, as of Hugging Face's `imagefolder`. A list `val`, `valid` or `validation` beside them
    /// is that of the validation split; where there is no `test`, it is that of the test split.
    ///
    /// A list has a column of paths (`path`, `file_name`, `filename`, `file`, `image` or `image_path`), relative to its own folder, and one of
    /// labels (`label`, `class`, `target` or `category`). Classes are the labels of all splits, in the order of numbers if all are whole numbers,
    /// else of names.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the list and the line.
    pub fn open_list(
        root: impl AsRef<Path>,
        split: Split,
        options: PictureOptions,
    ) -> Result<Self> {
        let root = root.as_ref();
        let Some(list) = list::find(root, split) else {
            let expected = match split {
                Split::Validation => {
                    "lists of the test and of the validation split, such as test.csv and val.csv"
                        .to_string()
                }
                _ => format!("a list of the {split} split, {split}.csv or {split}.jsonl"),
            };
            return Err(Error::invalid(root, expected, "none"));
        };
        let mut lists = Vec::new();
        for which in [Split::Train, Split::Validation, Split::Test] {
            if let Some(list) = list::find(root, which) {
                let items = list::read(&list)?;
                lists.push((which, list, items));
            }
        }
        let listing = Listing::of_list(&list, &lists, split)?;
        let folder = list.parent().unwrap_or(root);
        let kind = format!("list {}", relative(root, &list).display());
        Ok(listing.into_folder(folder, name(root), split, options, (&kind, Vec::new())))
    }

    /// Reads the header of every file, in parallel; when all images have the same size,
    /// [`Dataset::shape`] gives it from then on.
    pub fn with_uniform_shape(mut self) -> Result<Self> {
        let (h, w) = self.dimensions(0)?;
        let same = (0..self.items.len())
            .into_par_iter()
            .map(|index| self.dimensions(index).map(|d| d == (h, w)))
            .try_reduce(|| true, |a, b| Ok(a && b))?;
        self.shape = same.then_some((3, h, w));
        Ok(self)
    }

    /// Height and width of image `index` as it is decoded, from the header of its file.
    ///
    /// # Errors
    /// [`Error::Index`] beyond the end; [`Error::Io`]; [`Error::Picture`] when the file is no picture.
    pub fn dimensions(&self, index: usize) -> Result<(usize, usize)> {
        let path = self.path(index)?;
        let bytes = fs::read(&path).map_err(|e| Error::io(&path, e))?;
        let opened = Opened::new(&bytes, &self.options);
        let size = opened.map(|opened| opened.size());
        size.map_err(|source| Error::Picture { path, source })
    }

    /// Whether `root` has folders of splits (`train`, or `test`, `val`, `valid`, `validation`), as [`ImageFolder::open_split`] reads
    /// them; folders of classes otherwise, as [`ImageFolder::open`] does.
    pub fn has_splits(root: impl AsRef<Path>) -> bool {
        let layout = Layout::of(root.as_ref());
        layout.train.is_some() || layout.test.is_some()
    }

    /// File of image `index`.
    ///
    /// # Errors
    /// [`Error::Index`] beyond the end.
    pub fn path(&self, index: usize) -> Result<PathBuf> {
        Ok(self.root.join(&self.item(index)?.0))
    }

    /// Files below the root that are left out, relative to it: those with the extension of no picture, and those outside the folders
    /// of classes. Hidden files are not listed.
    pub fn left_out(&self) -> &[PathBuf] {
        &self.left_out
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

    /// Path of the file relative to the root; bytes that are no Unicode are replaced.
    fn name(&self, index: usize) -> Option<Cow<'_, str>> {
        Some(self.items.get(index)?.0.to_string_lossy())
    }

    fn label(&self, index: usize) -> Result<u32> {
        Ok(self.item(index)?.1)
    }

    fn image<'a>(&'a self, index: usize, scratch: &'a mut Vec<u8>) -> Result<ImageRef<'a>> {
        let path = self.path(index)?;
        let bytes = fs::read(&path).map_err(|e| Error::io(&path, e))?;
        let decoded = Opened::new(&bytes, &self.options).and_then(|opened| opened.decode(scratch));
        let decoded = match decoded {
            Ok(decoded) => decoded,
            Err(source) => return Err(Error::Picture { path, source }),
        };
        self.said
            .say(path.display(), &self.info.name, &decoded.notes);
        Ok(ImageRef {
            data: scratch,
            channels: 3,
            height: decoded.height,
            width: decoded.width,
        })
    }
}

/// Kind of a dataset in its provenance.
const FOLDER: &str = "image folder";

/// Pictures of a split, in order.
struct Listing {
    classes: Vec<String>,
    items: Vec<(PathBuf, u32)>,
    /// Classes without pictures.
    empty: Vec<String>,
    left_out: LeftOut,
    digest: String,
}

impl Listing {
    fn read(root: &Path, classes: Vec<String>, mut left_out: LeftOut) -> Result<Self> {
        if classes.is_empty() {
            let expected = "a subfolder for every class";
            return Err(Error::invalid(root, expected, "no subfolder"));
        }
        let (mut items, mut empty) = (Vec::new(), Vec::new());
        let mut hash = Sha256::new();
        for (label, class) in classes.iter().enumerate() {
            let files = scan::pictures(&root.join(class), &mut left_out)?;
            if files.is_empty() {
                empty.push(class.clone());
            }
            for file in files {
                let path = relative(root, &file.path);
                count(&mut hash, &path, file.size, label as u32);
                items.push((path, label as u32));
            }
        }
        left_out.files = (left_out.files.iter())
            .map(|path| relative(root, path))
            .collect();
        Ok(Self {
            classes,
            items,
            empty,
            left_out,
            digest: hex(&hash.finalize()),
        })
    }

    /// Pictures of `list`, which is one of `lists` and that of `split`.
    fn of_list(list: &Path, lists: &[(Split, PathBuf, Vec<Item>)], split: Split) -> Result<Self> {
        let train = lists.iter().find(|(which, ..)| *which == Split::Train);
        let train = train.map_or(&[][..], |(.., items)| items);
        let known: HashSet<&str> = train.iter().map(|item| item.label.as_str()).collect();
        for (which, list, items) in lists {
            if let Some(item) = (items.iter()).find(|item| !known.contains(item.label.as_str()))
                && !known.is_empty()
            {
                return Err(Error::invalid(
                    list,
                    format!("labels of the {which} split that the training split has too"),
                    format!(
                        "the class `{}` (line {}), which the training split lacks",
                        item.label, item.line
                    ),
                ));
            }
        }
        let all = lists.iter().flat_map(|(.., items)| items);
        let classes = list::classes(all.map(|item| item.label.as_str()));
        let labels: HashMap<&str, u32> = (classes.iter().map(String::as_str)).zip(0..).collect();
        let own = lists.iter().find(|(which, ..)| *which == split);
        let own = own.map_or(&[][..], |(.., items)| items);
        let folder = list.parent().unwrap_or(Path::new("."));
        let mut items = Vec::with_capacity(own.len());
        let mut hash = Sha256::new();
        for item in own {
            let file = folder.join(&item.path);
            let size = match fs::metadata(&file) {
                Ok(metadata) if metadata.is_file() => metadata.len(),
                _ => {
                    let expected = format!("a picture at line {}", item.line);
                    let found = format!("no file {}", file.display());
                    return Err(Error::invalid(list, expected, found));
                }
            };
            let label = labels.get(item.label.as_str()).copied().unwrap_or_default();
            count(&mut hash, &item.path, size, label);
            items.push((item.path.clone(), label));
        }
        let there: HashSet<u32> = items.iter().map(|(_, label)| *label).collect();
        let empty = classes
            .iter()
            .zip(0..)
            .filter(|(_, label)| !there.contains(label));
        Ok(Self {
            empty: empty.map(|(class, _)| class.clone()).collect(),
            classes,
            items,
            left_out: LeftOut::default(),
            digest: hex(&hash.finalize()),
        })
    }

    fn into_folder(
        self,
        root: &Path,
        name: String,
        split: Split,
        options: PictureOptions,
        (kind, others): (&str, Vec<String>),
    ) -> ImageFolder {
        let mut remarks = Vec::new();
        if !self.left_out.is_empty() {
            remarks.push(format!("left out {}", self.left_out));
        }
        if !self.empty.is_empty() {
            remarks.push(format!("no {split} pictures of {}", some(&self.empty)));
        }
        remarks.extend(others);
        for remark in &remarks {
            tracing::warn!("{}: {remark}", root.display());
        }
        let how = decoding(&options);
        let remarks = [vec![format!("{kind}; {how}")], remarks].concat();
        let info = DatasetInfo {
            provenance: format!("{name} ({})", remarks.join("; ")),
            name,
            split,
            digest: self.digest,
            classes: self.classes,
        };
        ImageFolder {
            info,
            root: root.to_path_buf(),
            items: self.items,
            shape: None,
            options,
            left_out: self.left_out.files,
            said: Said::default(),
        }
    }
}

/// Whether the folder `root` has a validation split.
pub(crate) fn has_validation(root: &Path) -> bool {
    Layout::of(root).validation.is_some()
}

/// Whether there is a list of the validation split below `root`.
pub(crate) fn has_validation_list(root: &Path) -> bool {
    list::find(root, Split::Validation).is_some()
}

/// Splits of the folder `root`, and those of its lists.
#[cfg(feature = "parquet")]
pub(crate) fn splits(root: &Path) -> (Vec<Split>, Vec<Split>) {
    let folders = Layout::of(root);
    let folders = folders.splits().into_iter().map(|(split, _)| split);
    let lists = [Split::Train, Split::Validation, Split::Test].into_iter();
    let lists = lists.filter(|split| list::find(root, *split).is_some());
    (folders.collect(), lists.collect())
}

/// Refuses a class that the training split lacks, which cannot be learned.
fn check_learnable(splits: &[(Split, &Path, Vec<String>)]) -> Result<()> {
    let Some((_, train, known)) = splits.iter().find(|(which, ..)| *which == Split::Train) else {
        return Ok(());
    };
    for (which, folder, classes) in splits {
        if let Some(class) = classes.iter().find(|class| !known.contains(class)) {
            return Err(Error::invalid(
                folder.join(class),
                format!("a class that {} has too ({})", train.display(), some(known)),
                format!("the class `{class}` of the {which} split, which the training split lacks"),
            ));
        }
    }
    Ok(())
}

/// Adds a picture to the digest of a dataset.
fn count(hash: &mut Sha256, path: &Path, size: u64, label: u32) {
    for part in path {
        hash.update(part.as_encoded_bytes());
        hash.update([b'/']);
    }
    hash.update(size.to_le_bytes());
    hash.update(label.to_le_bytes());
}

/// Error about a class without pictures, which names the other files of its folder.
fn no_pictures(folder: &Path, class: &str, left_out: &LeftOut) -> Error {
    let extensions = EXTENSIONS.join(", ");
    let expected = format!("pictures ({extensions}) of class `{class}`");
    let files = left_out.files.iter().filter(|file| file.starts_with(class));
    let others = LeftOut {
        files: files.cloned().collect(),
        hidden: 0,
    };
    let found = match others.is_empty() {
        true => "none".to_string(),
        false => format!("none but {others}"),
    };
    Error::invalid(folder, expected, found)
}

/// The first names of a list.
fn some(names: &[String]) -> String {
    const NAMED: usize = 10;
    let named = names[..names.len().min(NAMED)].join(", ");
    match names.len().checked_sub(NAMED) {
        None | Some(0) => named,
        Some(more) => format!("{named} and {more} more"),
    }
}

fn relative(root: &Path, path: &Path) -> PathBuf {
    path.strip_prefix(root).unwrap_or(path).to_path_buf()
}

/// Name of a folder, also of `.` and `..`.
pub(crate) fn name(root: &Path) -> String {
    let full = root.file_name().is_none().then(|| root.canonicalize().ok());
    let full = full.flatten().unwrap_or_else(|| root.to_path_buf());
    let name = full.file_name().unwrap_or(full.as_os_str());
    name.to_string_lossy().into_owned()
}

/// Whether there are folders in a folder that are not hidden.
pub(crate) fn has_folders(root: &Path) -> bool {
    scan::classes(root, &mut LeftOut::default()).is_ok_and(|classes| !classes.is_empty())
}

/// Files of pictures anywhere below a folder, as [`ImageFolder`] takes them for one class, and the other files, which are left out.
/// Hidden ones are in neither.
///
/// # Errors
/// [`Error::Io`] when a folder cannot be read; [`Error::Invalid`] when folders are nested in a circle.
pub fn picture_files(folder: impl AsRef<Path>) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let mut left_out = LeftOut::default();
    let files = scan::pictures(folder.as_ref(), &mut left_out)?;
    let files = files.into_iter().map(|file| file.path);
    Ok((files.collect(), left_out.files))
}
