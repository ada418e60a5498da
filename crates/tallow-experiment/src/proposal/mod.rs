//! Recipe for pictures that nothing else is known of: every setting is chosen from the data, with a reason.

mod augment;
mod choice;
mod network;
mod request;
mod survey;
mod text;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tallow_datasets::{Dataset, LoadOptions, Split, load, own_path};
use tallow_models::ResizeFilter;
use tallow_record::{thousands, write_atomic};
use tallow_train::experiment_folder;
use tallow_transforms::{Compose, TransformConfig};
use toml::Value;

use crate::data::{Splits, check_classes, divide, explain, input_shape, load_split};
use crate::error::{Context, Error, Result};
use crate::model::{ModelConfig, Registry};
use crate::monitoring::Validation;

pub use choice::Choice;
pub use request::{Augment, Request};
pub use survey::Survey;

/// Share of the training pictures that is the test data where there is none.
const TEST_SHARE: f64 = 0.2;

/// Share of the training pictures by which the best epoch is chosen.
const VALIDATION_SHARE: f64 = 0.1;

/// Number of validation pictures below which the best epoch is chosen by the loss.
const FEW: usize = 200;

/// Number of pictures of the largest class, relative to the smallest, above which classes are weighted.
const IMBALANCE: f64 = 5.0;

/// Recipe that was chosen for a dataset.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    /// Name of the experiment: that of the dataset, or of its folder.
    pub name: String,
    /// Question of the experiment.
    pub question: String,
    /// Description of the pictures in words.
    pub data: String,
    /// Name of the variant, which is that of the model.
    pub variant: String,
    /// Seed.
    pub seed: u64,
    /// The settings, in the order of the file.
    pub choices: Vec<Choice>,
}

impl Proposal {
    /// Chooses a recipe for a dataset.
    ///
    /// # Errors
    /// Those of the dataset; [`Error::Recipe`] and [`Error::Unknown`] for a model or weights that do not exist; [`Error::Set`] for
    /// an assignment that is none.
    pub fn new(request: &Request, registry: &Registry, options: &LoadOptions) -> Result<Self> {
        let dataset = &request.dataset;
        let mut choices = vec![Choice {
            key: "data.dataset".into(),
            value: quoted(dataset),
            reason: "the pictures".into(),
        }];
        let test = test_part(dataset, options)?;
        let splits = Splits::load(dataset, test.as_ref(), options)?;
        check_classes(&*splits.train)?;
        if test.is_some() {
            choices.push(Choice {
                key: "data.test".into(),
                value: TEST_SHARE.to_string(),
                reason: format!(
                    "there is no test folder: {} of the {} pictures, the same share of each class, are kept for the test",
                    thousands(splits.test.len() as u64),
                    thousands((splits.train.len() + splits.test.len()) as u64),
                ),
            });
        }
        let train = validation(request, &splits, &mut choices)?;
        let survey = Survey::of(&*train).map_err(|error| undecodable(dataset, error))?;
        // A broken test picture is an error now, and not after the training.
        Survey::of(&*splits.test).map_err(|error| undecodable(dataset, error))?;
        let validating = match splits.train.len() - train.len() {
            0 => splits.validation.as_ref().map_or(0, |own| own.len()),
            taken => taken,
        };

        let network = network::choose(request, &survey, registry)?;
        let transforms = transforms(&network, &survey, &*train, &mut choices)?;
        choices.push(Choice {
            key: "model.name".into(),
            value: quoted(&network.model),
            reason: network.reason.clone(),
        });
        if request.pretrained {
            choices.push(Choice {
                key: "model.pretrained".into(),
                value: quoted(&network.model),
                reason: "--pretrained: it begins with weights trained on ImageNet".into(),
            });
        }
        let input = input_shape(&*train, &Compose::new(transforms)?)?;
        let config = ModelConfig::new(survey.classes.len(), input);
        let shape = registry.skip_init(&network.model, &config)?;
        let work = shape.summary()?.multiply_adds;
        choices.extend(network::training(request, &network, &survey, work));
        if survey.imbalance().is_some_and(|ratio| ratio > IMBALANCE) {
            choices.push(Choice {
                key: "train.loss".into(),
                value: r#"{ name = "cross-entropy", class_weights = "balanced" }"#.into(),
                reason: format!(
                    "the largest class has {:.0} times the pictures of the smallest: errors weigh more in small classes",
                    survey.imbalance().unwrap_or(1.0)
                ),
            });
        }
        choices.push(augment::choose(request.augment, &network, &survey));
        choices.extend(best_epoch(validating));
        for set in &request.sets {
            text::assign(&mut choices, set)?;
        }
        let name = experiment_name(dataset);
        let classes = survey.classes.len();
        Ok(Self {
            question: format!(
                "How well does {} tell the {classes} classes of {name} apart?",
                network.model
            ),
            data: describe(&splits, &survey),
            name,
            variant: network.model,
            seed: request.seed,
            choices,
        })
    }

    /// Sets a key to a value in TOML, instead of the one that was chosen.
    pub fn set(&mut self, key: &str, value: impl ToString, reason: impl Into<String>) {
        let new = Choice {
            key: key.to_string(),
            value: value.to_string(),
            reason: reason.into(),
        };
        match self.choices.iter().position(|choice| choice.key == key) {
            Some(position) => self.choices[position] = new,
            None => self.choices.push(new),
        }
    }

    /// TOML of the experiment, each setting below its reason. `command` runs it, `path` is its file.
    pub fn to_toml(&self, command: &str, path: &Path) -> String {
        let head = format!(
            "Recipe for {}: {}.\nEvery key may be changed, and others added. To run it:\n  {command} {}",
            self.name,
            self.data,
            crate::report::shell_quoted(&path.display().to_string())
        );
        text::render(
            &head,
            &self.question,
            self.seed,
            &self.variant,
            &self.choices,
        )
    }

    /// Writes the experiment beside its runs, `<out>/<name>/<name>.toml`, and returns the path.
    ///
    /// A file with other contents is not replaced, since it may have been edited: the name gets a number then, so that one experiment
    /// has one recipe.
    pub fn write(&self, out: &Path, command: &str) -> Result<PathBuf> {
        let mut number = 1;
        loop {
            let name = match number {
                1 => self.name.clone(),
                number => format!("{}-{number}", self.name),
            };
            number += 1;
            let path = experiment_folder(out, &name).join(format!("{name}.toml"));
            let text = self.to_toml(command, &path);
            match fs::read_to_string(&path) {
                Ok(known) if known == text => return Ok(path),
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    write_atomic(&path, &text)?;
                    return Ok(path);
                }
                Err(error) => return Err(Error::io("read", &path)(error)),
            }
        }
    }
}

/// TOML of a text.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// Part of the training pictures that is the test data; `None` for a dataset with a test split.
fn test_part(dataset: &str, options: &LoadOptions) -> Result<Option<Validation>> {
    let Some(root) = own_path(dataset) else {
        return Ok(None);
    };
    // A fault of the training split is the one to tell.
    let train = load_split(dataset, Split::Train, options)?;
    match load(dataset, Split::Test, options) {
        Ok(_) => return Ok(None),
        Err(tallow_datasets::Error::Invalid { path, .. }) if path == root => {}
        Err(error) => return Err(explain(error)),
    }
    let part = Validation::Share(TEST_SHARE);
    if part.images(train.len(), "data.test").is_err() {
        return Err(Error::Data(format!(
            "{}: {} pictures are too few: without a test folder a fifth of them is kept for the test; add pictures, or folders `train` and `test`",
            train.info().name,
            train.len()
        )));
    }
    Ok(Some(part))
}

/// Error of a picture that cannot be decoded, with the command that finds all of them; other errors as they are.
fn undecodable(dataset: &str, error: Error) -> Error {
    use tallow_datasets::Error::{Picture, Row};
    match &error {
        Error::Dataset(cause) if matches!(**cause, Picture { .. } | Row { .. }) => {
            Error::Data(format!(
                "{error}; `tallow data verify {dataset}` lists all pictures that cannot be read"
            ))
        }
        _ => error,
    }
}

/// Choice of the weights at the end by so many validation pictures.
fn best_epoch(validating: usize) -> Vec<Choice> {
    let choice = |key: &str, value: &str, reason: String| Choice {
        key: key.into(),
        value: value.into(),
        reason,
    };
    let best = |metric: &str| {
        choice(
            "train.restore_best",
            "true",
            format!("the weights at the end are those of the epoch with the best {metric}"),
        )
    };
    match validating {
        0 => Vec::new(),
        1..FEW => vec![
            choice(
                "train.monitor",
                r#""validation_loss""#,
                format!(
                    "epochs are compared by the loss: by {validating} pictures many have the same accuracy"
                ),
            ),
            best("validation loss"),
        ],
        _ => vec![best("validation accuracy")],
    }
}

/// Takes validation pictures from the training pictures, unless there are others or too few. Returns those that are left.
fn validation(
    request: &Request,
    splits: &Splits,
    choices: &mut Vec<Choice>,
) -> Result<Arc<dyn Dataset>> {
    let train = &splits.train;
    if splits.validation.is_some() && request.validation.is_none() {
        return Ok(train.clone());
    }
    let classes = train.info().classes.len();
    let enough = VALIDATION_SHARE * train.len() as f64 >= classes as f64;
    let (part, given) = match &request.validation {
        Some(part) => (part.clone(), "--val: "),
        None if enough => (Validation::Share(VALIDATION_SHARE), ""),
        None => return Ok(train.clone()),
    };
    part.check("--val")?;
    let (kept, taken) = divide(train, &part, "data.validation")?;
    let value = match part {
        Validation::Share(share) => share.to_string(),
        Validation::Images(images) => images.to_string(),
    };
    choices.push(Choice {
        key: "data.validation".into(),
        value,
        reason: format!(
            "{given}the best epoch is chosen by {} of the training pictures, which are not trained on",
            thousands(taken.len() as u64)
        ),
    });
    Ok(kept)
}

/// Chooses `data.transforms`.
fn transforms(
    network: &network::Network,
    survey: &Survey,
    train: &dyn Dataset,
    choices: &mut Vec<Choice>,
) -> Result<Vec<TransformConfig>> {
    let mut texts = Vec::new();
    let mut reasons = Vec::new();
    if let Some(known) = network.pretrained {
        if survey.shape.is_some_and(|(c, ..)| c == 1) {
            texts.push(r#"{ name = "grayscale", num_output_channels = 3 }"#.to_string());
            reasons.push("three equal channels of the one".to_string());
        }
        let filter = match known.filter {
            ResizeFilter::Bilinear => "bilinear",
            ResizeFilter::Bicubic => "bicubic",
        };
        texts.extend([
            format!(
                r#"{{ name = "resize", size = {}, interpolation = "{filter}" }}"#,
                known.resize
            ),
            format!(r#"{{ name = "center-crop", size = {} }}"#, known.crop),
            r#"{ name = "to-tensor" }"#.to_string(),
            format!(
                r#"{{ name = "normalize", mean = {:?}, std = {:?} }}"#,
                known.mean, known.std
            ),
        ]);
        reasons.push(format!("prepared as for the weights of {}", known.name));
    } else {
        let size = network.size;
        if survey.shape.is_none_or(|(_, h, w)| (h, w) != (size, size)) {
            texts.push(format!(r#"{{ name = "resize", size = {size} }}"#));
            texts.push(format!(r#"{{ name = "center-crop", size = {size} }}"#));
            reasons.push(network.size_reason.clone());
        }
        if network.grey && survey.shape.is_none_or(|(c, ..)| c != 1) {
            texts.push(r#"{ name = "grayscale" }"#.to_string());
            reasons.push("no picture has colour, so one channel is enough".to_string());
        }
        texts.push(r#"{ name = "to-tensor" }"#.to_string());
        let before = parsed(&texts)?;
        let moments = survey::moments(train, &before)?;
        let list = |of: fn(&(f64, f64)) -> f64| {
            // A channel that is the same everywhere is left as it is.
            let rounded = |m| Some((1e4 * of(m)).round() / 1e4);
            let values = moments.iter().map(|m| rounded(m).unwrap_or(0.0));
            values.collect::<Vec<f64>>()
        };
        let (mean, mut std) = (list(|m| m.0), list(|m| m.1));
        std.iter_mut()
            .filter(|std| **std == 0.0)
            .for_each(|std| *std = 1.0);
        texts.push(format!(
            r#"{{ name = "normalize", mean = {}, std = {} }}"#,
            Value::try_from(mean)?,
            Value::try_from(std)?
        ));
        reasons.push(
            "normalised with the mean and standard deviation of the training pictures".to_string(),
        );
    }
    let transforms = parsed(&texts)?;
    choices.push(Choice {
        key: "data.transforms".into(),
        value: format!("[{}]", texts.join(", ")),
        reason: reasons.join("; "),
    });
    Ok(transforms)
}

fn parsed(texts: &[String]) -> Result<Vec<TransformConfig>> {
    let transforms = texts.iter().map(|text| {
        let value = text::parsed(text).map_err(|error| Error::Recipe(error.to_string()))?;
        let transform: TransformConfig = (value.try_into())
            .map_err(|error: toml::de::Error| Error::Recipe(error.to_string()))
            .context(|| text.clone())?;
        Ok(transform)
    });
    transforms.collect()
}

/// Description of the pictures in words.
fn describe(splits: &Splits, survey: &Survey) -> String {
    let number = |n: usize| thousands(n as u64);
    let size = match survey.shape {
        Some((_, h, w)) if h == w => format!("{h}x{w} pixels"),
        Some((_, h, w)) => format!("{w} pixels wide and {h} high"),
        None => format!(
            "different sizes, {} pixels at the median of the shorter sides",
            survey.side
        ),
    };
    let colour = match survey.colour {
        true => "in colour",
        false => "grey",
    };
    let least = survey.per_class.iter().min().copied().unwrap_or(0);
    let most = survey.per_class.iter().max().copied().unwrap_or(0);
    let each = match least == most {
        true => format!("{} training pictures each", number(most)),
        false => format!("{} to {} training pictures", number(least), number(most)),
    };
    let validation = splits.train.len() - survey.images;
    let validation = match validation {
        0 => String::new(),
        n => format!(", {} for validation", number(n)),
    };
    format!(
        "{} pictures to train with{validation}, {} for the test; {} classes of {each}; {colour}, {size}",
        number(survey.images),
        number(splits.test.len()),
        survey.classes.len(),
    )
}

/// Name of an experiment on a dataset: its own, or that of the file or folder.
fn experiment_name(dataset: &str) -> String {
    let name = match dataset.split_once(':') {
        None => dataset.to_string(),
        Some((kind, path)) => {
            let path = Path::new(path);
            // `.` and `..` have no name.
            let full = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
            let of = |path: &Path| match kind {
                "npz" => path.file_stem().map(|name| name.to_os_string()),
                "parquet" if path.extension().is_some_and(|end| end == "parquet") => {
                    path.file_stem().map(|name| name.to_os_string())
                }
                _ => path.file_name().map(|name| name.to_os_string()),
            };
            let name = of(path).or_else(|| of(&full)).unwrap_or_default();
            name.to_string_lossy().into_owned()
        }
    };
    let plain = |c: char| match c {
        c if c.is_alphanumeric() || c == '-' || c == '_' => c,
        _ => '-',
    };
    let name: String = name.chars().map(plain).collect();
    match name.trim_matches('-') {
        "" => "pictures".to_string(),
        name => name.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn experiments_are_named_after_their_data() {
        for (dataset, name) in [
            ("cifar10", "cifar10"),
            ("folder:letters", "letters"),
            ("folder:/data/My pictures/", "My-pictures"),
            ("npz:data/blood.npz", "blood"),
            ("parquet:data/birds.parquet", "birds"),
            ("parquet:birds.v2", "birds-v2"),
            ("folder:birds.v2", "birds-v2"),
            ("folder:/", "pictures"),
            ("folder:猫", "猫"),
        ] {
            assert_eq!(experiment_name(dataset), name, "{dataset}");
        }
    }

    #[test]
    fn a_recipe_that_was_edited_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let proposal = Proposal {
            name: "letters".into(),
            question: "Which?".into(),
            data: "two pictures".into(),
            variant: "cnn".into(),
            seed: 0,
            choices: Vec::new(),
        };
        let write = || proposal.write(dir.path(), "tallow run").unwrap();
        let first = write();
        assert_eq!(first, dir.path().join("letters/letters.toml"));
        assert_eq!(write(), first);
        fs::write(&first, "question = \"mine\"").unwrap();
        let second = write();
        assert_eq!(second, dir.path().join("letters-2/letters-2.toml"));
        assert_eq!(fs::read_to_string(&first).unwrap(), "question = \"mine\"");
        assert_eq!(write(), second);
    }
}
