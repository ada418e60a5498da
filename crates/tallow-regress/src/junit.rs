//! JUnit XML: a test suite per experiment, a test case per metric and per claim.

use std::time::Duration;

use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};

use crate::compare::Comparison;
use crate::error::Result;
use crate::findings::Findings;
use crate::judge::{Judgement, MetricComparison};
use crate::table::explain;
use crate::trace::Change;

/// Renders findings as JUnit XML.
///
/// # Errors
///
/// [`Error::Junit`](crate::Error::Junit) if a text cannot be written as XML.
pub fn junit(findings: &Findings) -> Result<String> {
    let name = match findings.tier {
        Some(tier) => format!("tallow regress {tier}"),
        None => "tallow regress".to_string(),
    };
    let mut document = quick_junit::Report::new(name);
    document.set_time(Duration::from_secs_f64(findings.seconds));
    for report in &findings.experiments {
        document.add_test_suite(suite(report));
    }
    // `quick-junit` also counts skipped cases in the root element, as nextest does; no schema of JUnit files allows that.
    let extra = format!(" skipped=\"{}\"", document.skipped);
    Ok(document.to_string()?.replacen(&extra, "", 1))
}

fn suite(report: &Comparison) -> TestSuite {
    let mut suite = TestSuite::new(&report.experiment);
    suite.set_time(Duration::from_secs_f64(report.seconds));
    if let Some(reason) = &report.reason {
        let kind = match report.verdict {
            Judgement::Refused => NonSuccessKind::Error,
            _ => NonSuccessKind::Failure,
        };
        suite.add_test_case(case(report, "comparison", failed(kind, reason)));
    }
    for claim in &report.claims {
        let status = match claim.holds {
            Some(true) => TestCaseStatus::success(),
            Some(false) => failed(NonSuccessKind::Failure, &claim.figures),
            None => TestCaseStatus::skipped(),
        };
        suite.add_test_case(case(report, &format!("floor: {}", claim.text), status));
    }
    for variant in &report.variants {
        if let Some(changes) = &variant.changes {
            let lines: Vec<String> = changes.iter().map(Change::to_string).collect();
            let status = match lines.is_empty() {
                true => TestCaseStatus::success(),
                false => failed(NonSuccessKind::Failure, &lines.join("; ")),
            };
            suite.add_test_case(case(report, &format!("{}.trace", variant.name), status));
        }
        for row in &variant.rows {
            let name = format!("{}.{}", variant.name, row.metric);
            let mut case = case(report, &name, status(row));
            case.set_system_out(explain(row));
            suite.add_test_case(case);
        }
    }
    suite
}

fn status(row: &MetricComparison) -> TestCaseStatus {
    match row.verdict {
        Judgement::Skipped => TestCaseStatus::skipped(),
        verdict if verdict.fails() => failed(NonSuccessKind::Failure, &explain(row)),
        _ => TestCaseStatus::success(),
    }
}

fn failed(kind: NonSuccessKind, message: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_message(message);
    status
}

fn case(report: &Comparison, name: &str, status: TestCaseStatus) -> TestCase {
    let mut case = TestCase::new(name, status);
    case.set_classname(format!("tallow.{}", report.experiment));
    case
}
