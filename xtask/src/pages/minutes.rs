//! Accuracy of `tallow train NAME --minutes M` beside a script with torchvision's ResNet-18 that has the same time.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;
use tallow_record::{Results, Statistic};

use super::files::{files, json_lines, read};
use super::format::Format;
use super::language::Language;
use super::page::Page;
use super::prose;
use super::tables::{Table, count_of_threads};

/// A line of `xtask/pytorch/resnet18_minutes.py`: the training with one seed.
#[derive(Debug, Deserialize)]
struct Line {
    dataset: String,
    /// Side to which pictures were scaled, in pixels.
    size: Option<usize>,
    arm: String,
    torch: String,
    threads: usize,
    test_accuracy: f64,
    train_seconds: f64,
}

/// Side that was compared, on one dataset.
struct Side {
    name: String,
    accuracy: Statistic,
    seconds: Statistic,
}

/// Table of the results in `results/minutes` and of the file `results/pytorch/resnet18-minutes.jsonl`.
pub fn minutes(page: &Page<'_>) -> Result<String> {
    let dir = page.store.dir();
    let path = dir.join("results/pytorch/resnet18-minutes.jsonl");
    let ours = results(dir)?;
    if ours.is_empty() || !path.is_file() {
        return Ok(page.language.not_run().to_string());
    }
    let lines: Vec<Line> = json_lines(&path, &read(&path)?)?;
    compare(&ours, &lines, page.language).with_context(|| path.display().to_string())
}

/// Results in `results/minutes`, by name of the file.
fn results(dir: &Path) -> Result<Vec<Results>> {
    let found = files(dir, Path::new("results/minutes"), "json")?;
    found
        .iter()
        .map(|file| Ok(Results::read(dir.join(file))?))
        .collect()
}

fn compare(ours: &[Results], lines: &[Line], language: Language) -> Result<String> {
    let headings = language.pick(
        [
            "dataset",
            "program",
            "seeds",
            "test accuracy",
            "time of a seed",
        ],
        ["数据集", "程序", "种子数", "测试准确率", "每个种子的时间"],
    );
    let mut table = Table::new(&headings.map(String::from), 2);
    let threads = ours
        .first()
        .map_or(0, |results| results.environment.threads);
    for results in ours {
        let (dataset, side) = of_tallow(results)?;
        let theirs = of_pytorch(&dataset, lines);
        ensure!(!theirs.is_empty(), "no line of the dataset {dataset}");
        ensure!(
            results.environment.threads == threads
                && lines.iter().all(|line| line.threads == threads),
            "the numbers of threads differ"
        );
        for side in std::iter::once(side).chain(theirs) {
            table.row(&[
                format!("`{dataset}`"),
                side.name,
                side.accuracy.values.len().to_string(),
                Format::Percent.statistic(&side.accuracy, language),
                Format::Minutes.statistic(&side.seconds, language),
            ]);
        }
    }
    let Some(environment) = ours.first().map(|results| &results.environment) else {
        return Ok(language.not_run().to_string());
    };
    let torch = lines.first().map_or("", |line| line.torch.as_str());
    let commit = environment.commit.as_deref().map(|commit| {
        let commit = prose::commit(commit);
        language.pick(
            format!(" at commit `{commit}`"),
            format!("（提交 `{commit}`）"),
        )
    });
    let commit = commit.unwrap_or_default();
    let (tallow, cpu) = (&environment.tallow, &environment.cpu);
    let threads = count_of_threads(threads, language);
    Ok(format!(
        "{}\n{}\n",
        table.finish(),
        language.pick(
            format!("Tallow {tallow}{commit}, PyTorch {torch}; {cpu}, {threads}."),
            format!("Tallow {tallow}{commit}，PyTorch {torch}；{cpu}，{threads}。"),
        )
    ))
}

/// Dataset of the results of a recipe that `tallow train` made, and its figures.
fn of_tallow(results: &Results) -> Result<(String, Side)> {
    let name = &results.experiment;
    let [variant] = &results.variants[..] else {
        anyhow::bail!("{name}: {} variants, expected one", results.variants.len());
    };
    let text = |pointer: &str| {
        let value = variant.recipe.pointer(pointer).and_then(Value::as_str);
        value.with_context(|| format!("{name}: the recipe has no {pointer}"))
    };
    let figure = |metric: &str| {
        let statistic = variant.metrics.get(metric).cloned();
        statistic.with_context(|| format!("{name}: the results have no {metric}"))
    };
    let side = Side {
        name: format!("`tallow train`: `{}`", text("/model/name")?),
        accuracy: figure("test_accuracy")?,
        seconds: figure("seconds")?,
    };
    Ok((text("/data/dataset")?.to_string(), side))
}

/// Figures of the lines of a dataset, those of one size and arm together.
fn of_pytorch(dataset: &str, lines: &[Line]) -> Vec<Side> {
    let of_dataset = || lines.iter().filter(|line| line.dataset == dataset);
    let mut kinds: Vec<(Option<usize>, &str)> = Vec::new();
    for line in of_dataset() {
        let kind = (line.size, line.arm.as_str());
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    let side = |(size, arm): (Option<usize>, &str)| {
        let lines = of_dataset().filter(|line| (line.size, line.arm.as_str()) == (size, arm));
        let (accuracy, seconds): (Vec<f64>, Vec<f64>) = lines
            .map(|line| (line.test_accuracy, line.train_seconds))
            .unzip();
        let scaled = size.map_or(String::new(), |size| format!(", {size}x{size}"));
        Some(Side {
            name: format!("torchvision `resnet18`, `{arm}`{scaled}"),
            accuracy: Statistic::of(&accuracy)?,
            seconds: Statistic::of(&seconds)?,
        })
    };
    kinds.into_iter().filter_map(side).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = r#"{"dataset": "mnist", "size": null, "arm": "fp32", "torch": "2.15.0", "threads": 2, "seed": 0, "test_accuracy": 0.99, "train_seconds": 300.0}
{"dataset": "mnist", "size": 64, "arm": "fp32", "torch": "2.15.0", "threads": 2, "seed": 0, "test_accuracy": 0.98, "train_seconds": 300.0}
{"dataset": "mnist", "size": null, "arm": "fp32", "torch": "2.15.0", "threads": 2, "seed": 1, "test_accuracy": 0.97, "train_seconds": 300.0}
"#;

    fn ours() -> Results {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut ours = Results::read(root.join("../docs/results/mnist-99.json")).unwrap();
        let metrics = &mut ours.variants[0].metrics;
        for (name, values) in [("test_accuracy", [0.995]), ("seconds", [299.0])] {
            metrics.insert(name.to_string(), Statistic::of(&values).unwrap());
        }
        ours.environment.threads = 2;
        ours
    }

    #[test]
    fn sides_are_rows_by_size() {
        let lines: Vec<Line> = json_lines(Path::new("lines.jsonl"), LINES).unwrap();
        let text = compare(&[ours()], &lines, Language::English).unwrap();
        let row = |name: &str| text.lines().find(|line| line.contains(name)).unwrap();
        assert!(row("`tallow train`").contains("| 1 | 99.50 %"), "{text}");
        assert!(row("`fp32` |").contains("| 2 | 98.00 ± 1.41 %"), "{text}");
        assert!(row("64x64").contains("| 1 | 98.00 %"), "{text}");
    }

    #[test]
    fn other_datasets_and_threads_are_refused() {
        let compare = |text: &str| {
            let lines: Vec<Line> = json_lines(Path::new("lines.jsonl"), text).unwrap();
            let error = compare(&[ours()], &lines, Language::English).unwrap_err();
            error.to_string()
        };
        let error = compare(&LINES.replace("mnist", "cifar10"));
        assert_eq!(error, "no line of the dataset mnist");
        let error = compare(&LINES.replace("\"threads\": 2", "\"threads\": 4"));
        assert_eq!(error, "the numbers of threads differ");
    }
}
