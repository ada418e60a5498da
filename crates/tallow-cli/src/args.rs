//! Arguments that several commands share, and the parsing of their values.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use tallow_datasets::{catalog, entry, is_parquet, own_path};
use tallow_experiment::report::shell_quoted;
use tallow_experiment::suggest::nearest;
use tallow_models::LoadWeights;
use tallow_record::Tier;

/// Options of loading weights from `--weights-key` and `--allow-non-finite`.
pub fn load_options(key: Option<&str>, allow_non_finite: bool) -> LoadWeights {
    LoadWeights {
        key: key.map(String::from),
        allow_non_finite,
        ..LoadWeights::default()
    }
}

/// Place of a training.
#[derive(Args, Debug, Clone)]
pub struct PlaceArgs {
    /// Device to compute on: cpu, cuda, cuda:N or metal.
    #[arg(long, value_name = "D", default_value = "cpu")]
    pub device: String,
    /// Look for the data in this folder before the usual places.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Write run records under this folder.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub out: PathBuf,
    /// Threads to compute with; all cores by default. Results are the same to the bit for the same number of threads.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
}

/// Place and manner of training.
#[derive(Args, Debug, Clone)]
pub struct RunnerArgs {
    /// Place of the training.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Threads that load batches; 0 loads them in the training thread. Results do not depend on it.
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,
    /// Fill the terminal with progress bars, curves and results; q stops after the current batch or test. Where standard output or
    /// standard error is no terminal, or CI is set, one line is printed for each epoch instead.
    #[arg(long)]
    pub tui: bool,
    /// Write events as JSON lines to this file while the program runs; - is standard output.
    #[arg(long, value_name = "FILE")]
    pub events: Option<PathBuf>,
    /// Batches from one event of a batch to the next.
    #[arg(long, value_name = "N", default_value_t = 100, requires = "events", value_parser = clap::value_parser!(u32).range(1..))]
    pub events_every: u32,
}

impl RunnerArgs {
    /// `sets` with the setting of `--workers`.
    pub fn sets(&self, sets: &[String]) -> Vec<String> {
        let workers = self.workers.map(|n| format!("train.workers={n}"));
        sets.iter().cloned().chain(workers).collect()
    }

    /// Whether standard output is for events.
    pub fn events_on_stdout(&self) -> bool {
        self.events.as_deref() == Some(Path::new("-"))
    }

    /// The `--device` of a command that repeats the run; empty for the default device.
    pub fn on_device(&self) -> String {
        match self.place.device.as_str() {
            "cpu" => String::new(),
            device => format!(" --device {}", shell_quoted(device)),
        }
    }
}

/// Dataset that an argument names: one of the catalogue, a folder, or a file.
pub fn named(argument: &str) -> String {
    if own_path(argument).is_some() || entry(argument).is_ok() {
        return argument.to_string();
    }
    let path = Path::new(argument);
    if path.extension().is_some_and(|extension| extension == "npz") {
        return format!("npz:{argument}");
    }
    // An unknown name is looked up as such, so that the nearest known one is suggested.
    if !path.exists() && !argument.contains(['/', '\\', '.']) {
        return argument.to_string();
    }
    let lists = ["train.csv", "train.jsonl"];
    let lists = lists.iter().any(|list| path.join(list).is_file());
    match lists {
        true => format!("csv:{argument}"),
        false if is_parquet(path) => format!("parquet:{argument}"),
        false => format!("folder:{argument}"),
    }
}

/// [`named`], where there is a dataset, a folder or a file of this name.
///
/// # Errors
/// For a name of none of these, with the nearest one.
pub fn find_dataset(argument: &str) -> Result<String> {
    let name = named(argument);
    if own_path(&name).is_some() || entry(&name).is_ok() {
        return Ok(name);
    }
    let known: Vec<&str> = catalog().iter().map(|entry| entry.name).collect();
    let folders = folders(Path::new("."));
    let near = nearest(
        argument,
        folders.iter().map(String::as_str).chain(known.clone()),
    );
    let near = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
    let current = std::env::current_dir()?;
    bail!(
        "unknown dataset `{argument}`: there is no folder or file of this name in {}, and no dataset of the catalogue{near}\nknown: {}",
        current.display(),
        known.join(", ")
    )
}

/// Names of the folders in a folder, without hidden ones.
fn folders(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.path().is_dir());
    let names = folders.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| !name.starts_with('.')).collect()
}

/// Refuses a folder of run records that is a file.
pub fn check_out(out: &Path) -> Result<()> {
    if out.exists() && !out.is_dir() {
        bail!(
            "--out {}: is a file; expected a folder for run records, which need not exist yet",
            out.display()
        );
    }
    Ok(())
}

/// Parser of `--tier`.
pub fn tier_parser() -> impl TypedValueParser<Value = Tier> {
    PossibleValuesParser::new(Tier::ALL.map(Tier::as_str)).try_map(|name| name.parse::<Tier>())
}

/// Numbers for each channel of an image.
#[derive(Debug, Clone, PartialEq)]
pub struct Channels(pub Vec<f32>);

/// Seeds of a run, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seeds(pub Vec<u64>);

/// Parses `0..3`, `0..=2`, `0,1,2` or a single seed.
pub fn parse_seeds(text: &str) -> Result<Seeds, String> {
    let number = |s: &str| {
        s.trim()
            .parse::<u64>()
            .map_err(|_| format!("`{s}` is not a seed; write 0..3, or 0,2,5"))
    };
    let seeds: Vec<u64> = if let Some((from, to)) = text.split_once("..") {
        let from = number(from)?;
        let to = match to.strip_prefix('=') {
            Some(last) => number(last)?.saturating_add(1),
            None => number(to)?,
        };
        if to.saturating_sub(from) > 10_000 {
            return Err(format!("`{text}` is more than 10,000 seeds"));
        }
        (from..to).collect()
    } else {
        text.split(',').map(number).collect::<Result<_, _>>()?
    };
    if seeds.is_empty() {
        return Err(format!(
            "`{text}` contains no seed; the end of a range is exclusive: 0..3 means 0, 1, 2"
        ));
    }
    let mut unique = seeds.clone();
    unique.sort_unstable();
    unique.dedup();
    if unique.len() != seeds.len() {
        return Err(format!("`{text}` contains a seed twice"));
    }
    Ok(Seeds(seeds))
}

/// Parses a number of bytes: `500MB`, `1.5 GB`, `64MiB`.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    let unit = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => Some(1.0),
        "kb" => Some(1e3),
        "mb" => Some(1e6),
        "gb" => Some(1e9),
        "kib" => Some(1024.0),
        "mib" => Some(1024.0 * 1024.0),
        "gib" => Some(1024.0 * 1024.0 * 1024.0),
        _ => None,
    };
    let number: Option<f64> = number.parse().ok();
    let bytes = number.zip(unit).map(|(number, unit)| number * unit);
    let bytes = bytes.filter(|bytes| bytes.is_finite() && *bytes >= 1.0);
    bytes.map(|bytes| bytes as u64).ok_or_else(|| {
        format!("`{text}` is no size: expected a number with a unit, such as 500MB, 1GB or 64MiB")
    })
}

/// Parses finite numbers with commas between them.
pub fn parse_channels(text: &str) -> Result<Channels, String> {
    let number = |s: &str| s.trim().parse().ok().filter(|n: &f32| n.is_finite());
    let numbers = text.split(',').map(number).collect::<Option<Vec<f32>>>();
    let error = || "expected a number for each channel, such as 0.485,0.456,0.406".to_string();
    numbers.map(Channels).ok_or_else(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds() {
        assert_eq!(parse_seeds("0..3").unwrap().0, [0, 1, 2]);
        assert_eq!(parse_seeds("2..=3").unwrap().0, [2, 3]);
        assert_eq!(parse_seeds("0,2,5").unwrap().0, [0, 2, 5]);
        assert_eq!(parse_seeds("7").unwrap().0, [7]);
        for bad in ["", "a", "3..1", "0..", "1,1", "0..99999999", "-1"] {
            assert!(parse_seeds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_argument_is_a_dataset_or_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        std::fs::create_dir(at("letters")).unwrap();
        std::fs::create_dir(at("list")).unwrap();
        std::fs::write(at("list/train.csv"), "").unwrap();
        std::fs::create_dir(at("birds")).unwrap();
        std::fs::write(at("birds/train-00000-of-00002.parquet"), "").unwrap();
        for (argument, expected) in [
            ("cifar10".to_string(), "cifar10".to_string()),
            ("cifra10".to_string(), "cifra10".to_string()),
            (at("letters"), format!("folder:{}", at("letters"))),
            (at("list"), format!("csv:{}", at("list"))),
            (at("x.npz"), format!("npz:{}", at("x.npz"))),
            (at("x.parquet"), format!("parquet:{}", at("x.parquet"))),
            (at("birds"), format!("parquet:{}", at("birds"))),
            ("folder:x".to_string(), "folder:x".to_string()),
            ("./none".to_string(), "folder:./none".to_string()),
        ] {
            assert_eq!(named(&argument), expected);
        }
    }

    #[test]
    fn what_is_neither_a_dataset_nor_a_folder_is_refused() {
        assert_eq!(find_dataset("mnist").unwrap(), "mnist");
        assert_eq!(find_dataset("folder:nowhere").unwrap(), "folder:nowhere");
        let message = find_dataset("mnits").unwrap_err().to_string();
        for words in ["no folder or file", "did you mean `mnist`?", "known: "] {
            assert!(message.contains(words), "{message}");
        }
        // The tests run in the folder of the crate, which has the folder `tests`.
        let message = find_dataset("tetss").unwrap_err().to_string();
        assert!(message.contains("did you mean `tests`?"), "{message}");
        let message = find_dataset("qqqq").unwrap_err().to_string();
        assert!(!message.contains("did you mean"), "{message}");
    }

    #[test]
    fn records_are_not_written_to_a_file() {
        let dir = tempfile::tempdir().unwrap();
        assert!(check_out(dir.path()).is_ok());
        assert!(check_out(&dir.path().join("new")).is_ok());
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let message = check_out(&file).unwrap_err().to_string();
        assert!(message.contains("is a file"), "{message}");
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("500MB", 500_000_000),
            ("1.5 GB", 1_500_000_000),
            ("64MiB", 64 << 20),
            ("2 kib", 2048),
            ("7", 7),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for bad in ["", "MB", "0", "0.1", "-5MB", "5 miles", "1..2MB", "nan"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn channels() {
        assert_eq!(parse_channels("0.5, 1,2").unwrap().0, [0.5, 1.0, 2.0]);
        for bad in ["", "1,", "a", "nan", "inf,1"] {
            assert!(parse_channels(bad).is_err(), "{bad}");
        }
    }
}
