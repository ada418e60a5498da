//! Tables of findings: for a terminal, and in Markdown.

use std::fmt::Write;

use tallow_record::{Statistic, number};

use crate::compare::{Bits, Comparison, VariantComparison};
use crate::findings::Findings;
use crate::format::probability;
use crate::guard::{EPOCHS_TO_THRESHOLD, SPEED};
use crate::judge::{Judgement, MetricComparison, SUSPICIOUS};

/// Table of texts.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// Titles of the columns.
    pub header: Vec<&'static str>,
    /// Rows, each with a cell per column.
    pub rows: Vec<Vec<String>>,
    /// Columns of numbers, to be aligned on the right.
    pub numbers: Vec<usize>,
}

/// Lines of one comparison: a line per fault, or one line with the verdict.
pub fn summary(report: &Comparison) -> String {
    let mut text = String::new();
    for line in faults(report) {
        let _ = writeln!(text, "{}: {line}", report.verdict.as_str());
    }
    if text.is_empty() {
        let _ = writeln!(text, "{}", report.verdict.as_str());
    }
    text
}

/// Table with a row per variant; for results of other programs, with a row per metric.
pub fn overview(findings: &Findings) -> Table {
    match findings.tier {
        Some(_) => by_variant(findings),
        None => by_metric(findings),
    }
}

/// Lines below the table: faults, machine, weights, and the overall verdict.
pub fn notes(findings: &Findings) -> Vec<String> {
    let of = |report: &Comparison| {
        let name = report.experiment.clone();
        let line = move |line: String| format!("{name}: {line}");
        faults(report).into_iter().map(line).collect::<Vec<_>>()
    };
    let mut lines: Vec<String> = findings.experiments.iter().flat_map(of).collect();
    lines.extend(footer(findings));
    lines
}

/// Renders findings in Markdown, as for a comment on a pull request. Every metric is listed in a collapsed section.
pub fn markdown(findings: &Findings) -> String {
    let mut text = format!("### {}: {}\n\n", findings.title(), verdict(findings));
    for report in &findings.experiments {
        for line in faults(report) {
            let _ = writeln!(text, "- **{}**: {line}", report.experiment);
        }
    }
    text.push('\n');
    text.push_str(&by_variant_or_metric(findings));
    for line in footer(findings) {
        let _ = write!(text, "\n- {line}");
    }
    text + "\n"
}

fn by_variant_or_metric(findings: &Findings) -> String {
    match findings.tier {
        None => grid(&by_metric(findings)),
        Some(_) => format!(
            "{}\n<details><summary>Every metric</summary>\n\n{}\n</details>\n",
            grid(&by_variant(findings)),
            grid(&by_metric(findings))
        ),
    }
}

fn grid(table: &Table) -> String {
    let row = |cells: &[String]| {
        // A vertical bar would end the cell.
        let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let header: Vec<String> = table.header.iter().map(|cell| cell.to_string()).collect();
    let line = "| --- ".repeat(header.len());
    let rows: String = table.rows.iter().map(|cells| row(cells)).collect();
    format!("{}{line}|\n{rows}", row(&header))
}

/// Metric of a comparison in words, with its values and p-values.
pub fn explain(row: &MetricComparison) -> String {
    let said = |statistic: &Option<Statistic>, p: Option<f64>| {
        let figure = match statistic {
            Some(statistic) => over_seeds(&row.metric, statistic),
            None => "not finite".to_string(),
        };
        match p {
            Some(p) => format!("{figure} (p = {})", probability(p)),
            None => figure,
        }
    };
    let mut text = format!(
        "{}: {} in the baseline, now {}",
        &row.metric,
        over_seeds(&row.metric, &row.baseline),
        said(&row.now, row.p)
    );
    if row.again.is_some() || row.p_again.is_some() {
        let _ = write!(text, ", again {}", said(&row.again, row.p_again));
    }
    text
}

fn by_variant(findings: &Findings) -> Table {
    let rows = findings.experiments.iter().flat_map(|report| {
        let cells = |variant| row_of_variant(report, variant);
        match report.variants.is_empty() {
            true => vec![not_compared(report, 7)],
            false => report.variants.iter().map(cells).collect(),
        }
    });
    Table {
        header: vec![
            "experiment",
            "variant",
            "test accuracy",
            "now",
            "speed",
            "bits",
            "verdict",
        ],
        rows: rows.collect(),
        numbers: (2..6).collect(),
    }
}

/// Row of an experiment without variants: name and verdict.
fn not_compared(report: &Comparison, columns: usize) -> Vec<String> {
    let mut cells = vec![String::new(); columns];
    cells[0] = report.experiment.clone();
    cells[columns - 1] = report.verdict.as_str().to_string();
    cells
}

fn row_of_variant(report: &Comparison, variant: &VariantComparison) -> Vec<String> {
    let of = |metric: &str| variant.rows.iter().find(|row| row.metric == metric);
    let accuracy = of("test_accuracy");
    let now = accuracy.and_then(|row| row.again.as_ref().or(row.now.as_ref()));
    let speed = of(SPEED).and_then(|row| {
        let now = row.again.as_ref().or(row.now.as_ref())?;
        Some(format!("x {:.2}", now.mean / row.baseline.mean))
    });
    vec![
        report.experiment.clone(),
        variant.name.clone(),
        accuracy.map_or_else(String::new, |row| figure(&row.metric, &row.baseline)),
        now.map_or_else(String::new, |now| figure("test_accuracy", now)),
        speed.unwrap_or_default(),
        variant.bits.as_str().to_string(),
        worst(report, variant).as_str().to_string(),
    ]
}

fn by_metric(findings: &Findings) -> Table {
    let again = findings.tier.is_some();
    let mut header = vec!["experiment", "variant", "metric", "baseline", "now", "p"];
    if again {
        header.extend(["again", "p"]);
    }
    header.push("verdict");
    let columns = header.len();
    let mut rows = Vec::new();
    for report in &findings.experiments {
        if report.variants.is_empty() && !again {
            rows.push(not_compared(report, columns));
        }
        for variant in &report.variants {
            for row in &variant.rows {
                rows.push(row_of_metric(report, variant, row, again));
            }
        }
    }
    Table {
        header,
        rows,
        numbers: (3..columns - 1).collect(),
    }
}

fn row_of_metric(
    report: &Comparison,
    variant: &VariantComparison,
    row: &MetricComparison,
    again: bool,
) -> Vec<String> {
    let value = |statistic: &Option<Statistic>| match statistic {
        Some(statistic) => figure(&row.metric, statistic),
        None => "not finite".to_string(),
    };
    let mut cells = vec![
        report.experiment.clone(),
        variant.name.clone(),
        row.metric.clone(),
        figure(&row.metric, &row.baseline),
        value(&row.now),
        row.p.map_or("-".into(), probability),
    ];
    if again {
        cells.push(match (&row.again, row.p_again) {
            (None, None) => String::new(),
            (statistic, _) => value(statistic),
        });
        cells.push(row.p_again.map(probability).unwrap_or_default());
    }
    cells.push(row.verdict.as_str().to_string());
    cells
}

/// Worst verdict of a variant's metrics, and of the claims if the experiment has one variant.
fn worst(report: &Comparison, variant: &VariantComparison) -> Judgement {
    let worst = variant.worst().unwrap_or(Judgement::Skipped);
    match &report.variants[..] {
        [_] => worst.max(report.verdict),
        _ => worst,
    }
}

/// Faults of an experiment.
fn faults(report: &Comparison) -> Vec<String> {
    let mut faults: Vec<String> = report.reason.iter().cloned().collect();
    for claim in report.claims.iter().filter(|c| c.holds == Some(false)) {
        faults.push(format!(
            "the floor {} is missed: {}{}",
            claim.text,
            claim.figures,
            claim.intervals()
        ));
    }
    for variant in &report.variants {
        let name = &variant.name;
        let changes = variant.changes.iter().flatten();
        faults.extend(changes.map(|change| format!("{name}: the trace changed: {change}")));
        let rows = variant.rows.iter().filter(|row| row.verdict.fails());
        faults.extend(rows.map(|row| format!("{}.{}", variant.name, explain(row))));
    }
    faults
}

/// Lines at the end: machine, weights, level of the test, and the overall verdict.
fn footer(findings: &Findings) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    if let Some(machine) = &findings.machine {
        lines.push(format!("machine: {machine}"));
    }
    lines.extend(traces(findings));
    let (same, differ) = (findings.count(Bits::Same), findings.count(Bits::Differ));
    if same + differ > 0 {
        lines.push(format!(
            "weights: {same} variants end with the bits of the baseline, {differ} with others"
        ));
    }
    if let Some(level) = findings.level {
        let rows = (findings.experiments.iter())
            .flat_map(|report| &report.variants)
            .flat_map(|variant| &variant.rows);
        let suspicious = |row: &&MetricComparison| {
            row.verdict == Judgement::Pass && row.p.is_some_and(|p| p < SUSPICIOUS)
        };
        lines.push(format!(
            "a regression has p < {}, and most of its seeds are worse than all of the baseline's",
            probability(level)
        ));
        let count = rows.filter(suspicious).count();
        if count > 0 {
            lines.push(format!(
                "{count} metrics pass with p < {SUSPICIOUS}: compare more seeds to decide"
            ));
        }
    }
    lines.push(format!(
        "{} in {:.0} s",
        verdict(findings),
        findings.seconds
    ));
    lines
}

/// Line on the traces, if any was compared.
fn traces(findings: &Findings) -> Option<String> {
    let variants = || findings.experiments.iter().flat_map(|r| &r.variants);
    let of = |changed: bool| {
        let changes = variants().filter_map(|v| v.changes.as_ref());
        changes.filter(|c| c.is_empty() != changed).count()
    };
    let (same, changed) = (of(false), of(true));
    let without = variants().count() - same - changed;
    (same + changed > 0).then(|| {
        let mut text =
            format!("traces: {same} variants train as in the baseline, {changed} in another way");
        if without > 0 {
            let _ = write!(text, "; {without} have no trace in the baseline");
        }
        text
    })
}

fn verdict(findings: &Findings) -> String {
    let wrong = (findings.experiments.iter())
        .filter(|report| report.verdict.fails())
        .count();
    match (wrong, findings.experiments.len()) {
        (0, 1) => "the experiment is no worse than its baseline".to_string(),
        (0, n) => format!("all {n} experiments are no worse than their baselines"),
        (wrong, n) => format!("{wrong} of {n} experiments FAIL"),
    }
}

fn over_seeds(metric: &str, statistic: &Statistic) -> String {
    let seeds = match statistic.values.len() {
        1 => "1 seed".to_string(),
        n => format!("{n} seeds"),
    };
    format!("{} over {seeds}", figure(metric, statistic))
}

/// Accuracies and fractions in percent, counts as integers.
fn figure(metric: &str, statistic: &Statistic) -> String {
    let (scale, digits, unit) = match metric {
        "test_accuracy" | "best_test_accuracy" | SPEED => (100.0, 2, " %"),
        "parameters" | "multiply_adds" | "steps" => (1.0, 0, ""),
        "test_loss" | "train_loss" | EPOCHS_TO_THRESHOLD => (1.0, 4, ""),
        _ => {
            let std = statistic.std.map(|std| format!(" ± {}", number(std)));
            return number(statistic.mean) + &std.unwrap_or_default();
        }
    };
    let mean = scale * statistic.mean;
    match statistic.std {
        Some(std) if digits > 0 => format!("{mean:.digits$} ± {:.digits$}{unit}", scale * std),
        _ => format!("{mean:.digits$}{unit}"),
    }
}
