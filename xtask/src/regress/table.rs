//! What was found as tables: for the terminal, and in Markdown.

use std::fmt::Write;

use tallow_report::Statistic;

use super::Findings;
use super::compare::{Bits, Report, VariantReport};
use super::guard::SPEED;
use super::judge::{Row, Verdict};
use crate::table::{align_right, new_table};

/// A line for each thing that is wrong with an experiment, or one that says that nothing is.
pub fn summary(report: &Report) -> String {
    let mut text = String::new();
    for line in faults(report) {
        let _ = writeln!(text, "{}: {line}", report.verdict.as_str());
    }
    if text.is_empty() {
        let _ = writeln!(text, "{}", report.verdict.as_str());
    }
    text
}

/// A row a variant, then what is wrong.
pub fn terminal(findings: &Findings) -> String {
    let mut table = new_table(&HEADER);
    for report in &findings.experiments {
        for row in rows(report) {
            table.add_row(row);
        }
    }
    for column in 2..6 {
        align_right(&mut table, column);
    }
    let mut text = format!("{table}\n");
    for report in &findings.experiments {
        for line in faults(report) {
            let _ = writeln!(text, "{}: {line}", report.experiment);
        }
    }
    text + &footer(findings).join("\n") + "\n"
}

/// The same in Markdown, with every figure behind a fold.
pub fn markdown(findings: &Findings) -> String {
    let mut text = format!(
        "### Accuracy, {} tier: {}\n\n",
        findings.tier,
        verdict(findings)
    );
    for report in &findings.experiments {
        for line in faults(report) {
            let _ = writeln!(text, "- **{}**: {line}", report.experiment);
        }
    }
    let _ = write!(text, "\n{}", head(&HEADER));
    for report in &findings.experiments {
        for row in rows(report) {
            let _ = writeln!(text, "| {} |", row.map(|cell| escape(&cell)).join(" | "));
        }
    }
    text.push_str("\n<details><summary>Every figure</summary>\n\n");
    text.push_str(&head(&[
        "experiment",
        "variant",
        "figure",
        "baseline",
        "now",
        "p",
        "again",
        "p",
        "verdict",
    ]));
    for report in &findings.experiments {
        for variant in &report.variants {
            for row in &variant.rows {
                let again = match (&row.again, row.p_again) {
                    (Some(statistic), _) => figure(row.metric, statistic),
                    (None, Some(_)) => "not finite".to_string(),
                    (None, None) => String::new(),
                };
                let cells = [
                    report.experiment.clone(),
                    variant.name.clone(),
                    row.metric.to_string(),
                    figure(row.metric, &row.baseline),
                    row.now
                        .as_ref()
                        .map_or("not finite".into(), |s| figure(row.metric, s)),
                    row.p.map_or("-".into(), probability),
                    again,
                    row.p_again.map(probability).unwrap_or_default(),
                    row.verdict.as_str().to_string(),
                ];
                let _ = writeln!(text, "| {} |", cells.map(|cell| escape(&cell)).join(" | "));
            }
        }
    }
    text.push_str("\n</details>\n");
    for line in footer(findings) {
        let _ = write!(text, "\n- {line}");
    }
    text + "\n"
}

/// A figure and what it is compared with, in words.
pub fn explain(row: &Row) -> String {
    let said = |statistic: &Option<Statistic>, p: Option<f64>| {
        let figure = match statistic {
            Some(statistic) => over_seeds(row.metric, statistic),
            None => "not finite".to_string(),
        };
        match p {
            Some(p) => format!("{figure} (p = {})", probability(p)),
            None => figure,
        }
    };
    let mut text = format!(
        "{}: {} in the baseline, now {}",
        row.metric,
        over_seeds(row.metric, &row.baseline),
        said(&row.now, row.p)
    );
    if row.again.is_some() || row.p_again.is_some() {
        let _ = write!(text, ", again {}", said(&row.again, row.p_again));
    }
    text
}

const HEADER: [&str; 7] = [
    "experiment",
    "variant",
    "test accuracy",
    "now",
    "speed",
    "bits",
    "verdict",
];

/// The variants of an experiment, or the reason why there are none.
fn rows(report: &Report) -> Vec<[String; 7]> {
    let empty = String::new;
    if report.variants.is_empty() {
        let verdict = report.verdict.as_str().to_string();
        let name = report.experiment.clone();
        return vec![[name, empty(), empty(), empty(), empty(), empty(), verdict]];
    }
    let row = |variant: &VariantReport| {
        let of = |metric: &str| variant.rows.iter().find(|row| row.metric == metric);
        let accuracy = of("test_accuracy");
        let now = accuracy.and_then(|row| row.again.as_ref().or(row.now.as_ref()));
        let speed = of(SPEED).and_then(|row| {
            let now = row.again.as_ref().or(row.now.as_ref())?;
            Some(format!("x {:.2}", now.mean / row.baseline.mean))
        });
        [
            report.experiment.clone(),
            variant.name.clone(),
            accuracy.map_or_else(empty, |row| figure(row.metric, &row.baseline)),
            now.map_or_else(empty, |now| figure("test_accuracy", now)),
            speed.unwrap_or_default(),
            variant.bits.as_str().to_string(),
            worst(report, variant).as_str().to_string(),
        ]
    };
    report.variants.iter().map(row).collect()
}

/// The worst of a variant's figures, and of the floors of the experiment where it is the only one.
fn worst(report: &Report, variant: &VariantReport) -> Verdict {
    let verdicts = variant.rows.iter().map(|row| row.verdict);
    let worst = verdicts.max().unwrap_or(Verdict::Skipped);
    match &report.variants[..] {
        [_] => worst.max(report.verdict),
        _ => worst,
    }
}

/// All that is wrong with an experiment.
fn faults(report: &Report) -> Vec<String> {
    let mut faults: Vec<String> = report.reason.iter().cloned().collect();
    for claim in report.claims.iter().filter(|c| c.holds == Some(false)) {
        faults.push(format!(
            "the floor {} is missed: {}",
            claim.text, claim.figures
        ));
    }
    for variant in &report.variants {
        let rows = variant.rows.iter().filter(|row| row.verdict.fails());
        faults.extend(rows.map(|row| format!("{}.{}", variant.name, explain(row))));
    }
    faults
}

/// What comes below the table: the machine, how many weights are the same, and what it all comes to.
fn footer(findings: &Findings) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    if let Some(machine) = &findings.machine {
        lines.push(format!("machine: {machine}"));
    }
    let bits = |wanted| {
        let variants = findings.experiments.iter().flat_map(|r| &r.variants);
        variants.filter(|v| v.bits == wanted).count()
    };
    let (same, differ) = (bits(Bits::Same), bits(Bits::Differ));
    if same + differ > 0 {
        lines.push(format!(
            "weights: {same} variants end with the bits of the baseline, {differ} with others"
        ));
    }
    lines.push(format!(
        "{} in {:.0} s",
        verdict(findings),
        findings.seconds
    ));
    lines
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

/// Accuracies and shares in percent, counts whole.
fn figure(metric: &str, statistic: &Statistic) -> String {
    let (scale, digits, unit) = match metric {
        "test_accuracy" | "best_test_accuracy" | SPEED => (100.0, 2, " %"),
        "parameters" | "multiply_adds" | "steps" => (1.0, 0, ""),
        _ => (1.0, 4, ""),
    };
    let mean = scale * statistic.mean;
    match statistic.std {
        Some(std) if digits > 0 => format!("{mean:.digits$} ± {:.digits$}{unit}", scale * std),
        _ => format!("{mean:.digits$}{unit}"),
    }
}

fn probability(p: f64) -> String {
    if p < 1e-3 {
        format!("{p:.0e}")
    } else {
        format!("{p:.3}")
    }
}

fn head(cells: &[&str]) -> String {
    let line = "| --- ".repeat(cells.len());
    format!("| {} |\n{line}|\n", cells.join(" | "))
}

/// A vertical bar would end the cell.
fn escape(cell: &str) -> String {
    cell.replace('|', "\\|")
}
