//! The recipe `cifar10-speedrun` in Tallow and in PyTorch: accuracy and time of a seed.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use tallow_record::{Results, Statistic};
use tallow_regress::equivalence;

use super::files::{files, json_lines, read};
use super::format::Format;
use super::language::Language;
use super::page::Page;
use super::prose;
use super::tables::{Table, count_of_threads};

/// Name of the recipe.
const RECIPE: &str = "cifar10-speedrun";

/// The page is in English alone.
const ENGLISH: Language = Language::English;

/// Text of a cell without a figure.
const NONE: &str = "—";

/// A line of `xtask/pytorch/cifar10_speedrun.py`: a seed, or the time of steps.
#[derive(Debug, Deserialize)]
struct Line {
    arm: String,
    torch: String,
    /// Model of the processor, and PyTorch's instruction set.
    #[serde(default)]
    processor: String,
    threads: usize,
    epochs: usize,
    #[serde(default)]
    test_accuracy: Option<f64>,
    #[serde(default)]
    seconds: Option<f64>,
    #[serde(default)]
    step_seconds: Option<f64>,
}

/// Table of both sides: `results/cifar10-speedrun.json` beside `results/pytorch/cifar10-speedrun.jsonl`. Below it one for each further
/// machine: `results/speedrun/MACHINE.json` beside `MACHINE.jsonl` in the same folder.
pub fn speedrun(page: &Page<'_>) -> Result<String> {
    let dir = page.store.dir();
    let path = dir.join("results/pytorch/cifar10-speedrun.jsonl");
    let (Some(ours), true) = (page.store.get(RECIPE)?, path.is_file()) else {
        return Ok(page.language.not_run().to_string());
    };
    let mut tables = vec![beside(ours, &path)?];
    for file in files(dir, Path::new("results/speedrun"), "json")? {
        let path = dir.join(file);
        let ours = Results::read(&path)?;
        ensure!(
            ours.experiment == RECIPE,
            "{}: results of `{}`, expected those of `{RECIPE}`",
            path.display(),
            ours.experiment
        );
        tables.push(beside(&ours, &path.with_extension("jsonl"))?);
    }
    Ok(tables.join("\n"))
}

/// Our results and the file of PyTorch's on the same machine.
fn beside(ours: &Results, path: &Path) -> Result<String> {
    let lines: Vec<Line> = json_lines(path, &read(path)?)?;
    compare(ours, &lines).with_context(|| path.display().to_string())
}

fn compare(ours: &Results, lines: &[Line]) -> Result<String> {
    let [variant] = &ours.variants[..] else {
        anyhow::bail!(
            "{RECIPE} has {} variants, expected one",
            ours.variants.len()
        );
    };
    let figure = |name: &str| {
        let statistic = variant.metrics.get(name);
        statistic.with_context(|| format!("{RECIPE}: the results have no {name}"))
    };
    let (accuracy, seconds) = (figure("test_accuracy")?, figure("seconds")?);
    let epochs = variant.recipe.pointer("/train/epochs");
    let epochs = epochs.and_then(serde_json::Value::as_u64).unwrap_or(0) as usize;
    let threads = ours.environment.threads;
    for line in lines.iter().filter(|line| line.seconds.is_some()) {
        ensure!(
            (line.epochs, line.threads) == (epochs, threads),
            "{} epochs with {}, ours have {epochs} with {}",
            line.epochs,
            count_of_threads(line.threads, ENGLISH),
            count_of_threads(threads, ENGLISH)
        );
    }
    let of = |arm: &str, value: fn(&Line) -> Option<f64>| -> Option<Statistic> {
        let lines = lines.iter().filter(|line| line.arm == arm);
        Statistic::of(&lines.filter_map(value).collect::<Vec<f64>>())
    };
    let mut arms: Vec<&str> = Vec::new();
    for line in lines {
        if !arms.contains(&line.arm.as_str()) {
            arms.push(&line.arm);
        }
    }
    let minutes = |seconds: &Statistic| Format::Minutes.statistic(seconds, ENGLISH);
    let percent = |accuracy: &Statistic| Format::Percent.statistic(accuracy, ENGLISH);
    let headings = [
        "side",
        "seeds",
        "test accuracy",
        "Tallow minus it [90 % interval]",
        "time of a seed",
        "Tallow's time, of it",
        "time of a step",
    ];
    let mut table = Table::new(&headings.map(String::from), 1);
    table.row(&[
        "Tallow, f32".to_string(),
        accuracy.values.len().to_string(),
        percent(accuracy),
        NONE.to_string(),
        minutes(seconds),
        NONE.to_string(),
        NONE.to_string(),
    ]);
    for arm in arms {
        let (theirs, time) = (of(arm, |l| l.test_accuracy), of(arm, |l| l.seconds));
        let step = of(arm, |l| l.step_seconds);
        let difference = theirs.as_ref().map(|theirs| {
            let found = equivalence(&accuracy.values, &theirs.values, 0.0);
            let points = |value: f64| format!("{:+.2}", 100.0 * value);
            let interval = found.interval.map_or(String::new(), |[low, high]| {
                format!(" [{}, {}]", points(low), points(high))
            });
            format!("{}{interval}", points(found.difference))
        });
        let none = || NONE.to_string();
        table.row(&[
            format!("PyTorch, `{arm}`"),
            theirs.as_ref().map_or(0, |s| s.values.len()).to_string(),
            theirs.as_ref().map_or_else(none, percent),
            difference.unwrap_or_else(none),
            time.as_ref().map_or_else(none, minutes),
            time.as_ref().map_or_else(none, |time| {
                format!("{:.0} %", 100.0 * seconds.mean / time.mean)
            }),
            step.map_or_else(none, |step| format!("{:.1} s", step.mean)),
        ]);
    }
    let environment = &ours.environment;
    let torch = lines.first().map_or("", |line| line.torch.as_str());
    let mut processors = lines.iter().map(|line| line.processor.as_str());
    let processor = processors.rfind(|name| !name.is_empty());
    Ok(format!(
        "{}\nTallow {} at commit `{}`, PyTorch {torch}; {}, {}, {epochs} epochs.\n",
        table.finish(),
        environment.tallow,
        prose::commit(environment.commit.as_deref().unwrap_or("unknown")),
        processor.unwrap_or(&environment.cpu),
        count_of_threads(threads, ENGLISH)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = r#"{"arm": "fp32", "torch": "2.15.0", "threads": 2, "epochs": 8, "seed": 0, "test_accuracy": 0.9, "train_seconds": 190.0, "seconds": 200.0}
{"arm": "fp32", "torch": "2.15.0", "threads": 2, "epochs": 8, "seed": 1, "test_accuracy": 0.91, "train_seconds": 190.0, "seconds": 200.0}

{"arm": "bf16", "torch": "2.15.0", "processor": "Some processor, AVX512", "threads": 2, "epochs": 10, "step_seconds": 9.5, "steps": 4}
"#;

    /// Two seeds of 91 and 92 % in 100 and 110 seconds.
    fn ours() -> Results {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut ours = Results::read(root.join("../docs/results/mnist-99.json")).unwrap();
        let metrics = &mut ours.variants[0].metrics;
        for (name, values) in [("test_accuracy", [0.91, 0.92]), ("seconds", [100.0, 110.0])] {
            metrics.insert(name.to_string(), Statistic::of(&values).unwrap());
        }
        ours.environment.threads = 2;
        ours
    }

    #[test]
    fn both_sides_are_compared_by_seed_and_by_time() {
        let lines: Vec<Line> = json_lines(Path::new("lines.jsonl"), LINES).unwrap();
        let text = compare(&ours(), &lines).unwrap();
        let row = |name: &str| text.lines().find(|line| line.contains(name)).unwrap();
        assert!(
            row("Tallow, f32").contains("| 2 | 91.50 ± 0.71 % |"),
            "{text}"
        );
        // Welch's bounds of +1 point with two degrees of freedom: 1 +- 2.9200 * 0.7071.
        let fp32 = row("`fp32`");
        assert!(fp32.contains("| +1.00 [-1.06, +3.06] |"), "{text}");
        assert!(fp32.contains("| 52 % |"), "{text}");
        assert!(row("`bf16`").ends_with("| 9.5 s |"), "{text}");
        assert!(
            text.contains("; Some processor, AVX512, 2 threads"),
            "{text}"
        );
    }

    #[test]
    fn other_settings_and_broken_lines_are_refused() {
        let path = Path::new("lines.jsonl");
        let other = LINES.replace("\"epochs\": 8", "\"epochs\": 4");
        let error = compare(&ours(), &json_lines(path, &other).unwrap()).unwrap_err();
        assert!(error.to_string().contains("4 epochs"), "{error}");
        let broken = LINES.replace("\"arm\": \"bf16\",", "");
        let error = json_lines::<Line>(path, &broken).unwrap_err();
        assert_eq!(error.to_string(), "lines.jsonl: line 4");
    }
}
