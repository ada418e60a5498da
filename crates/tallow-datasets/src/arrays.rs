//! A dataset of one's own in NumPy arrays: an `.npz` archive, or a folder of `.npy` files.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use zip::ZipArchive;

use crate::dataset::{ImageSet, Split};
use crate::error::{Error, Result};
use crate::formats::npy;

/// Names of the arrays of images and of labels of a split, in the order of preference.
const TRAIN: [[&str; 2]; 3] = [
    ["x_train", "y_train"],
    ["X_train", "y_train"],
    ["train_images", "train_labels"],
];
const TEST: [[&str; 2]; 3] = [
    ["x_test", "y_test"],
    ["X_test", "y_test"],
    ["test_images", "test_labels"],
];
/// Arrays of the validation split, or of the test split where there is no other.
const VALIDATION: [[&str; 2]; 3] = [
    ["x_val", "y_val"],
    ["X_val", "y_val"],
    ["val_images", "val_labels"],
];

/// Largest number of classes.
const CLASSES: u64 = 1 << 16;

/// Reads a split of the arrays at `path`, an `.npz` archive or a folder of `.npy` files.
///
/// Classes are the numbers from 0 to the largest label of all splits.
pub(crate) fn open(path: &Path, split: Split) -> Result<ImageSet> {
    let mut arrays = Arrays::open(path)?;
    let [images, own] = arrays.names(split).ok_or_else(|| arrays.lacks(split))?;
    let (shape, pixels, count) = planar(arrays.read(images)?)?;
    let labels = self::labels(arrays.read(own)?)?;
    if labels.len() != count {
        let found = format!("{count} images and {} labels", labels.len());
        return Err(Error::invalid(path, "as many labels as images", found));
    }
    let mut splits = Vec::new();
    for which in [Split::Train, Split::Validation, Split::Test] {
        if let Some([_, name]) = arrays.names(which) {
            let labels = match which == split {
                true => labels.clone(),
                false => self::labels(arrays.read(name)?)?,
            };
            splits.push((which, labels));
        }
    }
    check_classes(path, &splits)?;
    let all = splits.iter().flat_map(|(_, labels)| labels);
    let classes = all.max().map_or(0, |most| most + 1);
    let classes = (0..classes).map(|class| class.to_string()).collect();
    let name = path.file_stem().unwrap_or(path.as_os_str());
    let name = name.to_string_lossy().into_owned();
    let provenance = format!("{name} (NumPy arrays; {images})");
    ImageSet::from_parts(name, split, provenance, classes, shape, pixels, labels)
}

/// Whether the arrays at `path` have a validation split.
pub(crate) fn has_validation(path: &Path) -> Result<bool> {
    Ok(Arrays::open(path)?.names(Split::Validation).is_some())
}

/// A class that the training split lacks cannot be learned.
pub(crate) fn check_classes(path: &Path, splits: &[(Split, Vec<u32>)]) -> Result<()> {
    let train = splits.iter().filter(|(which, _)| *which == Split::Train);
    let known: BTreeSet<u32> = train.flat_map(|(_, labels)| labels).copied().collect();
    for (which, labels) in splits {
        if let Some(label) = labels.iter().find(|label| !known.contains(label))
            && !known.is_empty()
        {
            return Err(Error::invalid(
                path,
                format!("labels of the {which} split that the training split has too"),
                format!("the label {label}, which the training split lacks"),
            ));
        }
    }
    Ok(())
}

/// `(C, H, W)`.
type Shape = (usize, usize, usize);

/// Arrays in one place.
struct Arrays {
    path: PathBuf,
    /// `None` for a folder.
    archive: Option<ZipArchive<File>>,
    /// Names without `.npy`.
    names: BTreeSet<String>,
}

/// Array with its numbers as they are stored.
struct Array {
    at: PathBuf,
    kind: String,
    big_endian: bool,
    shape: Vec<usize>,
    data: Vec<u8>,
}

impl Arrays {
    fn open(path: &Path) -> Result<Self> {
        let mut names = BTreeSet::new();
        let mut add = |name: &str| names.extend(name.strip_suffix(".npy").map(String::from));
        let mut archive = None;
        if path.is_dir() {
            for item in fs::read_dir(path).map_err(|e| Error::io(path, e))? {
                let item = item.map_err(|e| Error::io(path, e))?;
                item.file_name().to_str().map(&mut add);
            }
        } else {
            let file = File::open(path).map_err(|e| Error::io(path, e))?;
            let zip = ZipArchive::new(file).map_err(|e| {
                Error::invalid(
                    path,
                    "a NumPy archive (.npz), or a folder of .npy files",
                    e.to_string(),
                )
            })?;
            zip.file_names().flatten().for_each(|name| add(&name));
            archive = Some(zip);
        }
        Ok(Self {
            path: path.to_path_buf(),
            archive,
            names,
        })
    }

    /// Names of the images and the labels of a split.
    fn names(&self, split: Split) -> Option<[&'static str; 2]> {
        let all = |pair: &&[&'static str; 2]| pair.iter().all(|name| self.names.contains(*name));
        let first = |candidates: &[[&'static str; 2]; 3]| candidates.iter().find(all).copied();
        match (split, first(&TEST)) {
            (Split::Train, _) => first(&TRAIN),
            (Split::Test, Some(test)) => Some(test),
            (Split::Validation, None) => None,
            (Split::Test, None) | (Split::Validation, Some(_)) => first(&VALIDATION),
        }
    }

    /// Error of a split that is not there.
    fn lacks(&self, split: Split) -> Error {
        const NAMED: usize = 8;
        let expected = match split {
            Split::Train => "the arrays x_train and y_train, or train_images and train_labels",
            Split::Test => "the arrays x_test and y_test, or test_images and test_labels",
            Split::Validation => {
                "the arrays x_val and y_val, or val_images and val_labels, beside those of a test split"
            }
        };
        let named: Vec<&str> = self.names.iter().take(NAMED).map(String::as_str).collect();
        let found = match (named.is_empty(), self.names.len().saturating_sub(NAMED)) {
            (true, _) => "no array".to_string(),
            (false, 0) => named.join(", "),
            (false, more) => format!("{} and {more} more", named.join(", ")),
        };
        Error::invalid(&self.path, expected, found)
    }

    fn read(&mut self, name: &str) -> Result<Array> {
        let at = self.path.join(format!("{name}.npy"));
        let Some(archive) = &mut self.archive else {
            let file = File::open(&at).map_err(|e| Error::io(&at, e))?;
            let stored = file.metadata().map_err(|e| Error::io(&at, e))?.len();
            return array(&mut std::io::BufReader::new(file), at, stored);
        };
        let path = &self.path;
        let member = archive.by_name(&format!("{name}.npy"));
        let member =
            member.map_err(|e| Error::invalid(path, "a NumPy archive (.npz)", e.to_string()))?;
        // What the member claims to be packed into is no more than the archive.
        let size = path.metadata().map_err(|e| Error::io(path, e))?.len();
        let (stored, unpacked) = (member.compressed_size().min(size), member.size());
        array(&mut member.take(unpacked), at, stored)
    }
}

fn array(reader: &mut impl Read, at: PathBuf, stored: u64) -> Result<Array> {
    let header = npy::header(reader, &at)?;
    let width: Option<usize> = match header.kind.as_str() {
        "u1" | "i1" | "b1" => Some(1),
        "u2" | "i2" => Some(2),
        "u4" | "i4" => Some(4),
        "u8" | "i8" => Some(8),
        _ => None,
    };
    let Some(width) = width else {
        let expected = "whole numbers (u1 to i8); images as `(x * 255).astype(\"uint8\")` if they are from 0 to 1";
        return Err(Error::invalid(at, expected, header.kind));
    };
    let sizes = header.shape.iter().chain([&width]);
    let bytes = sizes.copied().try_fold(1usize, usize::checked_mul);
    let Some(bytes) = bytes else {
        let found = format!("one of {:?}", header.shape);
        return Err(Error::invalid(at, "an array that memory can hold", found));
    };
    let data = npy::data(reader, &at, bytes as u64, stored)?;
    Ok(Array {
        at,
        kind: header.kind,
        big_endian: header.big_endian,
        shape: header.shape,
        data,
    })
}

/// Shape `(C, H, W)`, pixels `(N, C, H, W)` and their number N, from `(N, H, W)`, `(N, H, W, C)` or `(N, C, H, W)` with 1 or 3 channels; channels are
/// last, as in Keras, where both could be.
fn planar(array: Array) -> Result<(Shape, Vec<u8>, usize)> {
    if array.kind != "u1" {
        let found = format!("one of {}", array.kind);
        return Err(Error::invalid(array.at, "images of bytes (u1)", found));
    }
    let (n, (c, h, w), channels_last) = match array.shape[..] {
        [n, h, w] => (n, (1, h, w), false),
        [n, h, w, c @ (1 | 3)] => (n, (c, h, w), true),
        [n, c @ (1 | 3), h, w] => (n, (c, h, w), false),
        _ => {
            return Err(Error::invalid(
                array.at,
                "images of shape (N, H, W), (N, H, W, C) or (N, C, H, W) with 1 or 3 channels",
                format!("one of {:?}", array.shape),
            ));
        }
    };
    let mut pixels = array.data;
    if channels_last && c == 3 {
        let mut planes = Vec::with_capacity(pixels.len());
        for image in pixels.chunks_exact((3 * h * w).max(1)) {
            for channel in 0..3 {
                planes.extend(image.iter().skip(channel).step_by(3));
            }
        }
        pixels = planes;
    }
    Ok(((c, h, w), pixels, n))
}

/// Labels of shape `(N)` or `(N, 1)`.
fn labels(array: Array) -> Result<Vec<u32>> {
    if !matches!(array.shape[..], [_] | [_, 1]) {
        return Err(Error::invalid(
            array.at,
            "labels of shape (N), one number for each image (`y.argmax(1)` of one-hot rows)",
            format!("an array of {:?}", array.shape),
        ));
    }
    let signed = array.kind.starts_with('i');
    let width = array.data.len() / array.shape[0].max(1);
    let value = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        if array.big_endian {
            bytes.reverse();
        }
        let negative = signed && bytes.last().is_some_and(|high| high & 0x80 != 0);
        bytes.resize(8, 0);
        let value = bytes
            .iter()
            .rev()
            .fold(0, |value, &byte| value << 8 | u64::from(byte));
        (!negative && value < CLASSES).then_some(value as u32)
    };
    let mut values = Vec::with_capacity(array.shape[0]);
    for (index, bytes) in array.data.chunks_exact(width.max(1)).enumerate() {
        let Some(value) = value(bytes) else {
            let found = format!("another at index {index}");
            return Err(Error::invalid(
                &array.at,
                format!("labels from 0 to {}", CLASSES - 1),
                found,
            ));
        };
        values.push(value);
    }
    Ok(values)
}
