//! What was found as JUnit XML: a suite an experiment, a case a figure and a floor.

use std::time::Duration;

use anyhow::Result;
use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};

use super::Findings;
use super::compare::Report;
use super::judge::{Row, Verdict};
use super::table::explain;

/// The document.
pub fn render(findings: &Findings) -> Result<String> {
    let mut document = quick_junit::Report::new(format!("tallow regress {}", findings.tier));
    document.set_time(Duration::from_secs_f64(findings.seconds));
    for report in &findings.experiments {
        document.add_test_suite(suite(report));
    }
    // `quick-junit` counts what was skipped in the root element, too, as nextest does and no schema of JUnit files allows.
    let extra = format!(" skipped=\"{}\"", document.skipped);
    Ok(document.to_string()?.replacen(&extra, "", 1))
}

fn suite(report: &Report) -> TestSuite {
    let mut suite = TestSuite::new(&report.experiment);
    suite.set_time(Duration::from_secs_f64(report.seconds));
    if let Some(reason) = &report.reason {
        let kind = match report.verdict {
            Verdict::Refused => NonSuccessKind::Error,
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
        for row in &variant.rows {
            let name = format!("{}.{}", variant.name, row.metric);
            let mut case = case(report, &name, status(row));
            case.set_system_out(explain(row));
            suite.add_test_case(case);
        }
    }
    suite
}

fn status(row: &Row) -> TestCaseStatus {
    match row.verdict {
        Verdict::Skipped => TestCaseStatus::skipped(),
        verdict if verdict.fails() => failed(NonSuccessKind::Failure, &explain(row)),
        _ => TestCaseStatus::success(),
    }
}

fn failed(kind: NonSuccessKind, message: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_message(message);
    status
}

fn case(report: &Report, name: &str, status: TestCaseStatus) -> TestCase {
    let mut case = TestCase::new(name, status);
    case.set_classname(format!("tallow.{}", report.experiment));
    case
}
