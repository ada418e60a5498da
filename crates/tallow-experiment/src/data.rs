//! Data of a recipe: both splits of its dataset, or subsets of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tallow_datasets::{
    Batch, DataLoader, Dataset, ImageFolder, LoadOptions, LoaderConfig, ProgressFn, Split, load,
    load_validation, sort_by_class, stratified_split, take_stratified,
};
use tallow_train::dataset_record;
use tallow_transforms::Compose;

use crate::error::{Context, Error, Result};
use crate::monitoring::Validation;
use crate::recipe;

/// Training and test split of a dataset, and validation data: the dataset's own, or what a recipe takes from the training data. Cloning is cheap.
#[derive(Clone)]
pub struct Splits {
    /// Training data.
    pub train: Arc<dyn Dataset>,
    /// Validation data.
    pub validation: Option<Arc<dyn Dataset>>,
    /// Test data.
    pub test: Arc<dyn Dataset>,
}

impl Splits {
    /// Loads both splits as [`load_split`] does, and the validation split if the dataset has one; `test` says which part of the training
    /// images is the test data of a dataset without a test split.
    ///
    /// # Errors
    /// Those of [`load_split`]; [`Error::Data`] when the dataset has a test split and `test` is given.
    pub fn load(name: &str, test: Option<&Validation>, options: &LoadOptions) -> Result<Self> {
        let train = load_split(name, Split::Train, options)?;
        let validation = load_validation(name, options).map_err(explain)?;
        let Some(part) = test else {
            return Ok(Self {
                test: test_split(name, options)?,
                train,
                validation,
            });
        };
        if load(name, Split::Test, options).is_ok() {
            return Err(Error::Data(format!(
                "data.test takes test images from the training images, but `{name}` has a test split: remove data.test"
            )));
        }
        let (train, test) = divide(&train, part, "data.test")?;
        Ok(Self {
            train,
            validation,
            test,
        })
    }

    /// Subsets that a recipe asks for. With `data.validation` the validation data is part of the training data, or of `data.train_samples` of it,
    /// in place of the dataset's own.
    pub fn select(&self, data: &recipe::Data) -> Result<Self> {
        let part = |set: &Arc<dyn Dataset>, samples: Option<usize>, key| -> Result<_> {
            let Some(samples) = samples else {
                return Ok(set.clone());
            };
            let part = take_stratified(set, samples, 0).context(|| format!("data.{key}"))?;
            Ok(Arc::new(part) as Arc<dyn Dataset>)
        };
        let mut train = part(&self.train, data.train_samples, "train_samples")?;
        let mut validation = self.validation.clone();
        if let Some(part) = &data.validation {
            let (kept, split) = divide(&train, part, "data.validation")?;
            (train, validation) = (kept, Some(split));
        }
        if data.sort_by_class {
            train = Arc::new(sort_by_class(&train)?);
        }
        let test = part(&self.test, data.test_samples, "test_samples")?;
        Ok(Self {
            train,
            validation,
            test,
        })
    }

    /// Sentence on a validation split of the dataset that a recipe does not use; `None` if there is none.
    pub(crate) fn unused_validation(&self, data: &recipe::Data) -> Option<String> {
        let (Some(own), Some(_)) = (&self.validation, &data.validation) else {
            return None;
        };
        Some(format!(
            "data.validation takes the validation images from the training data, and the {} images of the validation split of `{}` are not used; \
             leave data.validation out to validate on those",
            own.len(),
            own.info().name
        ))
    }

    /// Name, provenance and digests of both splits, without the names of the classes.
    pub fn description(&self) -> tallow_record::Dataset {
        tallow_record::Dataset {
            split: None,
            test_digest: Some(self.test.info().digest.clone()),
            classes: Vec::new(),
            ..dataset_record(self.train.info())
        }
    }
}

/// Divides training images into those that are kept and a stratified part.
pub(crate) fn divide(
    train: &Arc<dyn Dataset>,
    part: &Validation,
    key: &str,
) -> Result<(Arc<dyn Dataset>, Arc<dyn Dataset>)> {
    let images = part.images(train.len(), key)?;
    let parts = stratified_split(train, [train.len() - images, images], 0);
    let mut parts = parts.context(|| key.to_string())?.into_iter();
    match (parts.next(), parts.next()) {
        (Some(kept), Some(part)) => Ok((Arc::new(kept), Arc::new(part))),
        _ => Err(Error::Data(format!("{key}: there is no part to take"))),
    }
}

/// Refuses training data of a single class, in which there is nothing to tell apart.
pub(crate) fn check_classes(train: &dyn Dataset) -> Result<()> {
    let [only] = &train.info().classes[..] else {
        return Ok(());
    };
    Err(Error::Data(format!(
        "{}: expected pictures of two or more classes, found one class, `{only}`; each class has a folder of its own, and the dataset is the folder around them",
        train.info().name
    )))
}

/// Whether a name is that of a folder with folders of classes alone.
fn has_classes_alone(name: &str) -> bool {
    (name.strip_prefix("folder:")).is_some_and(|root| !ImageFolder::has_splits(root))
}

/// Whether a name is that of a dataset that has a training split alone: folders of classes, or one Parquet file.
fn has_training_alone(name: &str) -> bool {
    let file = name.strip_prefix("parquet:");
    has_classes_alone(name) || file.is_some_and(|file| !Path::new(file).is_dir())
}

/// Test split of a dataset; the error about a folder with folders of classes alone says what to do.
fn test_split(name: &str, options: &LoadOptions) -> Result<Arc<dyn Dataset>> {
    load_split(name, Split::Test, options).map_err(|error| match has_classes_alone(name) {
        true => Error::Data(format!(
            "{name}: its folders are classes, and there is no test split: set data.test = 0.2 to take a fifth of the pictures for it, or \
             make two folders, train and test, with a folder for each class"
        )),
        false => error,
    })
}

/// Options that look in `data_dir` first and download what is found nowhere.
pub fn options(data_dir: Option<PathBuf>, progress: Option<ProgressFn>) -> LoadOptions {
    LoadOptions {
        data_dir,
        progress,
        download: true,
        ..LoadOptions::default()
    }
}

/// Loads a split. Fails if it is empty or `options.data_dir` does not exist.
pub fn load_split(name: &str, split: Split, options: &LoadOptions) -> Result<Arc<dyn Dataset>> {
    if let Some(dir) = options.data_dir.as_ref().filter(|dir| !dir.is_dir()) {
        let dir = dir.display();
        return Err(Error::Data(format!("--data {dir}: no such directory")));
    }
    let set = load(name, split, options).map_err(explain)?;
    if set.is_empty() {
        return Err(Error::Data(format!(
            "the {split} split of `{name}` has no images"
        )));
    }
    Ok(set)
}

/// Test data of a recipe.
pub(crate) fn test_of(data: &recipe::Data, options: &LoadOptions) -> Result<Arc<dyn Dataset>> {
    let test = match &data.test {
        Some(part) => {
            let train = load_split(&data.dataset, Split::Train, options)?;
            divide(&train, part, "data.test")?.1
        }
        None => test_split(&data.dataset, options)?,
    };
    match data.test_samples {
        Some(samples) => {
            let part =
                take_stratified(&test, samples, 0).context(|| "data.test_samples".to_string())?;
            Ok(Arc::new(part))
        }
        None => Ok(test),
    }
}

/// Test split of a dataset, or all pictures of a folder with folders of classes alone, or of one Parquet file.
pub(crate) fn test_or_all(name: &str, options: &LoadOptions) -> Result<Arc<dyn Dataset>> {
    let split = match has_training_alone(name) {
        true => Split::Train,
        false => Split::Test,
    };
    load_split(name, split, options)
}

/// First batch of a loader's first epoch, with up to `samples` images; `None` if there are none.
pub(crate) fn first_batch(loader: &DataLoader, samples: usize) -> Result<Option<Batch>> {
    let config = LoaderConfig {
        batch_size: samples,
        num_workers: 0,
        drop_last: false,
        ..loader.config().clone()
    };
    let loader = DataLoader::new(loader.dataset().clone(), loader.transform().clone(), config)?;
    Ok(loader.epoch(0).next().transpose()?)
}

/// Shape `(C, H, W)` of the images: their common shape, or that of the first if they differ.
pub(crate) fn image_shape(set: &dyn Dataset) -> Result<(usize, usize, usize)> {
    if let Some(shape) = set.shape() {
        return Ok(shape);
    }
    let mut scratch = Vec::new();
    let image = set.image(0, &mut scratch)?;
    Ok((image.channels, image.height, image.width))
}

/// Shape `(C, H, W)` of a model's input: of the first image after the transforms, which bring all images to one shape.
pub fn input_shape(set: &dyn Dataset, transforms: &Compose) -> Result<(usize, usize, usize)> {
    Ok(transforms.output_shape(image_shape(set)?)?)
}

/// Adds to an error the nearest known name, or the command that downloads the data.
pub fn explain(error: tallow_datasets::Error) -> Error {
    match error {
        tallow_datasets::Error::UnknownDataset { name, known } => {
            Error::unknown("dataset", &name, &known)
        }
        tallow_datasets::Error::NotFound(mut not_found) if !not_found.remedies.is_empty() => {
            let command = format!(
                "or, where there is a network, run: tallow data get {}",
                not_found.name
            );
            not_found.remedies.push(command);
            tallow_datasets::Error::NotFound(not_found).into()
        }
        other => other.into(),
    }
}
