//! Comparison of results of another program with their baseline, by one round.

use std::collections::BTreeSet;

use super::baseline::{ExternalBaseline, ExternalBaselineVariant, Selection};
use super::direction::Direction;
use super::results::{ExternalResults, ExternalVariant};
use crate::compare::{Bits, Comparison, VariantComparison};
use crate::error::Result;
use crate::findings::Findings;
use crate::guard::{Guard, Worse};
use crate::judge::{Judgement, MetricComparison, ONE_ROUND};

/// p-value below which one of `metrics` metrics is a regression, where no further seeds can be trained: 0.01 divided by their number.
pub fn level(metrics: usize) -> f64 {
    ONE_ROUND / metrics.max(1) as f64
}

/// Compares results with their baseline; `name` is that of the project in tables.
///
/// A suspicious metric cannot be trained again, so it is decided by this one round: see [`MetricComparison::decide_once`]. Results that
/// lack a variant or a metric of the baseline, or have another variant, are refused.
///
/// # Errors
///
/// Those of unknown names in `selection`.
pub fn compare(
    name: &str,
    baseline: &ExternalBaseline,
    results: &ExternalResults,
    selection: &Selection,
) -> Result<Findings> {
    let known: BTreeSet<&str> = baseline.better.keys().map(String::as_str).collect();
    selection.check(&known)?;
    let mut findings = Findings::default();
    let report = match refusal(baseline, results, selection) {
        Some(reason) => Comparison::refused(name, reason),
        None => {
            let (report, level) = judge(name, baseline, results, selection);
            findings.level = Some(level);
            report
        }
    };
    findings.experiments.push(report);
    findings.conclude();
    Ok(findings)
}

/// Reason for which results cannot be compared with a baseline.
fn refusal(
    baseline: &ExternalBaseline,
    results: &ExternalResults,
    selection: &Selection,
) -> Option<String> {
    let mut reasons = Vec::new();
    for variant in &results.variants {
        if !baseline.variants.iter().any(|v| v.name == variant.name) {
            reasons.push(format!(
                "the variant `{}` is not in the baseline",
                variant.name
            ));
        }
    }
    for before in &baseline.variants {
        let name = &before.name;
        let Some(variant) = results.variant(name) else {
            reasons.push(format!(
                "the variant `{name}` of the baseline is not in the results"
            ));
            continue;
        };
        let metrics = before.metrics.keys().filter(|name| selection.has(name));
        for metric in metrics.filter(|metric| !variant.metrics.contains_key(*metric)) {
            reasons.push(format!(
                "the results of `{name}` have no finite `{metric}`, which is in the baseline"
            ));
        }
    }
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

/// Comparison, and the p-value below which a metric is a regression.
fn judge(
    name: &str,
    baseline: &ExternalBaseline,
    results: &ExternalResults,
    selection: &Selection,
) -> (Comparison, f64) {
    let pairs = (baseline.variants.iter())
        .filter_map(|before| Some((before, results.variant(&before.name)?)));
    let mut compared: Vec<_> = pairs
        .map(|(before, now)| {
            let rows = first(baseline, before, now, selection);
            (now, rows)
        })
        .collect();
    let by_chance = |(guard, _, row): &&(Guard, &Vec<Option<f64>>, MetricComparison)| {
        guard.worse != Worse::Different && row.p.is_some()
    };
    let rows = compared.iter().flat_map(|(_, rows)| rows);
    let level = level(rows.filter(by_chance).count());
    for (guard, values, row) in compared.iter_mut().flat_map(|(_, rows)| rows) {
        row.decide_once(guard, values, level);
    }
    let variant =
        |(now, rows): (&ExternalVariant, Vec<(_, _, MetricComparison)>)| VariantComparison {
            name: now.name.clone(),
            seeds: now.seeds.clone(),
            fresh_seeds: Vec::new(),
            bits: Bits::NotComparable,
            exact: false,
            changes: None,
            rows: rows.into_iter().map(|(_, _, row)| row).collect(),
        };
    let mut report = Comparison {
        experiment: name.to_string(),
        verdict: Judgement::Pass,
        reason: None,
        claims: Vec::new(),
        variants: compared.into_iter().map(variant).collect(),
        gemm_peak_gflops: None,
        others_cpus: None,
        seconds: 0.0,
    };
    report.conclude();
    (report, level)
}

/// First round of a variant: each metric with its guard and its values.
fn first<'a>(
    baseline: &ExternalBaseline,
    before: &ExternalBaselineVariant,
    now: &'a ExternalVariant,
    selection: &Selection,
) -> Vec<(Guard, &'a Vec<Option<f64>>, MetricComparison)> {
    let directions = &selection.directions;
    let given = |name: &String| directions.lower.contains(name) || directions.higher.contains(name);
    let row = |(name, statistic): (&String, &tallow_record::Statistic)| {
        let recorded = baseline.better.get(name).copied();
        let direction: Direction = match given(name) {
            true => directions.of(name),
            false => recorded,
        }?;
        let guard = direction.guard(name, &statistic.values, statistic.mean);
        if selection.no_speed && guard.of_machine {
            return None;
        }
        let values = now.metrics.get(name)?;
        let row = MetricComparison::first(&guard, statistic, values);
        Some((guard, values, row))
    };
    (before.metrics.iter())
        .filter(|(name, _)| selection.has(name))
        .filter_map(row)
        .collect()
}
