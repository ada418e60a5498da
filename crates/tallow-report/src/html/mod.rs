//! Report of runs as one self-contained HTML file: charts and pictures are embedded, and no network or script is needed.
//!
//! The page is made for phones, for paper, for light and dark themes, for keyboards and for screen readers: headings in
//! order, a link past the contents, tables with captions and headers, a description of each picture.

mod answer;
mod parts;
mod recipes;
mod sweep;

use std::collections::BTreeMap;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use tallow_record::{
    ClaimResult, Extras, Metric, Published, Run, Statement, SweepResults, Variant, by_variant,
    elapsed, thousands,
};

use crate::charts::{self, Axis, Curve};
use crate::error::{Error, Result};
use answer::{answer, capitalized};
use parts::{percent, slug};

/// Content of a report.
#[derive(Clone, Debug)]
pub struct Report<'a> {
    /// Heading.
    pub title: String,
    /// Question that the experiment answers.
    pub question: Option<String>,
    /// Claims, judged.
    pub claims: Vec<ClaimResult>,
    /// Statements of others, judged.
    pub statements: Vec<Statement>,
    /// Published results, by variant.
    pub published: BTreeMap<String, Vec<Published>>,
    /// Runs. The page counts those that have not finished and leaves them out of the results.
    pub runs: &'a [Run],
    /// Command that reproduces the runs.
    pub command: Option<String>,
    /// Sweep of whose best trials these are the runs.
    pub sweep: Option<&'a SweepResults>,
}

/// Number of variants whose pictures are shown: more would make the file too large to send.
const PICTURED: usize = 8;

/// Text of the HTML page. Details are those of the first finished run of each variant; pictures are shown for the first
/// eight variants.
///
/// # Errors
/// When there are no runs, or an optional file of a record does not have the expected content.
pub fn page(report: &Report) -> Result<String> {
    let variants = by_variant(report.runs);
    let mut sections = Vec::new();
    for variant in &variants {
        let first = (report.runs.iter())
            .find(|run| run.info.variant == variant.name && run.summary.is_some());
        if let Some(run) = first {
            let mut extras = Extras::read(run)?;
            if sections.len() >= PICTURED {
                extras.pictures = None;
            }
            sections.push((run, extras));
        }
    }
    let body = html! {
        a class="skip" href="#results" { "Skip to the results" }
        header {
            h1 { (report.title) }
            @if let Some(question) = &report.question { p class="question" { (question) } }
            @match report.sweep {
                Some(results) => { (sweep::answer(results).unwrap_or_default()) }
                None => { (answer(&report.claims, &report.statements, &variants).unwrap_or_default()) }
            }
        }
        nav aria-label="Contents" {
            ul {
                @if report.sweep.is_some() { li { a href="#sweep" { "Sweep" } } }
                li { a href="#results" { "Results" } }
                @if !report.claims.is_empty() { li { a href="#claims" { "Claims" } } }
                li { a href="#curves" { "Curves" } }
                @for (run, _) in &sections {
                    li { a href={ "#" (slug(&run.info.variant)) } { (run.info.variant) } }
                }
                li { a href="#environment" { "Environment" } }
            }
        }
        main {
            @if let Some(results) = report.sweep {
                section id="sweep" {
                    h2 { "Sweep" }
                    (sweep::section(results)?)
                    p class="note" { "What follows is of the best trials that were trained to their end." }
                }
            }
            section id="results" { h2 { "Results" } (results(report, &variants)) }
            @if !report.claims.is_empty() || !report.statements.is_empty() {
                section id="claims" { h2 { "Claims" } (claims(report)) }
            }
            section id="curves" { h2 { "Curves" } (curves(report, seeds(&variants))?) }
            @if sections.len() > PICTURED {
                p class="note" { "Pictures are those of the first " (PICTURED) " variants; a report of one run has its own." }
            }
            @for (run, extras) in &sections {
                section id=(slug(&run.info.variant)) {
                    h2 { (run.info.variant) }
                    (parts::variant(run, extras)?)
                }
            }
            section id="environment" { h2 { "Environment" } (environment(report)?) }
        }
    };
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (report.title) }
                // Without it a browser asks the server for one.
                link rel="icon" href="data:,";
                style { (PreEscaped(include_str!("style.css"))) (PreEscaped(charts::style())) }
            }
            body { (body) }
        }
    };
    Ok(page.into_string())
}

/// Largest number of seeds of a variant.
fn seeds(variants: &[Variant]) -> usize {
    variants.iter().map(|v| v.seeds.len()).max().unwrap_or(0)
}

fn results(report: &Report, variants: &[Variant]) -> Markup {
    let seeds = seeds(variants);
    let unfinished = report
        .runs
        .iter()
        .filter(|run| run.summary.is_none())
        .count();
    let figure = |variant: &Variant, name: &str| variant.metrics.get(name).cloned();
    let sources = parts::sources(&report.published);
    let names: Vec<&str> = variants.iter().map(|v| v.name.as_str()).collect();
    let caption = match seeds {
        ..=1 => "Test accuracy of the weights at the end",
        _ => "Test accuracy of the weights at the end, mean ± standard deviation over the seeds",
    };
    let mut header = vec!["variant", "test accuracy", "test loss", "training accuracy"];
    header.extend((!sources.is_empty()).then_some("published"));
    header.extend(["seeds", "model", "parameters", "time per run"]);
    html! {
        (parts::table(
            caption,
            &header,
            variants.iter().map(|variant| {
                let published = report.published.get(&variant.name).map_or(&[][..], |p| p);
                let marks: Vec<String> = published.iter().map(|p| {
                    let number = sources.iter().position(|s| *s == p.source).map_or(0, |i| i + 1);
                    format!("{} [{number}]", percent(p.test_accuracy))
                }).collect();
                let mut cells = vec![
                    html! {
                        a href={ "#" (slug(&variant.name)) } { (variant.name) }
                        @if recipes::mixed(report.runs, &variant.name) { span class="no" { " mixed recipes" } }
                    },
                    html! { (parts::percents(figure(variant, "test_accuracy"))) },
                    html! { (parts::numbers(figure(variant, "test_loss"))) },
                    html! { (parts::percents(figure(variant, "train_accuracy"))) },
                ];
                if !sources.is_empty() {
                    cells.push(html! { @if marks.is_empty() { "—" } @else { (marks.join(", ")) } });
                }
                cells.extend([
                    html! { (variant.seeds.len()) },
                    html! { (variant.model) },
                    html! { (thousands(variant.parameters as u64)) },
                    html! { (figure(variant, "seconds").map_or("—".to_string(), |s| elapsed(s.mean))) },
                ]);
                cells
            }),
        ))
        (recipes::mixed_table(report.runs, &names))
        @if !sources.is_empty() {
            ol class="sources" { @for source in sources { li { (source) } } }
        }
        (recipes::variants_table(report.runs, &names))
        @if seeds == 1 {
            p class="note" {
                @if variants.len() > 1 { "One seed each: differences between variants may be due to the seed." }
                @else { "One seed: another one gives other figures." }
            }
        }
        @if unfinished > 0 {
            p class="note" { (unfinished) " of the runs did not finish and are left out." }
        }
    }
}

fn claims(report: &Report) -> Markup {
    let figures = |claim: &ClaimResult| {
        html! { (claim.figures) span class="note" { (claim.intervals()) } }
    };
    let bounds = (report.claims.iter())
        .chain(report.statements.iter().flat_map(|s| &s.checks))
        .any(|claim| !claim.intervals().is_empty());
    html! {
        @if !report.claims.is_empty() {
            (parts::table("Each claim with its values over the seeds, and whether it holds", &["claim", "values", "verdict"], report.claims.iter().map(|claim| vec![
                html! { code { (claim.text) } },
                figures(claim),
                parts::verdict(claim.verdict()),
            ])))
        }
        @if !report.statements.is_empty() {
            (parts::table("Statements of others", &["statement", "verdict", "checks"], report.statements.iter().map(|statement| vec![
                html! { (statement.text) },
                parts::verdict(statement.verdict),
                html! {
                    @for check in &statement.checks {
                        div { code { (check.text) } " : " (figures(check)) }
                    }
                },
            ])))
        }
        @if bounds {
            p class="note" { "In brackets: one-sided 95 % confidence bounds, over the seeds, of the left side minus the right side." }
        }
    }
}

/// Metrics by epoch, a line for each variant.
fn curves(report: &Report, seeds: usize) -> Result<Markup> {
    let of = |name: &str, scale: f64| {
        let mut curves: Vec<Curve> = Vec::new();
        // A run that stopped early would bend the means where it ends; it is shown only if no run has finished.
        let finished = |run: &&Run| run.summary.is_some();
        let any = report.runs.iter().any(|run| finished(&run));
        for run in report.runs.iter().filter(|run| !any || finished(run)) {
            let values = run.epochs.iter().map(|row| Some(row.get(name)? * scale));
            let values = values.collect();
            match curves.iter_mut().find(|c| c.label == run.info.variant) {
                Some(curve) => curve.runs.push(values),
                None => curves.push(Curve {
                    label: run.info.variant.clone(),
                    runs: vec![values],
                }),
            }
        }
        curves
    };
    let names = [
        "train_loss",
        "validation_loss",
        "test_loss",
        "train_accuracy",
        "validation_accuracy",
        "test_accuracy",
        "lr",
    ];
    let metrics = names.into_iter().filter_map(Metric::find);
    let mut figures: Vec<(Axis, Vec<Curve>)> = metrics
        .map(|metric| (metric.into(), of(metric.name, 1.0)))
        .collect();
    let throughput = Axis {
        title: "thousand images per second".to_string(),
        percent: false,
    };
    figures.push((throughput, of("images_per_second", 1e-3)));
    // A single point is no curve, and its value is in the results.
    figures.retain(|(_, curves)| curves.iter().any(has_points));
    let mut svgs = Vec::new();
    for (axis, curves) in figures {
        match charts::curves(&capitalized(&axis.title), &axis, &curves) {
            Ok(svg) => svgs.push(svg),
            Err(Error::NothingToDraw { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    if svgs.is_empty() {
        return Ok(html! { p class="note" { "There are curves from the second epoch on." } });
    }
    Ok(html! {
        p class="note" {
            @if seeds > 1 { "Means over the seeds; the band is one standard deviation. " }
            "Training metrics are means over an epoch, in which the weights change."
        }
        div class="charts" { @for svg in svgs { (parts::figure(&svg)) } }
    })
}

/// Whether a run has more than one point of a curve.
fn has_points(curve: &Curve) -> bool {
    let points = |run: &Vec<Option<f64>>| run.iter().flatten().filter(|v| v.is_finite()).count();
    curve.runs.iter().any(|run| points(run) > 1)
}

fn environment(report: &Report) -> Result<Markup> {
    let Some(run) = report.runs.first() else {
        return Err(Error::NoRuns);
    };
    let environment = &run.environment;
    let commits = environment.commit.clone().unwrap_or("unknown".to_string());
    let rows = [
        ("data", run.info.dataset.provenance.clone()),
        (
            "digest of the training data",
            run.info.dataset.digest.clone(),
        ),
        (
            "version",
            format!("Tallow {}, commit {commits}", environment.tallow),
        ),
        ("compiler", environment.rustc.clone()),
        (
            "processor",
            format!(
                "{}, {}, {} threads",
                environment.cpu, environment.platform, environment.threads
            ),
        ),
        ("device", environment.device_text()),
        (
            "processes",
            (environment.world.as_ref()).map_or("1".to_string(), |world| {
                format!(
                    "{}, {}, on {}",
                    world.ranks,
                    world.library,
                    world.hosts.join(", ")
                )
            }),
        ),
    ];
    let mut folders: Vec<String> = Vec::new();
    for run in report.runs {
        let name = run.dir.file_name().unwrap_or_default();
        folders.push(name.to_string_lossy().into_owned());
    }
    Ok(html! {
        (parts::table("Environment of the first run", &["property", "value"], rows.into_iter().map(|(name, value)| vec![
            html! { (name) },
            // A long word without a place to break.
            html! { @if name.starts_with("digest") { code { (value) } } @else { (value) } },
        ])))
        @if let Some(command) = &report.command {
            h3 { "Command" }
            pre { code { (command) } }
        }
        details {
            summary { "Run records (" (folders.len()) ")" }
            ul { @for folder in folders { li { code { (folder) } } } }
        }
        @if let Ok(text) = toml::to_string(&run.config) {
            details {
                summary { "Recipe of the first run" }
                pre { code { (text) } }
            }
        }
    })
}
