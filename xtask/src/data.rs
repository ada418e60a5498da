//! Datasets: loading them for a run, and `cargo xtask data`.

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail, ensure};
use tallow_datasets::{
    Batch, DataLoader, Dataset, Error, Inspection, LoadOptions, LoaderConfig, Split, Verdict,
    Verification, catalog, entry, fetch, inspect, load, locate, sort_by_class, take_stratified,
    verify,
};
use tallow_transforms::Compose;

use crate::cli::{DataArgs, DataCommand};
use crate::progress::DownloadProgress;
use crate::table::{align_right, new_table, thousands};
use crate::{experiment, outcome, output, suggest};

/// Both splits of a dataset. Cloning is cheap.
#[derive(Clone)]
pub struct Splits {
    /// What is trained on.
    pub train: Arc<dyn Dataset>,
    /// What is tested on.
    pub test: Arc<dyn Dataset>,
}

impl Splits {
    /// Loads them, downloading the dataset if it is nowhere.
    pub fn load(name: &str, data_dir: Option<PathBuf>) -> Result<Self> {
        let splits = Self {
            train: load_split(name, Split::Train, data_dir.clone())?,
            test: load_split(name, Split::Test, data_dir)?,
        };
        say!(
            "{}: {} images to train on, {} to test",
            splits.train.info().provenance,
            thousands(splits.train.len() as u64),
            thousands(splits.test.len() as u64),
        );
        Ok(splits)
    }

    /// The part of them that a recipe asks for.
    pub fn select(&self, data: &experiment::Data) -> Result<Self> {
        let part = |set: &Arc<dyn Dataset>, samples: Option<usize>, key| -> Result<_> {
            let Some(samples) = samples else {
                return Ok(set.clone());
            };
            let part = take_stratified(set, samples, 0).with_context(|| format!("data.{key}"))?;
            Ok(Arc::new(part) as Arc<dyn Dataset>)
        };
        let mut train = part(&self.train, data.train_samples, "train_samples")?;
        if data.sort_by_class {
            train = Arc::new(sort_by_class(&train)?);
        }
        let test = part(&self.test, data.test_samples, "test_samples")?;
        Ok(Self { train, test })
    }

    /// What a result says about its data.
    pub fn outcome(&self) -> outcome::Dataset {
        let info = self.train.info();
        outcome::Dataset {
            name: info.name.clone(),
            provenance: info.provenance.clone(),
            digest: info.digest.clone(),
            test_digest: self.test.info().digest.clone(),
        }
    }
}

/// Loads a split that is not empty, downloading the dataset if it is nowhere.
pub fn load_split(name: &str, split: Split, data_dir: Option<PathBuf>) -> Result<Arc<dyn Dataset>> {
    if let Some(dir) = data_dir.as_ref().filter(|dir| !dir.is_dir()) {
        bail!("--data {}: no such directory", dir.display());
    }
    let options = LoadOptions {
        download: true,
        ..options(data_dir)
    };
    let set = load(name, split, &options).map_err(explain)?;
    ensure!(
        !set.is_empty(),
        "the {split} split of `{name}` has no images"
    );
    Ok(set)
}

/// The first batch of a loader's first epoch, of up to so many samples; `None` when there are none.
pub fn first_batch(loader: &DataLoader, samples: usize) -> Result<Option<Batch>> {
    let config = LoaderConfig {
        batch_size: samples,
        num_workers: 0,
        drop_last: false,
        ..loader.config().clone()
    };
    let loader = DataLoader::new(loader.dataset().clone(), loader.transform().clone(), config)?;
    Ok(loader.epoch(0).next().transpose()?)
}

/// The shape `(C, H, W)` that a model gets to see of these images. Images of different shapes must come out alike,
/// so the first one tells.
pub fn output_shape(set: &dyn Dataset, transforms: &Compose) -> Result<(usize, usize, usize)> {
    let shape = match set.shape() {
        Some(shape) => shape,
        None => {
            let mut scratch = Vec::new();
            let image = set.image(0, &mut scratch)?;
            (image.channels, image.height, image.width)
        }
    };
    Ok(transforms.output_shape(shape)?)
}

/// `cargo xtask data`.
pub fn data(command: &DataCommand) -> Result<()> {
    match command {
        DataCommand::List(args) => list(args.data.clone()),
        DataCommand::Get(args) => get(args),
        DataCommand::Verify(args) => check(args),
        DataCommand::Info(args) => info(args),
    }
}

fn options(data_dir: Option<PathBuf>) -> LoadOptions {
    let progress = DownloadProgress::default();
    LoadOptions {
        data_dir,
        progress: Some(Arc::new(move |p| progress.show(&p))),
        ..LoadOptions::default()
    }
}

/// An error with what this program can say beyond the library: the nearest name, the command that gets the data.
fn explain(error: Error) -> anyhow::Error {
    match error {
        Error::UnknownDataset { name, known } => {
            anyhow!(suggest::unknown("dataset", &name, &known))
        }
        Error::NotFound(mut not_found) if !not_found.remedies.is_empty() => {
            let command = format!(
                "or, where there is a network, run: cargo xtask data get {}",
                not_found.name
            );
            not_found.remedies.push(command);
            Error::NotFound(not_found).into()
        }
        other => other.into(),
    }
}

fn list(data_dir: Option<PathBuf>) -> Result<()> {
    let options = options(data_dir);
    let mut table = new_table(&["name", "train", "test", "shape", "classes", "what", "where"]);
    for entry in catalog() {
        let (c, h, w) = entry.shape;
        let place = match locate(entry.name, &options) {
            Ok(dir) if dir.as_os_str().is_empty() => "built in".to_string(),
            Ok(dir) => dir.display().to_string(),
            Err(Error::NotFound(_)) => "—".to_string(),
            Err(error) => error.to_string(),
        };
        table.add_row([
            entry.name.to_string(),
            thousands(entry.train_len as u64),
            thousands(entry.test_len as u64),
            format!("{c}x{h}x{w}"),
            entry.classes.len().to_string(),
            entry.description.to_string(),
            place,
        ]);
    }
    for column in [1, 2, 4] {
        align_right(&mut table, column);
    }
    output::print(&format!(
        "{table}\nAlso folder:PATH, a folder of images with subfolders train and test.\n"
    ))
}

fn get(args: &DataArgs) -> Result<()> {
    let fetched = fetch(&args.name, &options(args.place.data.clone())).map_err(|e| match e {
        // The command that this error would name has just failed.
        Error::NotFound(_) => e.into(),
        other => explain(other),
    })?;
    let name = &args.name;
    output::print(&match (fetched.downloaded, fetched.dir.display()) {
        (true, dir) => format!("{name}: downloaded to {dir}\n"),
        (false, _) if fetched.dir.as_os_str().is_empty() => format!("{name}: built in\n"),
        (false, dir) => format!("{name}: already in {dir}\n"),
    })
}

fn info(args: &DataArgs) -> Result<()> {
    let entry = entry(&args.name).map_err(explain)?;
    let found = inspect(&args.name, &options(args.place.data.clone())).map_err(explain)?;
    let mut text = format!(
        "{}\n  {}\n  source   {}\n  licence  {}\n",
        entry.name, entry.description, entry.source, entry.licence
    );
    describe(&mut text, &found);
    output::print(&text)
}

fn describe(text: &mut String, found: &Inspection) {
    for split in &found.splits {
        let (c, h, w) = split.shape;
        let _ = writeln!(
            text,
            "\n{}: {} images of {c}x{h}x{w}\n  {} ({})\n  sha256 {}",
            split.info.split,
            thousands(split.len as u64),
            split.info.provenance,
            split.place,
            split.info.digest
        );
        for (path, bytes) in &split.files {
            let _ = writeln!(text, "  {} ({} bytes)", path.display(), thousands(*bytes));
        }
        let _ = writeln!(text, "  images of each class:");
        for (class, count) in split.info.classes.iter().zip(&split.per_class) {
            let _ = writeln!(text, "    {:>7}  {class}", thousands(*count as u64));
        }
    }
}

fn check(args: &DataArgs) -> Result<()> {
    let found = verify(&args.name, &options(args.place.data.clone())).map_err(explain)?;
    output::print(&verdicts(&found))?;
    if !found.is_sound() {
        bail!("{}: not what it should be (see above)", found.name);
    }
    Ok(())
}

fn verdicts(found: &Verification) -> String {
    let verdict = |verdict: &Verdict| match verdict {
        Verdict::Same { as_in } => format!("ok, as in {as_in}"),
        Verdict::Differs { from, expected } => format!("DIFFERS: {from} has {expected}"),
        Verdict::Unknown => "readable; nothing to compare it with".to_string(),
    };
    let mut text = format!("{}\n", found.name);
    for file in &found.files {
        let _ = writeln!(
            text,
            "  {}\n    sha256 {}\n    {}",
            file.path.display(),
            file.sha256,
            verdict(&file.verdict)
        );
    }
    for split in &found.splits {
        let _ = writeln!(
            text,
            "  {}: {} images, {}\n    sha256 of the decoded images and labels {}\n    {}",
            split.info.split,
            thousands(split.len as u64),
            split.info.provenance,
            split.info.digest,
            verdict(&split.verdict)
        );
    }
    text
}
