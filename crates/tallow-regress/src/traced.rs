//! Traces of an experiment's variants, made by the trainer and compared with those of a baseline.

use std::collections::BTreeMap;

use crate::baseline::Baseline;
use crate::compare::{Bits, Comparison, VariantComparison};
use crate::error::{Error, Result};
use crate::judge::Judgement;
use crate::plan::Plan;
use crate::trace::{Change, Trace};
use crate::train::Train;

/// Traces of all variants with the first seed of the plan, by variant; without those of which the trainer makes none.
///
/// # Errors
///
/// [`Error::Train`] if a trace cannot be made.
pub fn record(plan: &Plan, trainer: &mut dyn Train) -> Result<BTreeMap<String, Trace>> {
    let mut traces = BTreeMap::new();
    let Some(&seed) = plan.seeds.first() else {
        return Ok(traces);
    };
    for variant in &plan.variants {
        let trace = trainer.trace(&variant.name, seed).map_err(Error::Train)?;
        traces.extend(trace.map(|trace| (variant.name.clone(), trace)));
    }
    Ok(traces)
}

/// Changes of the traces, by variant; `None` where the baseline has no trace or the trainer makes none. Each trace has the seed of the
/// baseline's, whatever the seeds of the plan are.
pub(crate) fn compare(
    plan: &Plan,
    baseline: &Baseline,
    trainer: &mut dyn Train,
) -> Result<BTreeMap<String, Option<Vec<Change>>>> {
    let mut changes = BTreeMap::new();
    for variant in &plan.variants {
        let name = &variant.name;
        let before = baseline.variant(name).and_then(|v| v.trace.as_ref());
        let now = match before {
            Some(before) => trainer.trace(name, before.seed).map_err(Error::Train)?,
            None => None,
        };
        let found = before.zip(now).map(|(before, now)| before.changes(&now));
        changes.insert(name.clone(), found);
    }
    Ok(changes)
}

/// Comparison of the traces alone.
pub(crate) fn compare_alone(
    plan: &Plan,
    baseline: &Baseline,
    trainer: &mut dyn Train,
) -> Result<Comparison> {
    let mut compared = compare(plan, baseline, trainer)?;
    let mut variants = Vec::new();
    for planned in &plan.variants {
        let name = planned.name.clone();
        let Some(changes) = compared.remove(&name).flatten() else {
            return Err(Error::NoTrace {
                variant: name,
                update_command: plan.update_command.clone(),
            });
        };
        variants.push(VariantComparison {
            name,
            seeds: Vec::new(),
            fresh_seeds: Vec::new(),
            bits: Bits::NotComparable,
            exact: false,
            changes: Some(changes),
            rows: Vec::new(),
        });
    }
    let mut report = Comparison {
        experiment: plan.experiment.clone(),
        verdict: Judgement::Pass,
        reason: None,
        claims: Vec::new(),
        variants,
        gemm_peak_gflops: None,
        others_cpus: None,
        seconds: 0.0,
    };
    report.conclude();
    Ok(report)
}
