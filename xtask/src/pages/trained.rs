//! Table of the recipes that are no experiments of the course: their accuracy and what it costs.

use anyhow::Result;
use tallow_record::{Metric, Results, Variant, thousands};

use super::format::Format;
use super::page::Page;
use super::tables::Table;

/// The recipes, in the order of their data and of their cost.
const RECIPES: [&str; 5] = [
    "mnist-99",
    "fashion-mnist-best",
    "cifar10-speedrun",
    "cifar10-resnet20",
    "cifar10-resnet18",
];

/// One row for each recipe whose results are there; the others are named below the table.
pub fn recipes(page: &Page<'_>) -> Result<String> {
    let language = page.language;
    let headings = language.pick(
        [
            "recipe",
            "network",
            "data",
            "epochs",
            "parameters",
            "seeds",
            "test accuracy",
            "time of a seed",
            "CPU minutes of a seed",
            "processor",
        ],
        [
            "配方",
            "网络",
            "数据",
            "轮数",
            "参数量",
            "种子数",
            "测试准确率",
            "每个种子用时",
            "每个种子 CPU 分钟",
            "处理器",
        ],
    );
    let (mut rows, mut missing) = (Vec::new(), Vec::new());
    for name in RECIPES {
        match page.store.get(name)? {
            Some(results) => {
                let variants = results.variants.iter();
                rows.extend(variants.map(|variant| row(name, results, variant, page)));
            }
            None => missing.push(format!("`{name}`")),
        }
    }
    let mut text = String::new();
    if !rows.is_empty() {
        let mut table = Table::new(&headings.map(str::to_string), 3);
        for row in &rows {
            table.row(row);
        }
        text.push_str(&table.finish());
    }
    if !missing.is_empty() {
        text.push_str(&language.not_run_yet(&missing));
    }
    Ok(text)
}

fn row(name: &str, results: &Results, variant: &Variant, page: &Page<'_>) -> [String; 10] {
    let language = page.language;
    let file = format!("../crates/tallow-experiment/experiments/{name}.toml");
    let metric = |name: &str| Metric::find(name).and_then(|m| variant.metrics.get(m.name));
    let show = |name: &str, format: Format| {
        metric(name).map_or_else(|| "—".to_string(), |s| format.statistic(s, language))
    };
    let threads = results.environment.threads;
    let cpu = metric("seconds").map_or_else(
        || "—".to_string(),
        |seconds| format!("{:.1}", seconds.mean / 60.0 * threads as f64),
    );
    let epochs = variant.recipe.pointer("/train/epochs");
    [
        format!("[`{name}`]({})", page.link(&file)),
        format!("`{}`", variant.model),
        results.dataset.provenance.clone(),
        epochs.map_or_else(|| "—".to_string(), ToString::to_string),
        thousands(variant.parameters as u64),
        variant.seeds.len().to_string(),
        show("test_accuracy", Format::Percent),
        show("seconds", Format::Minutes),
        cpu,
        format!("{}, {threads}", results.environment.cpu),
    ]
}
