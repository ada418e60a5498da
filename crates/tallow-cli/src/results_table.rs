//! The table of an experiment's results.

use std::fmt::Write;

use tallow_experiment::outcome::{Outcome, Variant};
use tallow_record::{Statistic, Verdict, percent, thousands};

use crate::table::{align_right, new_table};

/// The results of an experiment: a row for each variant, then each claim with its result.
pub fn render(outcome: &Outcome) -> String {
    let seeds = outcome
        .variants
        .first()
        .and_then(|v| v.metrics.get("test_accuracy"))
        .map_or(0, |s| s.values.len());
    let ours = match seeds {
        1 => "test accuracy".to_string(),
        n => format!("test accuracy, {n} seeds"),
    };
    let mut header = vec!["variant", "model", "parameters", ours.as_str()];
    if outcome.variants.iter().any(|v| !v.published.is_empty()) {
        header.push("published");
    }
    let mut table = new_table(&header);
    for variant in &outcome.variants {
        let cells = row(variant);
        table.add_row(&cells[..header.len()]);
    }
    for column in 2..header.len() {
        align_right(&mut table, column);
    }

    let mut text = format!(
        "{} on {}\n{table}\n",
        outcome.experiment, outcome.dataset.provenance
    );
    let mut sources: Vec<&str> = Vec::new();
    for published in outcome.variants.iter().flat_map(|v| &v.published) {
        if !sources.contains(&published.source.as_str()) {
            sources.push(&published.source);
        }
    }
    if !sources.is_empty() {
        let _ = writeln!(text, "published: {}", sources.join("; "));
    }
    if !outcome.claims.is_empty() {
        let width = outcome
            .claims
            .iter()
            .map(|c| c.text.chars().count())
            .max()
            .unwrap_or(0);
        text.push('\n');
        for claim in &outcome.claims {
            let verdict = match claim.verdict() {
                Verdict::Holds => "holds",
                Verdict::DoesNotHold => "FAILS",
                Verdict::Undecided => "undecided",
                _ => "-",
            };
            let _ = writeln!(
                text,
                "{verdict:>9}  {:width$}  {}{}",
                claim.text,
                claim.figures,
                claim.intervals()
            );
        }
        if outcome.claims.iter().any(|c| !c.intervals().is_empty()) {
            let _ = writeln!(
                text,
                "{:9}  in brackets: one-sided 95 % confidence bounds of left minus right",
                ""
            );
        }
    }
    text
}

fn row(variant: &Variant) -> [String; 5] {
    let published: Vec<String> = variant
        .published
        .iter()
        .map(|p| percent(p.test_accuracy))
        .collect();
    [
        variant.name.clone(),
        variant.model.clone(),
        thousands(variant.parameters as u64),
        variant
            .metrics
            .get("test_accuracy")
            .map(mean_and_spread)
            .unwrap_or_default(),
        if published.is_empty() {
            "—".to_string()
        } else {
            published.join(", ")
        },
    ]
}

fn mean_and_spread(statistic: &Statistic) -> String {
    match statistic.std {
        Some(std) => format!("{:.2} ± {:.2} %", 100.0 * statistic.mean, 100.0 * std),
        None => percent(statistic.mean),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tallow_record::{ClaimResult, Dataset, Difference, Published, Tier};

    fn outcome() -> Outcome {
        let variant = |name: &str, parameters, values: &[f64], published: &[f64]| Variant {
            name: name.to_string(),
            model: "mlp".to_string(),
            parameters,
            seeds: (0..values.len() as u64).collect(),
            metrics: [("test_accuracy".to_string(), Statistic::of(values).unwrap())].into(),
            published: published
                .iter()
                .map(|&test_accuracy| Published {
                    test_accuracy,
                    source: "the paper".to_string(),
                })
                .collect(),
        };
        let verdict = |text: &str, holds| ClaimResult {
            text: text.to_string(),
            holds,
            figures: "0.9 > 0.8".to_string(),
            differences: Vec::new(),
        };
        let undecided = ClaimResult {
            differences: vec![Difference {
                mean: 0.1,
                interval: Some([-0.02, 0.22]),
                seeds: 2,
            }],
            ..verdict("cnn > lenet", None)
        };
        Outcome {
            experiment: "small".to_string(),
            tier: Tier::Full,
            dataset: Dataset {
                name: "mnist".to_string(),
                provenance: "mnist (IDX, original)".to_string(),
                split: None,
                digest: String::new(),
                test_digest: None,
                classes: Vec::new(),
            },
            variants: vec![
                variant("fc", 6_442, &[0.86, 0.88], &[0.8735, 0.87]),
                variant("cnn", 9_231_114, &[0.95, 0.95], &[]),
            ],
            claims: vec![
                verdict("cnn > fc", Some(true)),
                verdict("cnn.test_accuracy > 0.99", Some(false)),
                verdict("vgg > fc", None),
                undecided,
            ],
            statements: Vec::new(),
            facts: Default::default(),
            runs: Vec::new(),
            diverged: Vec::new(),
            seconds: 1.0,
        }
    }

    #[test]
    fn without_published_figures_there_is_no_column_for_them() {
        let mut outcome = outcome();
        for variant in &mut outcome.variants {
            variant.published.clear();
        }
        let text = render(&outcome);
        assert!(text.contains("6,442 ┆") && text.contains("95.00"), "{text}");
        assert!(!text.contains("published") && !text.contains('—'), "{text}");
    }

    #[test]
    fn shows_results_published_figures_and_verdicts() {
        let text = render(&outcome());
        let line = |what: &str| {
            text.lines()
                .find(|l| l.contains(what))
                .unwrap_or_else(|| panic!("no {what} in\n{text}"))
        };
        assert!(line("┆ mlp   ┆      6,442").contains("87.00 ± 1.41 %"));
        assert!(line("6,442").contains("87.35 %, 87.00 %"));
        assert!(line("9,231,114").contains("—"));
        assert!(line("test accuracy, 2 seeds").contains("published"));
        assert_eq!(line("published: "), "published: the paper");
        assert!(line("cnn > fc").starts_with("    holds  cnn > fc"));
        assert!(line("> 0.99").starts_with("    FAILS"));
        assert!(line("vgg > fc").starts_with("        -"));
        assert!(line("cnn > lenet").starts_with("undecided"));
        assert!(line("cnn > lenet").ends_with("0.9 > 0.8 [-0.0200, 0.2200]"));
        assert!(line("95 %").contains("left minus right"));
    }
}
