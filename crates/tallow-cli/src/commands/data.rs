//! `tallow data`: lists, downloads, checks and describes datasets.

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use tallow_datasets::{
    DigestCheck, Error, Inspection, LoadOptions, PackOptions, Split, Verification, catalog, entry,
    export, fetch, inspect, locate, pack, verify,
};
use tallow_experiment::data::explain;
use tallow_record::thousands;

use crate::args::{find_dataset, named, parse_bytes};
use crate::ending::Ending;
use crate::output;
use crate::progress::DownloadProgress;
use crate::table::{align_right, new_table};

/// Example at the end of the help text.
pub const EXAMPLES: &str = "Example: {tallow} data get mnist";

/// Subcommands of `data`.
#[derive(Subcommand, Debug)]
pub enum DataCommand {
    /// List the known datasets, and the place of each.
    #[command(after_help = "Example: {tallow} data list")]
    List(PlaceArgs),
    /// Download a dataset into the user's cache, unless it is there already.
    #[command(after_help = "Example: {tallow} data get mnist")]
    Get(DataArgs),
    /// Read a whole dataset, check it, and print its digests.
    ///
    /// Of pictures of your own every file is decoded, and those that cannot be are listed.
    #[command(after_help = "Examples:
  {tallow} data verify cifar10 --data ~/datasets
  {tallow} data verify pictures")]
    Verify(DataArgs),
    /// Describe a dataset: images, classes, provenance, digests.
    #[command(after_help = "Examples:
  {tallow} data info fashion-mnist-sample
  {tallow} data info pictures")]
    Info(DataArgs),
    /// Write a dataset as PNG files, in a folder for each split and in it one for each class.
    ///
    /// The folder is one of pictures as `{tallow} train` and torchvision's ImageFolder read it.
    #[command(after_help = "Example: {tallow} data export fashion-mnist-sample clothes")]
    Export(ExportArgs),
    /// Write a folder of pictures as Parquet files, as Hugging Face's datasets has them.
    ///
    /// The pictures are written as they are, with their labels and paths, and the names of the classes. Such files are read
    /// faster than many small ones, also where they are larger than memory. Rows are shuffled, the same way each time.
    #[command(after_help = "Examples:
  {tallow} data pack pictures packed
  {tallow} data pack pictures packed --shard-size 500MB
  {tallow} data pack pictures/train train.parquet")]
    Pack(PackArgs),
}

/// Pictures and the files to write.
#[derive(Args, Debug)]
pub struct PackArgs {
    /// Folder of pictures, with folders of classes or of splits or with lists; or folder:PATH, csv:PATH.
    pub dir: String,
    /// Folder to write, one that is empty or does not exist yet; or a file NAME.parquet for pictures without splits.
    pub out: PathBuf,
    /// Begin another file after so many bytes of pictures, such as 500MB; one file for each split by default.
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    pub shard_size: Option<u64>,
    /// Keep the order of the folder, one class after the other. A shuffle within a window then sees few classes at a time.
    #[arg(long)]
    pub in_order: bool,
}

/// A dataset and the folder to write it to.
#[derive(Args, Debug)]
pub struct ExportArgs {
    /// Name of the dataset (see `{tallow} data list`).
    pub name: String,
    /// Folder to write: an empty one, or one that does not exist yet.
    pub dir: PathBuf,
    /// Place of datasets.
    #[command(flatten)]
    pub place: PlaceArgs,
}

/// Place of datasets.
#[derive(Args, Debug)]
pub struct PlaceArgs {
    /// Look in this folder before the usual places.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

/// A dataset and its place.
#[derive(Args, Debug)]
pub struct DataArgs {
    /// Name of the dataset (see `{tallow} data list`), or a folder or file of pictures: PATH, or folder:PATH, csv:PATH, npz:PATH,
    /// parquet:PATH.
    pub name: String,
    /// Place of datasets.
    #[command(flatten)]
    pub place: PlaceArgs,
}

/// Runs a subcommand of `data`.
pub fn data(command: &DataCommand) -> Result<Ending> {
    match command {
        DataCommand::List(args) => list(args.data.clone()),
        DataCommand::Get(args) => get(args),
        DataCommand::Verify(args) => check(args),
        DataCommand::Info(args) => info(args),
        DataCommand::Export(args) => write(args),
        DataCommand::Pack(args) => write_parquet(args),
    }?;
    Ok(Ending::Done)
}

fn options(data_dir: Option<PathBuf>) -> LoadOptions {
    let progress = DownloadProgress::default();
    LoadOptions {
        data_dir,
        progress: Some(Arc::new(move |p| progress.show(&p))),
        ..LoadOptions::default()
    }
}

fn list(data_dir: Option<PathBuf>) -> Result<()> {
    let options = options(data_dir);
    let mut table = new_table(&[
        "name",
        "train",
        "test",
        "shape",
        "classes",
        "description",
        "place",
    ]);
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
        "{table}\nAlso folder:PATH, a folder of images with subfolders train and test; csv:PATH, one with the lists train.csv and test.csv; \
         npz:PATH, NumPy arrays; parquet:PATH, Parquet files as of the Hugging Face hub.\n"
    ))
}

fn get(args: &DataArgs) -> Result<()> {
    let fetched = fetch(&args.name, &options(args.place.data.clone())).map_err(|e| match e {
        // The command of the remedy has just failed.
        Error::NotFound(_) => tallow_experiment::Error::from(e),
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
    let name = find_dataset(&args.name)?;
    let found = inspect(&name, &options(args.place.data.clone())).map_err(explain)?;
    let mut text = format!("{}\n", found.name);
    if let Ok(entry) = entry(&args.name) {
        let _ = writeln!(
            text,
            "  {}\n  source   {}\n  licence  {}",
            entry.description, entry.source, entry.licence
        );
    }
    describe(&mut text, &found);
    output::print(&text)
}

fn describe(text: &mut String, found: &Inspection) {
    for split in &found.splits {
        let side = |(least, most): (usize, usize)| match least == most {
            true => least.to_string(),
            false => format!("{least}..{most}"),
        };
        let _ = writeln!(
            text,
            "\n{}: {} images of {}x{}x{}\n  {} ({})\n  sha256 {}",
            split.info.split,
            thousands(split.len as u64),
            split.channels,
            side(split.heights),
            side(split.widths),
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
    let name = find_dataset(&args.name)?;
    let found = verify(&name, &options(args.place.data.clone())).map_err(explain)?;
    output::print(&verdicts(&found))?;
    if !found.broken.is_empty() {
        bail!(
            "{}: {} pictures cannot be decoded (see above); get them again, or remove them",
            found.name,
            found.broken.len()
        );
    }
    if !found.is_sound() {
        bail!(
            "{}: differs from the published data (see above)",
            found.name
        );
    }
    Ok(())
}

fn verdicts(found: &Verification) -> String {
    let verdict = |verdict: &DigestCheck| match verdict {
        DigestCheck::Same { as_in } => format!("ok, as in {as_in}"),
        DigestCheck::Differs { from, expected } => format!("DIFFERS: {from} has {expected}"),
        DigestCheck::Unknown => "readable; no digest is known".to_string(),
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
        let broken = found.broken.iter();
        for broken in broken.filter(|broken| broken.split == split.info.split) {
            let _ = writeln!(text, "    BROKEN: {}", broken.message);
        }
    }
    text
}

fn write(args: &ExportArgs) -> Result<()> {
    let options = LoadOptions {
        download: true,
        ..options(args.place.data.clone())
    };
    let written = export(&args.name, &args.dir, &options).map_err(explain)?;
    output::print(&format!(
        "{}: {}, {} classes: {}\n",
        args.dir.display(),
        counts(&written.images),
        written.folders.len(),
        written.folders.join(", ")
    ))
}

/// Numbers of images of splits in words.
fn counts(images: &[(Split, usize)]) -> String {
    let images = images.iter();
    let images = images.map(|(split, n)| format!("{} images in {split}", thousands(*n as u64)));
    images.collect::<Vec<_>>().join(" and ")
}

fn write_parquet(args: &PackArgs) -> Result<()> {
    let options = PackOptions {
        shard_bytes: args.shard_size,
        in_order: args.in_order,
        ..PackOptions::default()
    };
    let written = pack(&named(&args.dir), &args.out, &options).map_err(explain)?;
    let mut text = format!(
        "{}: {}, {} classes: {}\n",
        args.out.display(),
        counts(&written.images),
        written.classes.len(),
        written.classes.join(", ")
    );
    for file in &written.files {
        let _ = writeln!(text, "  {}", file.display());
    }
    output::print(&text)
}
