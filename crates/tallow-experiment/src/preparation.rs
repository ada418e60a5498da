//! Transforms for weights that were trained elsewhere.
//!
//! A file of weights does not name them, and wrong ones cost accuracy without an error. So the choice is explicit, and every result
//! names its source.

use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};
use tallow_models::{Pretrained, ResizeFilter, checkpoints, shards};
use tallow_record::sha256_file;
use tallow_transforms::{Interpolation, Normalize, Resize, TransformConfig};
use toml::{Table, Value};

use crate::error::{Context, Error, Result};

/// Transforms of images and their source.
#[derive(Debug, PartialEq)]
pub struct Preparation {
    /// Transforms in order.
    pub transforms: Vec<TransformConfig>,
    /// Source in words.
    pub source: String,
}

/// Usual normalisation of a dataset: mean and standard deviation of its training images, per channel.
const USUAL: &[(&str, &[f32], &[f32])] = &[
    ("mnist", &[0.1307], &[0.3081]),
    ("fashion-mnist", &[0.2860], &[0.3530]),
    ("fashion-mnist-sample", &[0.2860], &[0.3530]),
    ("kmnist", &[0.1918], &[0.3483]),
    (
        "cifar10",
        &[0.4914, 0.4822, 0.4465],
        &[0.2470, 0.2435, 0.2616],
    ),
    (
        "cifar100",
        &[0.5071, 0.4865, 0.4409],
        &[0.2673, 0.2564, 0.2762],
    ),
];

/// Transforms for a file of weights: the first of the given mean and standard deviation; the transforms of the run record that the
/// weights are in; those of the published checkpoint with this digest; the usual ones of the dataset.
pub fn choose(
    given: Option<(&[f32], &[f32])>,
    weights: &Path,
    digest: &str,
    dataset: &str,
) -> Result<Preparation> {
    if let Some((mean, std)) = given {
        return Ok(normalised(mean, std, "given by --mean and --std".into()));
    }
    let config = weights.with_file_name("config.toml");
    if weights
        .file_name()
        .is_some_and(|name| name == "model.safetensors")
        && config.is_file()
    {
        return recorded(&config);
    }
    if let Some(known) = checkpoints().iter().find(|c| digest.starts_with(c.digest)) {
        let source = format!("of {}, which the file is by its SHA-256", known.file);
        return Ok(normalised(&known.mean, &known.std, source));
    }
    match USUAL.iter().find(|(name, ..)| *name == dataset) {
        Some((_, mean, std)) => Ok(normalised(mean, std, format!("usual for {dataset}"))),
        None => Err(Error::Data(format!(
            "no usual normalisation of `{dataset}` is known; give --mean and --std, or --set data.transforms=[...]"
        ))),
    }
}

/// Transforms of published weights in evaluation: the shorter side resized, the middle cut out, normalised.
pub(crate) fn of_pretrained(known: &Pretrained) -> Vec<TransformConfig> {
    let interpolation = match known.filter {
        ResizeFilter::Bilinear => Interpolation::Bilinear,
        ResizeFilter::Bicubic => Interpolation::Bicubic,
    };
    vec![
        Resize::new(known.resize)
            .with_interpolation(interpolation)
            .into(),
        TransformConfig::center_crop(known.crop),
        TransformConfig::to_tensor(),
        TransformConfig::normalize(known.mean, known.std),
    ]
}

fn normalised(mean: &[f32], std: &[f32], source: String) -> Preparation {
    let normalise = TransformConfig::normalize(mean, std);
    Preparation {
        transforms: vec![TransformConfig::to_tensor(), normalise],
        source,
    }
}

fn recorded(config: &Path) -> Result<Preparation> {
    let read = || -> Result<Vec<TransformConfig>> {
        let text = fs::read_to_string(config).map_err(Error::io("read", config))?;
        let broken = |error: toml::de::Error| Error::RunRecord(error.to_string());
        let mut table: Table = toml::from_str(&text).map_err(broken)?;
        let transforms = match table.remove("data") {
            Some(Value::Table(mut data)) => {
                (data.remove("test_transforms")).or_else(|| data.remove("transforms"))
            }
            _ => None,
        };
        let transforms =
            transforms.ok_or_else(|| Error::RunRecord("has no data.transforms".to_string()))?;
        transforms.try_into().map_err(broken)
    };
    Ok(Preparation {
        transforms: read().context(|| config.display().to_string())?,
        source: format!("of the run record {}", config.display()),
    })
}

/// SHA-256 of a file of weights, in hexadecimal; for an index of several files, that of all their digests in order, the index first.
pub fn digest(path: &Path) -> Result<String> {
    let first = sha256_file(path)?;
    let shards = shards(path);
    if shards.is_empty() {
        return Ok(first);
    }
    let mut hash = Sha256::new();
    hash.update(first);
    for shard in shards {
        hash.update(sha256_file(&shard)?);
    }
    let bytes = hash.finalize();
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Mean and standard deviation of a normalisation in words; empty if the transforms have none.
pub fn describe(transforms: &[TransformConfig]) -> String {
    let list = |values: &[f32]| {
        let values: Vec<String> = values.iter().map(f32::to_string).collect();
        values.join(", ")
    };
    transforms
        .iter()
        .find_map(|transform| match transform {
            TransformConfig::Normalize(Normalize { mean, std }) => {
                Some(format!("mean {} and std {}", list(mean), list(std)))
            }
            _ => None,
        })
        .unwrap_or_default()
}

/// Undoes the normalisation of images of shape `(C, H, W)`, stored one after the other.
pub fn undo(
    values: &[f32],
    (c, h, w): (usize, usize, usize),
    transforms: &[TransformConfig],
) -> Vec<f32> {
    let mut values = values.to_vec();
    for transform in transforms.iter().rev() {
        let TransformConfig::Normalize(Normalize { mean, std }) = transform else {
            continue;
        };
        for (number, plane) in values.chunks_mut((h * w).max(1)).enumerate() {
            // A single value is that of all channels.
            let of = |figures: &[f32]| figures.get(number % c.max(1)).or(figures.first()).copied();
            let (mean, std) = (of(mean).unwrap_or(0.0), of(std).unwrap_or(1.0));
            for value in plane {
                *value = *value * std + mean;
            }
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_undone_channel_by_channel() {
        let transforms = [
            TransformConfig::to_tensor(),
            TransformConfig::normalize([0.5], [0.25]),
            TransformConfig::normalize([0.0, 1.0, 2.0], [1.0, 2.0, 4.0]),
        ];
        let seen = [0.0, 1.0, -1.0, 0.0, 2.0, 0.5];
        let before = [0.5, 0.75, 0.25, 0.75, 3.0, 1.5];
        assert_eq!(undo(&seen, (3, 1, 2), &transforms), before);
        // The same for each of several images.
        let both = undo(&[seen, seen].concat(), (3, 1, 2), &transforms);
        assert_eq!(both, [before, before].concat());
        assert_eq!(
            undo(&seen, (1, 2, 3), &[TransformConfig::to_tensor()]),
            seen
        );
    }

    #[test]
    fn the_nearest_source_wins() {
        let dir = tempfile::tempdir().unwrap();
        let weights = dir.path().join("model.safetensors");
        let figures = |given, digest: &str, dataset: &str| {
            let preparation = choose(given, &weights, digest, dataset).unwrap();
            (describe(&preparation.transforms), preparation.source)
        };
        let known = "12fca82f0bebc4135bf1f32f6e3710e61d5108578464b84fd6d7f5c1b04036c8";
        let (text, source) = figures(None, "00", "cifar10");
        assert_eq!(
            text,
            "mean 0.4914, 0.4822, 0.4465 and std 0.247, 0.2435, 0.2616"
        );
        assert_eq!(source, "usual for cifar10");
        let (text, source) = figures(None, known, "cifar10");
        assert_eq!(text, "mean 0.485, 0.456, 0.406 and std 0.229, 0.224, 0.225");
        assert!(source.contains("resnet20-12fca82f.th"), "{source}");
        let record = "[data]\ndataset = \"x\"\ntransforms = [{ name = \"to-tensor\" }, { name = \"normalize\", mean = [0.5], std = [0.25] }]";
        fs::write(dir.path().join("config.toml"), record).unwrap();
        let (text, source) = figures(None, known, "cifar10");
        assert_eq!(text, "mean 0.5 and std 0.25");
        assert!(source.contains("config.toml"), "{source}");
        let given: (&[f32], &[f32]) = (&[0.1], &[0.2]);
        assert_eq!(
            figures(Some(given), known, "cifar10").0,
            "mean 0.1 and std 0.2"
        );

        fs::write(dir.path().join("config.toml"), "[data]").unwrap();
        let error = choose(None, &weights, known, "cifar10").unwrap_err();
        assert!(error.message().contains("no data.transforms"), "{error}");
        let other = Path::new("other.safetensors");
        assert!(choose(None, other, "00", "emnist-digits").is_err());
    }

    #[test]
    fn usual_figures_are_of_datasets_that_exist() {
        for (name, mean, std) in USUAL {
            let entry = tallow_datasets::entry(name).unwrap();
            assert_eq!((mean.len(), std.len()), (entry.shape.0, entry.shape.0));
        }
    }
}
