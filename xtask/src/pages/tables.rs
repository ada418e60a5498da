//! Blocks that are tables.

use anyhow::{Context, Result, ensure};
use tallow_record::{Metric, Results, RunResults, Variant, thousands};
use tallow_report::charts::Axis;

use super::format::Format;
use super::language::Language;
use super::store::find_metric;

/// Text of a cell without a figure.
const NONE: &str = "—";

/// Title of a metric.
pub fn title(metric: &Metric, language: Language) -> &'static str {
    language.pick(metric.title, metric.title_zh)
}

/// Axis of a metric.
pub fn axis(metric: &Metric) -> Axis {
    Axis {
        title: metric.title.to_string(),
        percent: metric.format == tallow_record::Format::Percent,
    }
}

/// A Markdown table; the columns from `numbers` on are aligned to the right.
pub struct Table {
    text: String,
}

impl Table {
    /// With these headings.
    pub fn new(headings: &[String], numbers: usize) -> Self {
        let mut table = Self {
            text: String::new(),
        };
        table.row(headings);
        let rules = (0..headings.len()).map(|column| if column < numbers { "---" } else { "---:" });
        let rules: Vec<String> = rules.map(str::to_string).collect();
        table.row(&rules);
        table
    }

    /// Adds a row.
    pub fn row(&mut self, cells: &[String]) {
        let cells: Vec<String> = cells
            .iter()
            .map(|cell| cell.replace('|', "\\|").replace('\n', " "))
            .collect();
        self.text.push_str(&format!("| {} |\n", cells.join(" | ")));
    }

    /// The Markdown.
    pub fn finish(self) -> String {
        self.text
    }
}

/// Our figures beside the published ones.
pub fn results(variants: &[&Variant], language: Language) -> Result<String> {
    let seeds: Vec<usize> = variants.iter().map(|variant| variant.seeds.len()).collect();
    let alike = seeds.windows(2).all(|pair| pair[0] == pair[1]);
    let accuracy = language.pick("test accuracy", "测试准确率");
    let heading = match (alike, seeds.first()) {
        (true, Some(&count)) => format!(
            "{accuracy}{}",
            in_brackets(&count_of_seeds(count, language), language)
        ),
        _ => accuracy.to_string(),
    };
    let words = [
        language.pick("variant", "变体").to_string(),
        language.pick("model", "模型").to_string(),
        language.pick("parameters", "参数量").to_string(),
        heading,
        language.pick("published", "公布的结果").to_string(),
        language.pick("time per run", "每次运行用时").to_string(),
    ];
    let mut table = Table::new(&words, 2);
    let mut sources: Vec<&str> = Vec::new();
    for variant in variants {
        let mut ours = cell(variant, Metric::find("test_accuracy"), language);
        if !alike {
            let count = count_of_seeds(variant.seeds.len(), language);
            ours.push_str(&in_brackets(&count, language));
        }
        let mut published = Vec::new();
        for known in &variant.published {
            let number = match sources.iter().position(|source| *source == known.source) {
                Some(at) => at + 1,
                None => {
                    sources.push(&known.source);
                    sources.len()
                }
            };
            let percent = Format::Percent.show(known.test_accuracy, language);
            published.push(format!("{percent} <sup>{number}</sup>"));
        }
        if published.is_empty() {
            published.push(NONE.to_string());
        }
        table.row(&[
            format!("`{}`", variant.name),
            format!("`{}`", variant.model),
            thousands(variant.parameters as u64),
            ours,
            language.list(&published),
            cell(variant, Metric::find("seconds"), language),
        ]);
    }
    let mut text = table.finish();
    if !sources.is_empty() {
        let notes = sources.iter().enumerate();
        let notes: Vec<String> = notes
            .map(|(at, source)| format!("<sup>{}</sup> {source}", at + 1))
            .collect();
        text.push_str(&format!("\n{}\n", language.clauses(&notes)));
    }
    Ok(text)
}

/// `3 seeds`.
pub fn count_of_seeds(count: usize, language: Language) -> String {
    match (language, count) {
        (Language::English, 1) => "1 seed".to_string(),
        (Language::English, count) => format!("{count} seeds"),
        (Language::Chinese, count) => format!("{count} 个种子"),
    }
}

/// `2 threads`.
pub fn count_of_threads(count: usize, language: Language) -> String {
    match (language, count) {
        (Language::English, 1) => "1 thread".to_string(),
        (Language::English, count) => format!("{count} threads"),
        (Language::Chinese, count) => format!("{count} 个线程"),
    }
}

fn in_brackets(text: &str, language: Language) -> String {
    match language {
        Language::English => format!(" ({text})"),
        Language::Chinese => format!("（{text}）"),
    }
}

/// A metric of a variant over its seeds, with the number of those that have it where some do not.
fn cell(variant: &Variant, metric: Option<&Metric>, language: Language) -> String {
    let Some((metric, statistic)) = metric.and_then(|m| Some((m, variant.metrics.get(m.name)?)))
    else {
        return NONE.to_string();
    };
    let mut text = Format::from(metric.format).statistic(statistic, language);
    let (have, all) = (statistic.values.len(), variant.seeds.len());
    if have < all {
        let note = match language {
            Language::English => format!("{have} of {all} seeds"),
            Language::Chinese => format!("{all} 个种子中的 {have} 个"),
        };
        text.push_str(&in_brackets(&note, language));
    }
    text
}

/// The metrics of some variants.
pub fn metrics(variants: &[&Variant], names: &[&str], language: Language) -> Result<String> {
    let metrics = names
        .iter()
        .map(|name| find_metric(name))
        .collect::<Result<Vec<_>>>()?;
    let headings = metrics
        .iter()
        .map(|metric| title(metric, language).to_string());
    let headings: Vec<String> = [language.pick("variant", "变体").to_string()]
        .into_iter()
        .chain(headings)
        .collect();
    let mut table = Table::new(&headings, 1);
    for variant in variants {
        let cells = metrics
            .iter()
            .map(|metric| cell(variant, Some(metric), language));
        let row: Vec<String> = [format!("`{}`", variant.name)]
            .into_iter()
            .chain(cells)
            .collect();
        table.row(&row);
    }
    Ok(table.finish())
}

/// Figures that belong to no variant.
pub fn facts(results: &Results, language: Language) -> Result<String> {
    ensure!(
        !results.facts.is_empty(),
        "{}: there are no facts",
        results.experiment
    );
    let headings = language
        .pick(["figure", "value"], ["名称", "数值"])
        .map(str::to_string);
    let mut table = Table::new(&headings, 1);
    for (name, value) in &results.facts {
        let format = if value.fract() == 0.0 {
            Format::Count
        } else {
            Format::Significant
        };
        table.row(&[format!("`{name}`"), format.show(*value, language)]);
    }
    Ok(table.finish())
}

/// Data that only the first run of a variant has.
pub fn first_run<'a, T>(
    variant: &'a Variant,
    what: &str,
    part: impl Fn(&'a RunResults) -> Option<&'a T>,
) -> Result<&'a T> {
    variant
        .runs
        .iter()
        .find_map(part)
        .with_context(|| format!("no run of `{}` has {what}", variant.name))
}

/// The name of a class.
pub fn class_name(results: &Results, class: usize) -> String {
    results
        .dataset
        .classes
        .get(class)
        .cloned()
        .unwrap_or_else(|| class.to_string())
}

/// Scores of each class.
pub fn per_class(results: &Results, variant: &Variant, language: Language) -> Result<String> {
    let scores = first_run(variant, "scores by class", |run| run.per_class.as_ref())?;
    let headings = language.pick(
        ["class", "precision", "recall", "F1", "test images"],
        ["类别", "精确率", "召回率", "F1", "测试图像数"],
    );
    let mut table = Table::new(&headings.map(str::to_string), 1);
    for score in scores {
        // A class without samples has no scores.
        let share = |value: Option<f64>| match value {
            Some(value) => Format::Percent.show(value, language),
            None => "—".to_string(),
        };
        table.row(&[
            class_name(results, score.class),
            share(score.precision),
            share(score.recall),
            share(score.f1),
            thousands(score.support),
        ]);
    }
    Ok(table.finish())
}

/// Predictions for some test images.
pub fn predictions(results: &Results, variant: &Variant, language: Language) -> Result<String> {
    let predictions = first_run(variant, "predictions", |run| run.predictions.as_ref())?;
    let guesses = predictions
        .iter()
        .map(|prediction| prediction.top.len())
        .max()
        .unwrap_or(0);
    let mut headings = language
        .pick(["test image", "it is"], ["测试图像", "实际类别"])
        .map(str::to_string)
        .to_vec();
    for guess in 1..=guesses {
        headings.push(match language {
            Language::English => format!("guess {guess}"),
            Language::Chinese => format!("第 {guess} 猜测"),
        });
    }
    let mut table = Table::new(&headings, headings.len());
    for prediction in predictions {
        let mut row = vec![
            prediction.index.to_string(),
            class_name(results, prediction.label),
        ];
        for guess in 0..guesses {
            row.push(
                prediction
                    .top
                    .get(guess)
                    .map_or(NONE.to_string(), |(class, probability)| {
                        let name = class_name(results, *class);
                        let percent = Format::Percent.show(*probability, language);
                        match *class == prediction.label {
                            true => format!("**{name}** {percent}"),
                            false => format!("{name} {percent}"),
                        }
                    }),
            );
        }
        table.row(&row);
    }
    Ok(table.finish())
}
