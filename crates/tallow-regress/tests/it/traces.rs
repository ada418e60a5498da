//! Traces in baselines and comparisons.

use std::collections::BTreeMap;

use tallow_regress::{
    Baseline, Entry, Findings, Judgement, Rounds, Trace, junit, record, record_traces, table,
};

use crate::rounds::{Fake, plan, rounds, usual};

fn of(variant: &str, seed: u64) -> Trace {
    let entries = [
        ("order", Entry::Text(format!("{variant} {seed}"))),
        ("rates", Entry::Numbers(vec![0.1, 0.05])),
    ];
    Trace {
        seed,
        entries: BTreeMap::from(entries.map(|(name, entry)| (name.to_string(), entry))),
    }
}

/// The cosine of one variant ends elsewhere.
fn other(variant: &str, seed: u64) -> Trace {
    let mut trace = of(variant, seed);
    if variant == "fc" {
        let rates = Entry::Numbers(vec![0.1, 0.06]);
        trace.entries.insert("rates".to_string(), rates);
    }
    trace
}

fn fake(trace: fn(&str, u64) -> Trace) -> Fake {
    Fake {
        trace: Some(trace),
        ..Fake::new(usual)
    }
}

fn baseline() -> Baseline {
    let seeds: Vec<u64> = (0..20).collect();
    let plan = plan(&seeds);
    let made = record(&plan, &mut fake(of)).unwrap().unwrap();
    Baseline::new(&plan, made, None, "first")
}

fn alone() -> Rounds {
    Rounds {
        traces_alone: true,
        ..rounds()
    }
}

#[test]
fn a_change_fails_a_comparison_whose_metrics_all_pass() {
    let baseline = baseline();
    assert_eq!(baseline.variants[1].trace, Some(of("fc", 0)));

    // Seeds that the baseline's trace does not have.
    let mut same = fake(of);
    let report = rounds().judge(&plan(&[5]), std::slice::from_ref(&baseline), &mut same);
    let report = report.unwrap();
    assert_eq!(report.verdict, Judgement::Pass);
    assert!(report.variants.iter().all(|v| v.changes == Some(vec![])));

    let mut changed = fake(other);
    let report = rounds().judge(&plan(&[5]), &[baseline], &mut changed);
    let report = report.unwrap();
    assert_eq!(report.verdict, Judgement::Changed);
    assert!(report.verdict.fails());
    // Further seeds would tell nothing.
    assert_eq!(changed.trained.len(), 1);
    let worst: Vec<_> = report.variants.iter().map(|v| v.worst()).collect();
    assert_eq!(worst, [Some(Judgement::Pass), Some(Judgement::Changed)]);

    let summary = table::summary(&report);
    assert_eq!(
        summary,
        "CHANGED: fc: the trace changed: rates: number 2 of 2 is 0.06, not 0.05\n"
    );
    let mut findings = Findings {
        tier: Some(tallow_record::Tier::Smoke),
        experiments: vec![report],
        ..Findings::default()
    };
    findings.conclude();
    assert!(!findings.passed && !findings.refused());
    let notes = table::notes(&findings).join("\n");
    let line = "traces: 1 variants train as in the baseline, 1 in another way";
    assert!(notes.contains(line), "{notes}");
    let junit = junit(&findings).unwrap();
    assert!(junit.contains(r#"<testcase name="cnn.trace""#), "{junit}");
    let json = serde_json::to_value(&findings).unwrap();
    let change = &json["experiments"][0]["variants"][1]["changes"][0];
    assert_eq!(
        *change,
        serde_json::json!({"entry": "rates", "baseline": [0.1, 0.05], "now": [0.1, 0.06]})
    );
}

#[test]
fn traces_alone_need_no_training() {
    let mut changed = fake(other);
    let report = alone().judge(&plan(&[0]), &[baseline()], &mut changed);
    assert_eq!(report.unwrap().verdict, Judgement::Changed);
    let report = alone().judge(&plan(&[0]), &[baseline()], &mut fake(of));
    assert_eq!(report.unwrap().verdict, Judgement::Pass);
    assert_eq!(changed.trained, []);

    // A baseline without traces, and a trainer that makes none.
    let mut old = baseline();
    old.variants[0].trace = None;
    let report = alone().judge(&plan(&[0]), &[old.clone()], &mut fake(of));
    let report = report.unwrap();
    assert_eq!(report.verdict, Judgement::Refused);
    assert_eq!(
        report.reason.unwrap(),
        "the baseline has no trace of `cnn`; to record it: tallow regress --update --traces"
    );
    let report = rounds().judge(&plan(&[0]), &[old], &mut fake(of)).unwrap();
    assert_eq!(report.verdict, Judgement::Pass);
    assert_eq!(report.variants[0].changes, None);
    let report = rounds().judge(&plan(&[0]), &[baseline()], &mut Fake::new(usual));
    let report = report.unwrap();
    assert_eq!(report.verdict, Judgement::Pass);
    assert!(report.variants.iter().all(|v| v.changes.is_none()));
}

#[test]
fn renewed_traces_keep_the_metrics_and_the_reasons() {
    let mut renewed = baseline();
    let before = renewed.clone();
    let traces = record_traces(&plan(&[7]), &mut fake(other)).unwrap();
    renewed.renew_traces(
        traces,
        "a higher end of the cosine",
        Some("abc".to_string()),
    );
    assert_eq!(renewed.variants[1].trace, Some(other("fc", 7)));
    let reasons: Vec<&str> = renewed.updates.iter().map(|u| u.reason.as_str()).collect();
    assert_eq!(reasons, ["first", "a higher end of the cosine"]);
    let report = alone().judge(&plan(&[0]), &[renewed.clone()], &mut fake(other));
    assert_eq!(report.unwrap().verdict, Judgement::Pass);

    for variant in &mut renewed.variants {
        variant.trace = before.variant(&variant.name).unwrap().trace.clone();
    }
    renewed.updates.truncate(1);
    assert_eq!(renewed, before);
}
