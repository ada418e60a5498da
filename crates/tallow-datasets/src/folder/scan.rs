//! Listing of the pictures below a folder, and of what is left out.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::dataset::{Split, VALIDATION};
use crate::error::{Error, Result};

/// Extensions of pictures: those of `torchvision.datasets.ImageFolder`.
pub(super) const EXTENSIONS: [&str; 9] = [
    "jpg", "jpeg", "png", "ppm", "bmp", "pgm", "tif", "tiff", "webp",
];

/// Deeper nesting than this is taken for a loop of links.
const MAX_DEPTH: usize = 32;

/// File of a picture.
pub(super) struct File {
    pub path: PathBuf,
    pub size: u64,
}

/// Files that are not taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct LeftOut {
    /// Files with the extension of no picture, and files outside the folders of classes.
    pub files: Vec<PathBuf>,
    /// Number of files and folders whose name begins with a dot.
    pub hidden: usize,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMED: usize = 3;
        let plural = |n: usize| if n == 1 { "" } else { "s" };
        let count = self.files.len();
        if count > 0 {
            write!(f, "{count} file{}: ", plural(count))?;
            let named = self.files.iter().take(NAMED);
            let names: Vec<_> = named.map(|p| p.display().to_string()).collect();
            f.write_str(&names.join(", "))?;
            if count > NAMED {
                write!(f, " and {} more", count - NAMED)?;
            }
        }
        if self.hidden > 0 {
            let comma = if count > 0 { ", and " } else { "" };
            write!(f, "{comma}{} hidden", self.hidden)?;
        }
        Ok(())
    }
}

impl LeftOut {
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.hidden == 0
    }
}

/// Folders of the splits below a root.
pub(super) struct Layout {
    pub train: Option<PathBuf>,
    pub validation: Option<PathBuf>,
    pub test: Option<PathBuf>,
    /// Names of further folders that would be the validation split if there were no better one.
    pub unused: Vec<&'static str>,
}

impl Layout {
    pub fn of(root: &Path) -> Self {
        let folder = |name: &str| Some(root.join(name)).filter(|path| path.is_dir());
        let mut others = (VALIDATION.into_iter()).filter_map(|name| Some((name, folder(name)?)));
        let mut next = || others.next().map(|(_, path)| path);
        let (validation, test) = match folder("test") {
            Some(test) => (next(), Some(test)),
            None => (None, next()),
        };
        Layout {
            train: folder("train"),
            validation,
            test,
            unused: others.map(|(name, _)| name).collect(),
        }
    }

    /// Splits that are there, with their folders.
    pub fn splits(&self) -> Vec<(Split, &Path)> {
        let folders = [
            (Split::Train, &self.train),
            (Split::Validation, &self.validation),
            (Split::Test, &self.test),
        ];
        let there = folders.into_iter();
        there
            .filter_map(|(split, folder)| Some((split, folder.as_deref()?)))
            .collect()
    }

    /// Folder of a split.
    pub fn folder(&self, root: &Path, split: Split) -> Result<&Path> {
        let (folder, expected) = match split {
            Split::Train => (&self.train, "a subfolder called train"),
            Split::Test => (
                &self.test,
                "a subfolder called test or val or valid or validation",
            ),
            Split::Validation => (
                &self.validation,
                "a subfolder called val or valid or validation beside one called test",
            ),
        };
        folder.as_deref().ok_or_else(|| no_folder(root, expected))
    }
}

/// Error about a folder that lacks the subfolder which is `expected`, or is none.
fn no_folder(root: &Path, expected: &str) -> Error {
    const PICTURES: &str = "a folder of pictures";
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(_) if root.is_file() => return Error::invalid(root, PICTURES, "a file"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Error::invalid(root, PICTURES, missing(root));
        }
        Err(error) => return Error::io(root, error),
    };
    let seen =
        (entries.flatten()).filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."));
    let (folders, files): (Vec<_>, Vec<_>) = seen.partition(|entry| entry.path().is_dir());
    let found = match (folders.len(), files.len()) {
        (1.., _) => return Error::invalid(root, expected, "none"),
        (0, 0) => "an empty folder".to_string(),
        (0, 1) => "one file and no folder".to_string(),
        (0, files) => format!("{files} files and no folder"),
    };
    let expected = "a folder for each class, in a subfolder called train or right below";
    Error::invalid(root, expected, found)
}

/// Words for a folder that does not exist. A relative path starts at the current folder.
fn missing(root: &Path) -> String {
    match std::env::current_dir() {
        Ok(current) if root.is_relative() => format!("no such folder in {}", current.display()),
        _ => "no such folder".to_string(),
    }
}

/// Names of the classes of a folder: of its subfolders, in order. Files beside them are left out.
pub(super) fn classes(root: &Path, left_out: &mut LeftOut) -> Result<Vec<String>> {
    let mut classes = Vec::new();
    for entry in list(root, left_out)? {
        if entry.is_dir {
            classes.push(text(&entry.path)?);
        } else {
            left_out.files.push(entry.path);
        }
    }
    Ok(classes)
}

/// Pictures below the folder of a class, in the order of torchvision. None if there is no such folder.
pub(super) fn pictures(folder: &Path, left_out: &mut LeftOut) -> Result<Vec<File>> {
    let mut files = Vec::new();
    if folder.is_dir() {
        collect(folder, 0, &mut files, left_out)?;
        files.sort_by(|a, b| walk_order(&a.path).cmp(&walk_order(&b.path)));
    }
    Ok(files)
}

struct Entry {
    path: PathBuf,
    is_dir: bool,
    /// `None` for a pipe, a device, or a link that leads nowhere.
    size: Option<u64>,
}

/// Entries of a folder in the order of their names, without hidden ones.
fn list(folder: &Path, left_out: &mut LeftOut) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(|e| Error::io(folder, e))? {
        let entry = entry.map_err(|e| Error::io(folder, e))?;
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            left_out.hidden += 1;
            continue;
        }
        let path = entry.path();
        // Follows links.
        let entry = match fs::metadata(&path) {
            Ok(metadata) => Entry {
                is_dir: metadata.is_dir(),
                size: metadata.is_file().then_some(metadata.len()),
                path,
            },
            Err(error) if is_picture(&path) => return Err(Error::io(path, error)),
            Err(_) => Entry {
                is_dir: false,
                size: None,
                path,
            },
        };
        entries.push(entry);
    }
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(entries)
}

fn collect(
    folder: &Path,
    depth: usize,
    files: &mut Vec<File>,
    left_out: &mut LeftOut,
) -> Result<()> {
    if depth > MAX_DEPTH {
        let expected = format!("at most {MAX_DEPTH} nested folders");
        return Err(Error::invalid(
            folder,
            expected,
            "more; is a link pointing upwards?",
        ));
    }
    for Entry { path, is_dir, size } in list(folder, left_out)? {
        match size {
            _ if is_dir => collect(&path, depth + 1, files, left_out)?,
            Some(size) if is_picture(&path) => files.push(File { path, size }),
            _ => left_out.files.push(path),
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

fn is_picture(path: &Path) -> bool {
    let extension = path.extension().and_then(OsStr::to_str);
    extension.is_some_and(|e| EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(e)))
}

fn text(path: &Path) -> Result<String> {
    match path.file_name().and_then(|n| n.to_str()) {
        Some(name) => Ok(name.to_string()),
        None => Err(Error::invalid(path, "a class name in UTF-8", "other bytes")),
    }
}
